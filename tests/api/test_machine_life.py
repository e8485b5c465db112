"""Whole lives of machines, as a tenant's user sees them."""

from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.api.installation import API, SMALL, Installation, problem
from vai_app.domain.errors import CapacityShort
from vai_app.domain.virtual_machines import Power

Json = dict[str, Any]
Create = Callable[..., Json]
MACHINES = f"{API}/virtual-machines"


def _body(**changes: Any) -> Json:
    return {"name": "web-1", "datacenter": "berlin", "image": "debian-12", **SMALL, **changes}


def _end(vai: Installation, client: FlaskClient, response: Any) -> Json:
    assert response.status_code == 202, response.text
    vai.run()
    operation: Json = client.get(response.headers["Location"]).json
    return operation


def test_a_create_is_accepted_with_the_operation_and_where_to_follow_it(ann: FlaskClient, berlin: Json) -> None:
    response = ann.post(MACHINES, json=_body())
    assert response.status_code == 202
    assert response.headers["Location"] == f"{API}/operations/{response.json['id']}"
    assert response.headers["Retry-After"] == "1"
    operation = response.json
    assert (operation["kind"], operation["state"], operation["step"]) == ("create_vm", "pending", "vai.validate")
    assert (operation["requested_by"], operation["tenant"], operation["datacenter_id"]) == ("ann", "acme", berlin["id"])


@pytest.mark.usefixtures("berlin")
def test_an_accepted_machine_is_shown_with_its_operation_before_anything_is_made(ann: FlaskClient) -> None:
    operation = ann.post(MACHINES, json=_body()).json
    machine = ann.get(f"{MACHINES}/{operation['machine_id']}").json
    assert (machine["state"], machine["observed"]["power"]) == ("requested", "unknown")
    assert machine["operation"] == {
        "id": operation["id"], "kind": "create_vm", "state": "pending", "step": "vai.validate",
    }  # fmt: skip


def test_a_created_machine_runs_with_what_was_asked(vai: Installation, ann: FlaskClient, berlin: Json) -> None:
    asked = _body(networks=["default"], labels={"team": "web"})
    operation = _end(vai, ann, ann.post(MACHINES, json=asked))
    assert (operation["state"], operation["problem"], operation["residue"]) == ("succeeded", None, [])
    assert [each["step"] for each in operation["history"]] == operation["plan"]
    vai.reconcile("berlin")
    machine = ann.get(f"{MACHINES}/{operation['machine_id']}").json
    assert (machine["name"], machine["state"], machine["managed"]) == ("web-1", "active", True)
    assert machine["datacenter"] == {"id": berlin["id"], "name": "berlin"}
    assert (machine["size"], machine["image"], machine["labels"]) == (SMALL, "debian-12", {"team": "web"})
    assert machine["operation"] is None
    assert (machine["observed"]["power"], machine["observed"]["size"]) == ("on", SMALL)
    assert machine["observed"]["networks"] == ["default"]
    assert len(machine["observed"]["addresses"]) == 1
    assert vai.control("berlin").names() == ["web-1"]


def test_a_machine_gets_the_address_that_was_asked_for_in_a_network_that_need_not_be_named_twice(
    vai: Installation, ann: FlaskClient, create: Create
) -> None:
    made = create(fixed_addresses=[{"network": "default", "address": "198.51.100.7"}])
    vai.reconcile("berlin")
    observed = ann.get(f"{MACHINES}/{made['id']}").json["observed"]
    assert (observed["networks"], observed["addresses"]) == (["default"], ["198.51.100.7"])


@pytest.mark.usefixtures("berlin")
def test_what_a_datacenters_driver_cannot_give_a_machine_is_told_before_anything_is_made(
    vai: Installation, ann: FlaskClient
) -> None:
    asked = _body(keypair="ann", security_groups=["web"])
    operation = _end(vai, ann, ann.post(MACHINES, json=asked))
    assert (operation["state"], operation["problem"]["type"]) == ("rejected", "/problems/invalid-request")
    assert operation["problem"]["detail"] == ("Datacenter berlin: it cannot give a machine: keypair, security-groups.")
    assert vai.control("berlin").names() == []
    wrong = _body(fixed_addresses=[{"network": "default", "address": "300.1.1.1"}])
    problem(ann.post(MACHINES, json=wrong), 422, "invalid-request")


def test_a_machine_that_need_not_run_is_made_and_stays_off(create: Create) -> None:
    machine = create(power_on=False)
    assert (machine["state"], machine["observed"]["power"]) == ("active", "off")


def test_a_machine_is_made_on_the_host_that_was_asked_for(create: Create, vai: Installation, ann: FlaskClient) -> None:
    machine = create(location={"host": "sim01002"})
    vai.reconcile("berlin")
    assert ann.get(f"{MACHINES}/{machine['id']}").json["observed"]["host"] == "host-1-2"


@pytest.mark.spec(9)
@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"image": "no-such-image"}, "no-such-image"),
        ({"networks": ["no-such-network"]}, "no-such-network"),
        ({"location": {"host": "no-such-host"}}, "no-such-host"),
        ({"location": {"cluster": "no-such-cluster"}}, "no-such-cluster"),
        ({"location": {"datastore": "no-such-store"}}, "no-such-store"),
    ],
)
@pytest.mark.usefixtures("berlin")
def test_a_machine_of_things_that_the_datacenter_lacks_is_rejected_by_name(
    vai: Installation, ann: FlaskClient, changes: Json, named: str
) -> None:
    operation = _end(vai, ann, ann.post(MACHINES, json=_body(**changes)))
    assert (operation["state"], operation["problem"]["type"]) == ("rejected", "/problems/not-found")
    assert named in operation["problem"]["detail"]
    machine = ann.get(f"{MACHINES}/{operation['machine_id']}").json
    assert (machine["state"], machine["problem"]) == ("failed", operation["problem"]["detail"])
    assert vai.control("berlin").names() == []


@pytest.mark.spec(9)
@pytest.mark.usefixtures("berlin")
def test_a_machine_that_no_host_has_room_for_is_rejected(vai: Installation, ann: FlaskClient) -> None:
    operation = _end(vai, ann, ann.post(MACHINES, json=_body(memory_mib=16_777_216)))
    assert (operation["state"], operation["problem"]["type"]) == ("rejected", "/problems/capacity-short")


@pytest.mark.usefixtures("berlin")
def test_a_creation_that_fails_at_every_host_leaves_nothing(vai: Installation, ann: FlaskClient) -> None:
    vai.control("berlin").inject("create", CapacityShort("The host has no room left."), as_task=True)
    operation = _end(vai, ann, ann.post(MACHINES, json=_body()))
    assert (operation["state"], operation["residue"]) == ("rejected", [])
    assert operation["problem"]["detail"] == "Datacenter berlin: The host has no room left."
    assert [each["event"] for each in operation["history"] if each["step"] == "vai.create_vm"] == [
        "retreated",
        "undone",
    ]
    assert vai.control("berlin").names() == []


def test_the_name_of_a_failed_machine_is_free_again(vai: Installation, ann: FlaskClient, create: Create) -> None:
    _end(vai, ann, ann.post(MACHINES, json=_body(image="no-such-image")))
    assert create("web-1")["state"] == "active"


def test_a_name_that_a_machine_of_the_tenant_has_is_refused(ann: FlaskClient, create: Create) -> None:
    create("web-1")
    refused = problem(ann.post(MACHINES, json=_body()), 409, "name-taken")
    assert "web-1" in refused["detail"]


def test_a_refused_name_leaves_no_machine_and_an_operation_that_has_ended(ann: FlaskClient, create: Create) -> None:
    create("web-1")
    problem(ann.post(MACHINES, json=_body()), 409, "name-taken")
    assert len(ann.get(MACHINES).json["items"]) == 1
    newest = ann.get(f"{API}/operations").json["items"][0]
    assert (newest["state"], newest["problem"]["type"]) == ("rejected", "/problems/name-taken")


@pytest.mark.parametrize(
    ("action", "before", "after"),
    [
        ("stop", "on", "off"),
        ("shutdown", "on", "off"),
        ("suspend", "on", "suspended"),
        ("reboot", "on", "on"),
        ("reset", "on", "on"),
        ("start", "off", "on"),
        ("start", "on", "on"),
        ("stop", "off", "off"),
    ],
)
def test_a_power_action_brings_the_machine_to_its_power(
    vai: Installation, ann: FlaskClient, create: Create, action: str, before: str, after: str
) -> None:
    machine = create(power_on=before == "on")
    response = ann.post(f"{MACHINES}/{machine['id']}/actions/power", json={"action": action})
    assert _end(vai, ann, response)["state"] == "succeeded"
    vai.reconcile("berlin")
    assert ann.get(f"{MACHINES}/{machine['id']}").json["observed"]["power"] == after


def test_a_machine_that_is_off_cannot_be_rebooted(vai: Installation, ann: FlaskClient, create: Create) -> None:
    machine = create(power_on=False)
    operation = _end(vai, ann, ann.post(f"{MACHINES}/{machine['id']}/actions/power", json={"action": "reboot"}))
    assert (operation["state"], operation["problem"]["type"]) == ("failed", "/problems/conflict")
    assert "is off" in operation["problem"]["detail"]


def test_a_resized_machine_shows_its_new_size_without_drift(
    vai: Installation, ann: FlaskClient, create: Create
) -> None:
    machine = create()
    size = {"cpus": 4, "memory_mib": 1024, "disk_gib": 8}
    operation = _end(vai, ann, ann.post(f"{MACHINES}/{machine['id']}/actions/resize", json=size))
    assert operation["state"] == "succeeded"
    vai.reconcile("berlin")
    shown = ann.get(f"{MACHINES}/{machine['id']}").json
    assert (shown["size"], shown["observed"]["size"], shown["drift"]) == (size, size, [])


def test_a_disk_never_shrinks(vai: Installation, ann: FlaskClient, create: Create) -> None:
    machine = create(disk_gib=8)
    response = ann.post(f"{MACHINES}/{machine['id']}/actions/resize", json={**SMALL, "disk_gib": 2})
    operation = _end(vai, ann, response)
    assert (operation["state"], operation["problem"]["type"]) == ("failed", "/problems/conflict")
    assert "cannot shrink" in operation["problem"]["detail"]


def test_a_resize_without_a_disk_leaves_the_disk(vai: Installation, ann: FlaskClient, create: Create) -> None:
    machine = create(disk_gib=8)
    response = ann.post(f"{MACHINES}/{machine['id']}/actions/resize", json={"cpus": 2, "memory_mib": 512})
    assert _end(vai, ann, response)["state"] == "succeeded"
    vai.reconcile("berlin")
    assert ann.get(f"{MACHINES}/{machine['id']}").json["size"] == {"cpus": 2, "memory_mib": 512, "disk_gib": 8}


def test_a_deleted_machine_is_gone_from_the_datacenter_and_the_list(
    vai: Installation, ann: FlaskClient, create: Create
) -> None:
    machine = create()
    assert _end(vai, ann, ann.delete(f"{MACHINES}/{machine['id']}"))["state"] == "succeeded"
    assert vai.control("berlin").names() == []
    assert ann.get(MACHINES).json["items"] == []
    shown = ann.get(f"{MACHINES}/{machine['id']}").json
    assert (shown["state"], shown["provider_ref"], shown["observed"]["power"]) == ("deleted", None, "unknown")


@pytest.mark.parametrize("path", ["", "/actions/power", "/actions/resize"])
def test_a_deleted_machine_takes_no_further_orders(
    vai: Installation, ann: FlaskClient, create: Create, path: str
) -> None:
    machine = create()
    _end(vai, ann, ann.delete(f"{MACHINES}/{machine['id']}"))
    address = f"{MACHINES}/{machine['id']}{path}"
    bodies = {"/actions/power": {"action": "start"}, "/actions/resize": SMALL}
    response = ann.post(address, json=bodies[path]) if path else ann.delete(address)
    assert "deleted" in problem(response, 409, "conflict")["detail"]


def test_the_name_of_a_deleted_machine_is_free_again(vai: Installation, ann: FlaskClient, create: Create) -> None:
    first = create("web-1")
    _end(vai, ann, ann.delete(f"{MACHINES}/{first['id']}"))
    second = create("web-1")
    assert second["state"] == "active"
    assert second["id"] != first["id"]


@pytest.mark.parametrize("order", ["delete", "power", "resize"])
def test_a_busy_machine_takes_no_second_order(vai: Installation, ann: FlaskClient, create: Create, order: str) -> None:
    machine = create()
    address = f"{MACHINES}/{machine['id']}"
    first = ann.post(f"{address}/actions/power", json={"action": "stop"})
    assert first.status_code == 202
    orders = {
        "delete": lambda: ann.delete(address),
        "power": lambda: ann.post(f"{address}/actions/power", json={"action": "start"}),
        "resize": lambda: ann.post(f"{address}/actions/resize", json={"cpus": 2, "memory_mib": 512}),
    }
    problem(orders[order](), 409, "machine-busy")
    assert _end(vai, ann, first)["state"] == "succeeded"
    assert orders[order]().status_code == 202


@pytest.mark.usefixtures("berlin")
def test_a_machine_that_is_not_made_yet_cannot_be_started(vai: Installation, ann: FlaskClient) -> None:
    operation = ann.post(MACHINES, json=_body()).json
    response = ann.post(f"{MACHINES}/{operation['machine_id']}/actions/power", json={"action": "start"})
    assert "requested" in problem(response, 409, "conflict")["detail"]
    vai.run()


@pytest.mark.parametrize(("method", "path", "body"), [
    ("get", "", None),
    ("delete", "", None),
    ("post", "/actions/power", {"action": "start"}),
    ("post", "/actions/resize", SMALL),
])  # fmt: skip
def test_a_machine_that_never_was_is_not_found(ann: FlaskClient, method: str, path: str, body: Json | None) -> None:
    response = getattr(ann, method)(f"{MACHINES}/vm-nowhere{path}", json=body)
    assert "vm-nowhere" in problem(response, 404, "not-found")["detail"]


def test_a_machine_stopped_behind_vais_back_is_shown_as_it_is(
    vai: Installation, ann: FlaskClient, create: Create
) -> None:
    machine = create()
    vai.control("berlin").set_power(machine["provider_ref"], Power.OFF)
    vai.reconcile("berlin")
    shown = ann.get(f"{MACHINES}/{machine['id']}").json
    assert (shown["state"], shown["observed"]["power"]) == ("active", "off")
