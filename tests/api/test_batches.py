"""Machines created together, over REST: placed by rules that hold between them, all of them or none."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.api.installation import API, SMALL, Installation, problem

Json = dict[str, Any]


@pytest.fixture
def batch(vai: Installation, ann: FlaskClient) -> Callable[..., Json]:
    """Ask for a batch as ann and run everything to its end; returns the batch's operation."""

    def batch(count: int, *, machine: Json | None = None, **rules: Any) -> Json:
        machines = [{"name": f"node-{n}", "image": "debian-12", **SMALL, **(machine or {})} for n in range(count)]
        response = ann.post(f"{API}/batches", json={"machines": machines, **rules})
        assert response.status_code == 202, response.text
        vai.run()
        found: Json = ann.get(f"{API}/operations/{response.json['id']}").json
        return found

    return batch


def machines_of(client: FlaskClient) -> list[Json]:
    found: list[Json] = client.get(f"{API}/virtual-machines?page_size=100").json["items"]
    return found


def at_the_hypervisors(vai: Installation, *datacenters: str) -> list[str]:
    seen = []
    for name in datacenters:
        with vai.services.hypervisors.use(vai.services.datacenters.get(name).id) as hypervisor:
            seen += [each.name for each in hypervisor.list_machines()]
    return sorted(seen)


@pytest.mark.usefixtures("berlin", "madrid")
def test_no_two_on_one_host_and_at_most_half_in_one_datacenter(
    vai: Installation, ann: FlaskClient, batch: Callable[..., Json]
) -> None:
    made = batch(4, apart="host", largest_share=0.5)
    assert (made["state"], len(made["operations"]), made["unplaced"]) == ("succeeded", 4, [])
    for name in ("berlin", "madrid"):
        vai.reconcile(name)
    places = [(each["datacenter"]["name"], each["observed"]["host"]) for each in machines_of(ann)]
    assert len(set(places)) == 4
    assert Counter(name for name, _ in places) == {"berlin": 2, "madrid": 2}
    for operation_id in made["operations"]:
        creation = ann.get(f"{API}/operations/{operation_id}").json
        assert (creation["kind"], creation["state"], creation["batch_id"]) == ("create_vm", "succeeded", made["id"])


@pytest.mark.usefixtures("berlin")
def test_a_batch_that_has_no_place_for_all_makes_none_and_says_why(
    vai: Installation, ann: FlaskClient, batch: Callable[..., Json]
) -> None:
    refused = batch(3, apart="host")
    assert (refused["state"], refused["problem"]["type"]) == ("rejected", "/problems/capacity-short")
    assert "1 of 3 machines" in refused["problem"]["detail"]
    assert ann.get(f"{API}/operations/{refused['id']}/explanation").json["datacenters_total"] == 1
    assert machines_of(ann) == []
    assert at_the_hypervisors(vai, "berlin") == []


@pytest.mark.usefixtures("berlin")
def test_as_many_as_fit_are_made_where_that_is_enough(
    vai: Installation, ann: FlaskClient, batch: Callable[..., Json]
) -> None:
    made = batch(3, apart="host", all_or_nothing=False)
    assert (made["state"], len(made["operations"]), len(made["unplaced"])) == ("succeeded", 2, 1)
    assert {each["state"] for each in machines_of(ann)} == {"active"}
    assert len(at_the_hypervisors(vai, "berlin")) == 2


@pytest.mark.usefixtures("berlin")
def test_one_machine_that_fails_undoes_the_whole_batch_and_nothing_else(
    vai: Installation, ann: FlaskClient, create: Callable[..., Json], batch: Callable[..., Json]
) -> None:
    create("node-1")
    undone = batch(3)
    assert undone["state"] == "failed"
    assert undone["problem"]["type"] == "/problems/name-taken"
    assert undone["residue"] == []
    assert at_the_hypervisors(vai, "berlin") == ["node-1"]
    alive = [each["name"] for each in machines_of(ann) if each["state"] == "active"]
    assert alive == ["node-1"]


@pytest.mark.usefixtures("berlin")
def test_one_machine_that_fails_is_told_where_the_others_are_enough(
    vai: Installation, create: Callable[..., Json], batch: Callable[..., Json]
) -> None:
    create("node-1")
    made = batch(3, all_or_nothing=False)
    assert made["state"] == "succeeded"
    assert at_the_hypervisors(vai, "berlin") == ["node-0", "node-1", "node-2"]


def test_a_batch_that_is_cancelled_leaves_nothing(vai: Installation, ann: FlaskClient, berlin: Json) -> None:
    machines = [{"name": f"node-{n}", "image": "debian-12", **SMALL} for n in range(3)]
    accepted = ann.post(f"{API}/batches", json={"machines": machines, "datacenters": [berlin["name"]]})
    for _ in range(2):
        vai.run_step(accepted.json["id"])
    assert ann.post(f"{API}/operations/{accepted.json['id']}/cancel").status_code == 202
    vai.run()
    ended = ann.get(f"{API}/operations/{accepted.json['id']}").json
    assert (ended["state"], ended["residue"]) == ("cancelled", [])
    assert at_the_hypervisors(vai, "berlin") == []
    assert {each["state"] for each in machines_of(ann)} <= {"failed", "deleted"}


def test_a_batch_keeps_to_the_datacenters_that_are_named(
    ann: FlaskClient, berlin: Json, madrid: Json, batch: Callable[..., Json]
) -> None:
    assert batch(4, datacenters=[madrid["name"]])["state"] == "succeeded"
    assert {each["datacenter"]["name"] for each in machines_of(ann)} == {"madrid"}
    del berlin


def test_a_step_that_is_run_again_opens_no_machine_twice(vai: Installation, ann: FlaskClient, berlin: Json) -> None:
    """The worker dies after it has opened the creations and before it has saved that it did."""
    machines = [{"name": f"node-{n}", "image": "debian-12", **SMALL} for n in range(2)]
    accepted = ann.post(f"{API}/batches", json={"machines": machines})
    steps = vai.services.workflow._steps
    vai.run_step(accepted.json["id"])
    half = vai.services.operations.get(accepted.json["id"], None)
    assert half.memo["places"]
    steps[half.step].do(half)
    vai.run()
    assert ann.get(f"{API}/operations/{accepted.json['id']}").json["state"] == "succeeded"
    assert at_the_hypervisors(vai, "berlin") == ["node-0", "node-1"]
    assert len(ann.get(f"{API}/operations").json["items"]) == 3
    del berlin


def test_the_same_key_asks_for_one_batch(vai: Installation, ann: FlaskClient, berlin: Json) -> None:
    body = {"machines": [{"name": "node-0", "image": "debian-12", **SMALL}], "datacenters": [berlin["name"]]}
    key = {"Idempotency-Key": "batch-1"}
    first = ann.post(f"{API}/batches", json=body, headers=key)
    vai.run()
    again = ann.post(f"{API}/batches", json=body, headers=key)
    assert first.json["id"] == again.json["id"]
    other = body | {"all_or_nothing": False}
    problem(ann.post(f"{API}/batches", json=other, headers=key), 422, "idempotency-key-reused")


def test_a_batch_of_nothing_and_of_unknown_datacenters_is_refused(ann: FlaskClient) -> None:
    problem(ann.post(f"{API}/batches", json={"machines": []}), 422, "invalid-request")
    machines = [{"name": "node-0", **SMALL}]
    body = {"machines": machines, "datacenters": ["nowhere"]}
    problem(ann.post(f"{API}/batches", json=body), 404, "not-found")


def test_another_tenant_sees_no_batch(ann: FlaskClient, eve: FlaskClient, berlin: Json) -> None:
    body = {"machines": [{"name": "node-0", "image": "debian-12", **SMALL}], "datacenters": [berlin["name"]]}
    accepted = ann.post(f"{API}/batches", json=body)
    problem(eve.get(f"{API}/operations/{accepted.json['id']}"), 404, "not-found")
