"""What others do to a datacenter: machines changed, removed, made; adopted and never touched without."""

from collections.abc import Callable
from typing import Any
from unittest.mock import Mock

import pytest
from flask.testing import FlaskClient

from tests.api.installation import API, SMALL, Installation, problem
from vai_app.domain.errors import ProviderUnavailable, ServiceUnavailable
from vai_app.store.events import MongoEvents

Json = dict[str, Any]
Create = Callable[..., Json]
MACHINES = f"{API}/virtual-machines"


def _kinds(client: FlaskClient, machine: Json) -> list[str]:
    return [each["kind"] for each in client.get(f"{API}/events?machine={machine['id']}").json["items"]]


def _change(vai: Installation, machine: Json, assignment: str) -> None:
    with vai.control("berlin")._world.change() as connection:
        connection.execute(f"UPDATE machines SET {assignment} WHERE ref = ?", (machine["provider_ref"],))  # noqa: S608


@pytest.fixture
def stranger(vai: Installation, admin: FlaskClient, berlin: Json) -> Json:
    """A machine that VAI did not make."""
    vai.control(berlin["name"]).add_stranger("stranger")
    vai.reconcile(berlin["name"])
    machine: Json = admin.get(f"{MACHINES}?name=stranger").json["items"][0]
    return machine


def test_a_machine_that_someone_removed_is_missing_and_says_why(
    vai: Installation, ann: FlaskClient, create: Create
) -> None:
    machine = create()
    vai.control("berlin").remove(machine["provider_ref"])
    vai.reconcile("berlin")
    shown = ann.get(f"{MACHINES}/{machine['id']}").json
    assert (shown["state"], shown["observed"]["power"]) == ("missing", "unknown")
    assert "removed" in shown["problem"].lower()
    assert _kinds(ann, machine)[0] == "machine.missing"
    assert [each["id"] for each in ann.get(f"{MACHINES}?state=missing").json["items"]] == [machine["id"]]


def test_a_loss_that_could_not_be_told_is_found_and_told_by_the_next_listing(
    vai: Installation, ann: FlaskClient, create: Create, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = create()
    vai.control("berlin").remove(machine["provider_ref"])
    with monkeypatch.context() as patch, pytest.raises(ServiceUnavailable):
        patch.setattr(MongoEvents, "append", Mock(side_effect=ServiceUnavailable("MongoDB is away.")))
        vai.reconcile("berlin")
    assert ann.get(f"{MACHINES}/{machine['id']}").json["state"] == "active"
    vai.reconcile("berlin")
    assert ann.get(f"{MACHINES}/{machine['id']}").json["state"] == "missing"
    assert _kinds(ann, machine).count("machine.missing") == 1


def test_a_missing_machine_cannot_be_started_and_can_be_deleted(
    vai: Installation, ann: FlaskClient, create: Create
) -> None:
    machine = create()
    vai.control("berlin").remove(machine["provider_ref"])
    vai.reconcile("berlin")
    response = ann.post(f"{MACHINES}/{machine['id']}/actions/power", json={"action": "start"})
    assert "missing" in problem(response, 409, "conflict")["detail"]
    operation = ann.delete(f"{MACHINES}/{machine['id']}")
    vai.run()
    assert ann.get(operation.headers["Location"]).json["state"] == "succeeded"
    assert ann.get(f"{MACHINES}/{machine['id']}").json["state"] == "deleted"


def test_a_machine_that_someone_removed_unnoticed_is_deleted_all_the_same(
    vai: Installation, ann: FlaskClient, create: Create
) -> None:
    machine = create()
    vai.control("berlin").remove(machine["provider_ref"])
    operation = ann.delete(f"{MACHINES}/{machine['id']}")
    vai.run()
    assert ann.get(operation.headers["Location"]).json["state"] == "succeeded"


@pytest.mark.parametrize(
    ("assignment", "drift"),
    [
        ("cpus = 7", "cpus is 7, recorded 1"),
        ("memory_mib = 999", "memory_mib is 999, recorded 256"),
        ("name = 'renamed'", "name is 'renamed', recorded 'web-1'"),
    ],
)
def test_a_machine_that_someone_changed_shows_the_drift_until_it_is_mended(
    vai: Installation, ann: FlaskClient, create: Create, assignment: str, drift: str
) -> None:
    machine = create()
    _change(vai, machine, assignment)
    vai.reconcile("berlin")
    shown = ann.get(f"{MACHINES}/{machine['id']}").json
    assert (shown["drift"], shown["name"], shown["size"]) == ([drift], "web-1", SMALL)
    assert _kinds(ann, machine).count("machine.drifted") == 1
    _change(vai, machine, "cpus = 1, memory_mib = 256, name = 'web-1'")
    vai.reconcile("berlin")
    assert ann.get(f"{MACHINES}/{machine['id']}").json["drift"] == []


def test_a_datacenter_that_stops_answering_is_shown_so_and_its_machines_stay(
    vai: Installation, ann: FlaskClient, create: Create
) -> None:
    machine = create()
    vai.control("berlin").inject("*", ProviderUnavailable("It is being upgraded."))
    with pytest.raises(ProviderUnavailable):
        vai.reconcile("berlin")
    shown = ann.get(f"{API}/datacenters/berlin").json
    assert (shown["reachability"], shown["problem"]) == ("unreachable", "It is being upgraded.")
    assert ann.get(f"{MACHINES}/{machine['id']}").json["state"] == "active"


def test_a_strangers_machine_is_shown_to_administrators_alone(
    admin: FlaskClient, ann: FlaskClient, stranger: Json
) -> None:
    assert (stranger["managed"], stranger["tenant"], stranger["state"]) == (False, None, "active")
    assert admin.get(f"{MACHINES}/{stranger['id']}").json == stranger
    problem(ann.get(f"{MACHINES}/{stranger['id']}"), 404, "not-found")


@pytest.mark.parametrize(("method", "path", "body"), [
    ("delete", "", None),
    ("post", "/actions/power", {"action": "start"}),
    ("post", "/actions/resize", SMALL),
    ("post", "/actions/migrate", {}),
    ("post", "/snapshots", {}),
])  # fmt: skip
def test_a_strangers_machine_is_not_touched_without_adoption(
    vai: Installation, admin: FlaskClient, stranger: Json, method: str, path: str, body: Json | None
) -> None:
    response = getattr(admin, method)(f"{MACHINES}/{stranger['id']}{path}", json=body)
    assert "Adopt it first" in problem(response, 409, "conflict")["detail"]
    vai.run()
    assert vai.control("berlin").names() == ["stranger"]
    assert admin.get(f"{API}/operations").json["items"] == []


def test_an_adopted_machine_is_its_tenants_to_use_and_delete(
    vai: Installation, admin: FlaskClient, ann: FlaskClient, stranger: Json
) -> None:
    operation = admin.post(f"{MACHINES}/{stranger['id']}/actions/adopt", json={"tenant": "acme"})
    assert operation.status_code == 202, operation.text
    vai.run()
    vai.reconcile("berlin")
    shown = ann.get(f"{MACHINES}/{stranger['id']}").json
    assert (shown["managed"], shown["tenant"], shown["drift"], shown["problem"]) == (True, "acme", [], None)
    power = ann.post(f"{MACHINES}/{stranger['id']}/actions/power", json={"action": "start"})
    vai.run()
    assert ann.get(power.headers["Location"]).json["state"] == "succeeded"
    deletion = ann.delete(f"{MACHINES}/{stranger['id']}")
    vai.run()
    assert ann.get(deletion.headers["Location"]).json["state"] == "succeeded"
    assert vai.control("berlin").names() == []


def test_a_machine_adopted_without_a_tenant_is_the_administrators_own(
    vai: Installation, admin: FlaskClient, stranger: Json
) -> None:
    assert admin.post(f"{MACHINES}/{stranger['id']}/actions/adopt", json={}).status_code == 202
    vai.run()
    assert admin.get(f"{MACHINES}/{stranger['id']}").json["tenant"] == "ops"


def test_a_machine_is_adopted_once(vai: Installation, admin: FlaskClient, stranger: Json) -> None:
    address = f"{MACHINES}/{stranger['id']}/actions/adopt"
    assert admin.post(address, json={"tenant": "acme"}).status_code == 202
    problem(admin.post(address, json={"tenant": "rival"}), 409, "machine-busy")
    vai.run()
    assert "managed" in problem(admin.post(address, json={"tenant": "rival"}), 409, "conflict")["detail"]
    assert admin.get(f"{MACHINES}/{stranger['id']}").json["tenant"] == "acme"


def test_a_repeated_adoption_is_the_same_operation_also_after_its_end(
    vai: Installation, admin: FlaskClient, stranger: Json
) -> None:
    address, key = f"{MACHINES}/{stranger['id']}/actions/adopt", {"Idempotency-Key": "key-1"}
    first = admin.post(address, json={"tenant": "acme"}, headers=key)
    vai.run()
    again = admin.post(address, json={"tenant": "acme"}, headers=key)
    assert (again.status_code, again.json["id"]) == (202, first.json["id"])


def test_a_machine_whose_name_its_new_tenant_uses_is_not_adopted(
    vai: Installation, admin: FlaskClient, create: Create
) -> None:
    create("web-1")
    assert admin.post(f"{API}/datacenters", json=vai.datacenter_body("oslo")).status_code == 201
    vai.control("oslo").add_stranger("web-1")
    vai.reconcile("oslo")
    stranger = admin.get(f"{MACHINES}?managed=false").json["items"][0]
    operation = admin.post(f"{MACHINES}/{stranger['id']}/actions/adopt", json={"tenant": "acme"})
    vai.run()
    shown = admin.get(operation.headers["Location"]).json
    assert (shown["state"], shown["problem"]["type"]) == ("failed", "/problems/name-taken")
    assert admin.get(f"{MACHINES}/{stranger['id']}").json["managed"] is False
    assert vai.control("oslo").names() == ["web-1"]


@pytest.mark.usefixtures("stranger")
def test_a_name_that_a_strangers_machine_has_fails_and_leaves_the_stranger_alone(
    vai: Installation, ann: FlaskClient
) -> None:
    body = {"name": "stranger", "datacenter": "berlin", **SMALL}
    operation = ann.post(f"{API}/virtual-machines", json=body)
    vai.run()
    shown = ann.get(operation.headers["Location"]).json
    assert (shown["state"], shown["problem"]["type"], shown["residue"]) == ("failed", "/problems/name-taken", [])
    assert "stranger" in shown["problem"]["detail"]
    vai.reconcile("berlin")
    vai.run()
    assert vai.control("berlin").names() == ["stranger"]


def test_a_machine_that_lost_vais_mark_is_left_alone(vai: Installation, ann: FlaskClient, create: Create) -> None:
    machine = create()
    _change(vai, machine, "machine_id = NULL, token = NULL")
    operation = ann.delete(f"{MACHINES}/{machine['id']}")
    vai.run()
    shown = ann.get(operation.headers["Location"]).json
    assert (shown["state"], shown["problem"]["type"]) == ("failed", "/problems/conflict")
    assert "mark" in shown["problem"]["detail"]
    assert vai.control("berlin").names() == ["web-1"]
