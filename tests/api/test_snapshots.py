"""Snapshots of machines: taken once, restored to what they were, removed with their machine; strangers' left alone."""

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.api.installation import API, SMALL, Installation, problem
from vai_app.domain.errors import CapacityShort, ProviderError, ProviderUnavailable, VaiError
from vai_app.domain.hypervisor import Hypervisor
from vai_app.domain.snapshots import MOST_SNAPSHOTS
from vai_app.domain.virtual_machines import Mark

Json = dict[str, Any]
Create = Callable[..., Json]
MACHINES = f"{API}/virtual-machines"
LARGER = {"cpus": 2, "memory_mib": 512, "disk_gib": 8}


@pytest.fixture
def machine(create: Create) -> Json:
    """A machine that runs."""
    return create()


@pytest.fixture
def stopped(create: Create) -> Json:
    """A machine that is off."""
    return create("web-2", power_on=False)


def path(machine: Json, snapshot: Json | None = None) -> str:
    snapshots = f"{MACHINES}/{machine['id']}/snapshots"
    return f"{snapshots}/{snapshot['id']}" if snapshot else snapshots


def end(vai: Installation, client: FlaskClient, accepted: TestResponse) -> Json:
    assert accepted.status_code == 202, accepted.text
    vai.run()
    operation: Json = client.get(accepted.headers["Location"]).json
    return operation


def take(vai: Installation, client: FlaskClient, machine: Json, name: str | None = None) -> Json:
    ended = end(vai, client, client.post(path(machine), json={"name": name} if name else {}))
    assert (ended["state"], ended["problem"]) == ("succeeded", None)
    taken: Json = client.get(path(machine)).json["items"][-1]
    return taken


def restore(vai: Installation, client: FlaskClient, machine: Json, snapshot: Json) -> Json:
    return end(vai, client, client.post(f"{path(machine, snapshot)}/actions/restore"))


def resize(vai: Installation, client: FlaskClient, machine: Json, size: Json) -> None:
    ended = end(vai, client, client.post(f"{MACHINES}/{machine['id']}/actions/resize", json=size))
    assert ended["state"] == "succeeded", ended["problem"]


def shown(client: FlaskClient, machine: Json) -> Json:
    found: Json = client.get(f"{MACHINES}/{machine['id']}").json
    return found


def held(vai: Installation, machine: Json) -> Json:
    reservation = vai.services.store.reservations.get(machine["id"])
    assert reservation is not None
    room = reservation.room
    return {"cpus": room.cpus, "memory_mib": room.memory_mib, "disk_gib": room.disk_gib}


def hypervisor_of(vai: Installation, machine: Json) -> Any:
    return vai.services.hypervisors.use(machine["datacenter"]["id"])


# Taking


def test_a_snapshot_is_listed_with_what_its_machine_was(vai: Installation, ann: FlaskClient, machine: Json) -> None:
    first, second = take(vai, ann, machine, "before-the-upgrade"), take(vai, ann, machine)
    assert first["name"] == "before-the-upgrade"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", second["name"])
    assert (first["machine_id"], first["size"]) == (machine["id"], SMALL)
    assert ann.get(path(machine)).json["items"] == [first, second]
    assert vai.control("berlin").snapshots() == sorted([first["name"], second["name"]])
    assert shown(ann, machine)["observed"]["power"] == "on"
    with hypervisor_of(vai, machine) as hypervisor:
        seen = hypervisor.list_snapshots(machine["provider_ref"])
    assert [(each.ref, each.mark.machine_id) for each in seen] == [
        (each["provider_ref"], machine["id"]) for each in (first, second)
    ]


def test_a_snapshot_that_an_earlier_attempt_took_is_found_and_not_taken_again(
    vai: Installation, ann: FlaskClient, machine: Json
) -> None:
    accepted = ann.post(path(machine), json={"name": "once"})
    with hypervisor_of(vai, machine) as hypervisor:  # asked for, and the answer was lost
        hypervisor.request_snapshot(machine["provider_ref"], "once", Mark(machine["id"], accepted.json["id"]))
    vai.control("berlin").inject("request_snapshot", ProviderUnavailable("The answer was lost."), times=1)
    assert end(vai, ann, accepted)["state"] == "succeeded"
    assert vai.control("berlin").snapshots() == ["once"]
    assert [each["name"] for each in ann.get(path(machine)).json["items"]] == ["once"]


@pytest.mark.parametrize("as_task", [True, False])
def test_a_snapshot_that_fails_leaves_nothing(
    vai: Installation, ann: FlaskClient, machine: Json, *, as_task: bool
) -> None:
    error: VaiError = ProviderError("The disk could not be read.")
    vai.control("berlin").inject("snapshot" if as_task else "request_snapshot", error, as_task=as_task)
    failed = end(vai, ann, ann.post(path(machine), json={}))
    assert (failed["state"], failed["residue"]) == ("failed", [])
    assert "could not be read" in failed["problem"]["detail"]
    assert ann.get(path(machine)).json["items"] == []
    assert vai.control("berlin").snapshots() == []


def test_a_snapshot_that_was_taken_and_not_recorded_before_it_was_too_late_is_removed(
    vai: Installation, ann: FlaskClient, machine: Json
) -> None:
    accepted = ann.post(path(machine), json={})
    vai.run_step(accepted.json["id"])
    assert len(vai.control("berlin").snapshots()) == 1
    vai.control("berlin").inject("list_snapshots", ProviderError("It cannot tell."), times=1)
    ended = end(vai, ann, accepted)
    assert (ended["state"], ended["residue"]) == ("failed", [])
    assert vai.control("berlin").snapshots() == []


def test_a_snapshot_that_was_recorded_and_is_turned_back_is_forgotten(
    vai: Installation, ann: FlaskClient, machine: Json, monkeypatch: pytest.MonkeyPatch
) -> None:
    accepted = ann.post(path(machine), json={})
    put = type(vai.services.snapshots).put

    def put_and_fail(self: Any, snapshot: Any) -> None:
        put(self, snapshot)
        raise ProviderError("It was too late.")

    with monkeypatch.context() as patched:
        patched.setattr(type(vai.services.snapshots), "put", put_and_fail)
        ended = end(vai, ann, accepted)
    assert (ended["state"], ended["residue"]) == ("failed", [])
    assert (ann.get(path(machine)).json["items"], vai.control("berlin").snapshots()) == ([], [])


def test_a_name_is_a_machines_once(vai: Installation, ann: FlaskClient, machine: Json, stopped: Json) -> None:
    take(vai, ann, machine, "gold")
    assert "gold" in problem(ann.post(path(machine), json={"name": "gold"}), 409, "name-taken")["detail"]
    assert take(vai, ann, stopped, "gold")["name"] == "gold"


@pytest.mark.parametrize("name", ["", " ", "a b", "-x", "x" * 81, "schön", 7])
def test_a_name_that_no_hypervisor_takes_is_refused(ann: FlaskClient, machine: Json, name: Any) -> None:
    refused = problem(ann.post(path(machine), json={"name": name}), 422, "invalid-request")
    assert refused["errors"][0]["field"] == "name"


def test_a_machine_has_a_bounded_number_of_snapshots(vai: Installation, ann: FlaskClient, machine: Json) -> None:
    snapshot = vai.services.snapshots.get(take(vai, ann, machine)["id"], None)
    for number in range(MOST_SNAPSHOTS - 1):
        vai.services.snapshots.put(replace(snapshot, id=f"snap-{number}", name=f"name-{number}"))
    refused = problem(ann.post(path(machine), json={}), 409, "conflict")
    assert f"has {MOST_SNAPSHOTS} snapshots" in refused["detail"]


def test_the_same_key_takes_one_snapshot(vai: Installation, ann: FlaskClient, machine: Json) -> None:
    key = {"Idempotency-Key": "nightly-1"}
    first = end(vai, ann, ann.post(path(machine), json={}, headers=key))
    assert ann.post(path(machine), json={}, headers=key).json["id"] == first["id"]
    assert len(ann.get(path(machine)).json["items"]) == 1
    problem(ann.post(path(machine), json={"name": "other"}, headers=key), 422, "idempotency-key-reused")


def test_a_datacenter_without_snapshots_says_so_at_once(vai: Installation, ann: FlaskClient, machine: Json) -> None:
    datacenter = vai.services.datacenters.get("berlin")
    able = tuple(each for each in datacenter.inventory.capabilities or () if each != "snapshot")
    inventory = replace(datacenter.inventory, capabilities=able)
    vai.services.store.datacenters.record_reachable(datacenter.id, None, inventory)
    assert "take snapshots" in problem(ann.post(path(machine), json={}), 409, "conflict")["detail"]


# Restoring


@pytest.mark.parametrize("power", ["on", "off"])
def test_a_restored_machine_has_its_size_and_the_power_that_it_had_before(
    vai: Installation, ann: FlaskClient, create: Create, power: str
) -> None:
    machine = create(power_on=power == "on")
    snapshot = take(vai, ann, machine, "small")
    resize(vai, ann, machine, LARGER)
    assert restore(vai, ann, machine, snapshot)["state"] == "succeeded"
    assert vai.control("berlin").restored_to(machine["provider_ref"]) == snapshot["provider_ref"]
    vai.reconcile("berlin")
    found = shown(ann, machine)
    assert (found["size"], found["observed"]["size"]) == (SMALL, SMALL)
    assert (found["observed"]["power"], found["drift"]) == (power, [])
    assert held(vai, machine) == SMALL
    kinds = [each["kind"] for each in ann.get(f"{API}/events").json["items"]]
    assert "reservation.corrected" not in kinds


def test_the_size_that_would_come_back_is_held_to_the_quota_before_anything_is_done(
    vai: Installation, admin: FlaskClient, ann: FlaskClient, create: Create
) -> None:
    machine = create(**LARGER)
    snapshot = take(vai, ann, machine, "large")
    resize(vai, ann, machine, {**LARGER, "memory_mib": 256})
    limit = {"name": "little", "limits": {"total_memory_mib": 300}, "tenants": ["acme"]}
    assert admin.post(f"{API}/policies", json=limit).status_code == 201
    refused = restore(vai, ann, machine, snapshot)
    assert (refused["state"], refused["problem"]["type"]) == ("failed", "/problems/quota-exceeded")
    assert vai.control("berlin").restored_to(machine["provider_ref"]) is None
    vai.reconcile("berlin")
    assert (held(vai, machine)["memory_mib"], shown(ann, machine)["observed"]["power"]) == (256, "on")


@pytest.mark.parametrize("as_task", [True, False])
def test_a_restoration_that_fails_leaves_the_machine_running_with_what_is_held_for_it(
    vai: Installation, ann: FlaskClient, machine: Json, *, as_task: bool
) -> None:
    snapshot = take(vai, ann, machine)
    resize(vai, ann, machine, LARGER)
    error: VaiError = CapacityShort("The datastore is full.")
    vai.control("berlin").inject("restore" if as_task else "request_restore", error, as_task=as_task)
    failed = restore(vai, ann, machine, snapshot)
    assert (failed["state"], failed["problem"]["type"], failed["residue"]) == ("failed", "/problems/capacity-short", [])
    vai.reconcile("berlin")
    found = shown(ann, machine)
    assert (found["observed"]["power"], found["observed"]["size"], found["drift"]) == ("on", LARGER, [])
    assert held(vai, machine) == LARGER


def test_a_restoration_waits_for_a_datacenter_that_is_away(vai: Installation, ann: FlaskClient, machine: Json) -> None:
    snapshot = take(vai, ann, machine)
    for method in ("observe_machine", "request_restore", "request_power"):
        vai.control("berlin").inject(method, ProviderUnavailable("It is being upgraded."), times=1)
    assert restore(vai, ann, machine, snapshot)["state"] == "succeeded"
    assert shown(ann, machine)["observed"]["power"] == "on"


def test_a_snapshot_that_somebody_removed_is_told_and_can_be_forgotten(
    vai: Installation, ann: FlaskClient, machine: Json
) -> None:
    snapshot = take(vai, ann, machine, "gold")
    vai.control("berlin").remove_snapshots()
    failed = restore(vai, ann, machine, snapshot)
    assert (failed["state"], failed["problem"]["type"]) == ("failed", "/problems/not-found")
    assert "gold" in failed["problem"]["detail"]
    assert shown(ann, machine)["observed"]["power"] == "on"
    assert end(vai, ann, ann.delete(path(machine, snapshot)))["state"] == "succeeded"
    assert ann.get(path(machine)).json["items"] == []


def test_what_does_not_bear_our_mark_is_neither_restored_nor_removed(
    vai: Installation, ann: FlaskClient, machine: Json
) -> None:
    snapshot = take(vai, ann, machine, "ours")
    recorded = vai.services.snapshots.get(snapshot["id"], None)
    vai.services.snapshots.put(replace(recorded, mark=Mark(machine["id"], "op-of-somebody-else")))
    for ended in (restore(vai, ann, machine, snapshot), end(vai, ann, ann.delete(path(machine, snapshot)))):
        assert (ended["state"], ended["problem"]["type"]) == ("failed", "/problems/conflict")
    assert vai.control("berlin").snapshots() == ["ours"]
    assert vai.control("berlin").restored_to(machine["provider_ref"]) is None


# Removing


def test_one_snapshot_is_removed_and_the_others_stay(vai: Installation, ann: FlaskClient, machine: Json) -> None:
    snapshots = [take(vai, ann, machine, name) for name in ("first", "second", "third")]
    ended = end(vai, ann, ann.delete(path(machine, snapshots[1])))
    assert (ended["kind"], ended["state"]) == ("delete_snapshot", "succeeded")
    assert ann.get(path(machine)).json["items"] == [snapshots[0], snapshots[2]]
    assert vai.control("berlin").snapshots() == ["first", "third"]
    problem(ann.delete(path(machine, snapshots[1])), 404, "not-found")


def test_a_removal_that_fails_can_be_asked_for_again(vai: Installation, ann: FlaskClient, machine: Json) -> None:
    snapshot = take(vai, ann, machine, "first")
    vai.control("berlin").inject("delete_snapshot", ProviderError("A disk is locked."), as_task=True, times=1)
    failed = end(vai, ann, ann.delete(path(machine, snapshot)))
    assert (failed["state"], failed["problem"]["detail"]) == ("failed", "A disk is locked.")
    assert ann.get(path(machine)).json["items"] == [snapshot]
    assert end(vai, ann, ann.delete(path(machine, snapshot)))["state"] == "succeeded"
    assert vai.control("berlin").snapshots() == []


@pytest.mark.parametrize(("outlives", "power_on"), [(True, True), (True, False), (False, True), (False, False)])
def test_a_deleted_machine_leaves_no_snapshots(
    vai: Installation,
    ann: FlaskClient,
    create: Create,
    monkeypatch: pytest.MonkeyPatch,
    *,
    outlives: bool,
    power_on: bool,
) -> None:
    machine = create(power_on=power_on)
    for name in ("first", "second"):
        take(vai, ann, machine, name)
    with hypervisor_of(vai, machine) as hypervisor:
        there = hypervisor.list_snapshots(machine["provider_ref"])
        removed = [] if outlives else [each.ref for each in there]
    if outlives:  # as in OpenStack, where a snapshot is an image

        def remove(_self: Hypervisor, _ref: str, snapshot_ref: str) -> None:
            removed.append(snapshot_ref)

        monkeypatch.setattr(type(hypervisor), "list_snapshots", lambda *_: there)
        monkeypatch.setattr(type(hypervisor), "request_delete_snapshot", remove)
    assert end(vai, ann, ann.delete(f"{MACHINES}/{machine['id']}"))["state"] == "succeeded"
    assert removed == [each.ref for each in there]
    assert shown(ann, machine)["state"] == "deleted"
    assert list(vai.services.snapshots.of_machine(machine["id"])) == []


def test_what_a_deleted_machine_left_can_be_removed_later(
    vai: Installation, ann: FlaskClient, machine: Json, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = take(vai, ann, machine, "left")
    with hypervisor_of(vai, machine) as hypervisor:
        there = hypervisor.list_snapshots(machine["provider_ref"])
    monkeypatch.setattr(type(hypervisor), "list_snapshots", lambda *_: there)  # it outlives its machine
    vai.control("berlin").inject("request_delete_snapshot", ProviderError("Glance is being upgraded."), times=1)
    failed = end(vai, ann, ann.delete(f"{MACHINES}/{machine['id']}"))
    assert (failed["state"], failed["problem"]["detail"]) == ("failed", "Glance is being upgraded.")
    assert shown(ann, machine)["state"] == "deleted"
    assert ann.get(path(machine)).json["items"] == [snapshot]
    assert end(vai, ann, ann.delete(path(machine, snapshot)))["state"] == "succeeded"
    assert ann.get(path(machine)).json["items"] == []


# Who may


def test_another_tenants_snapshot_and_another_machines_is_not_found(
    vai: Installation, admin: FlaskClient, ann: FlaskClient, eve: FlaskClient, machine: Json, stopped: Json
) -> None:
    snapshot = take(vai, ann, machine)
    problem(eve.get(path(machine)), 404, "not-found")
    problem(eve.post(path(machine), json={}), 404, "not-found")
    for client, wrong in ((eve, machine), (ann, stopped), (admin, stopped)):
        problem(client.delete(path(wrong, snapshot)), 404, "not-found")
        problem(client.post(f"{path(wrong, snapshot)}/actions/restore"), 404, "not-found")
    assert vai.dispatcher.take() == []
    assert admin.get(path(machine)).json["items"] == [snapshot]


def test_a_viewer_sees_snapshots_and_changes_none(vai: Installation, ann: FlaskClient, machine: Json) -> None:
    snapshot = take(vai, ann, machine)
    viewer = vai.client(vai.token("vic", "acme", "viewer"))
    assert viewer.get(path(machine)).json["items"] == [snapshot]
    for refused, right in (
        (viewer.post(path(machine), json={}), "take"),
        (viewer.delete(path(machine, snapshot)), "delete"),
        (viewer.post(f"{path(machine, snapshot)}/actions/restore"), "restore"),
    ):
        assert f"snapshots:{right}" in problem(refused, 403, "forbidden")["detail"]


def test_a_machine_is_changed_by_one_at_a_time(vai: Installation, ann: FlaskClient, machine: Json) -> None:
    snapshot = take(vai, ann, machine)
    assert ann.post(path(machine), json={}).status_code == 202
    problem(ann.post(f"{path(machine, snapshot)}/actions/restore"), 409, "machine-busy")
    problem(ann.delete(path(machine, snapshot)), 409, "machine-busy")
    vai.run()
