"""Machines that move between hosts of their datacenter: where they go, and what is held for them at each moment."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.api.installation import API, Installation, problem
from vai_app.domain.datacenters import HostState
from vai_app.domain.errors import CapacityShort, ProviderUnavailable, VaiError

Json = dict[str, Any]
Create = Callable[..., Json]
MACHINES = f"{API}/virtual-machines"


@pytest.fixture
def machine(vai: Installation, admin: FlaskClient, create: Create) -> Json:
    """A machine that runs, as an administrator sees it after a listing."""
    made = create()
    vai.reconcile("berlin")
    shown: Json = admin.get(f"{MACHINES}/{made['id']}").json
    return shown


def _move(vai: Installation, admin: FlaskClient, machine: Json, host: str | None) -> Json:
    accepted = admin.post(f"{MACHINES}/{machine['id']}/actions/migrate", json={"host": host})
    assert accepted.status_code == 202, accepted.text
    vai.run()
    operation: Json = admin.get(accepted.headers["Location"]).json
    return operation


def _host_of(admin: FlaskClient, machine: Json) -> str:
    return str(admin.get(f"{MACHINES}/{machine['id']}").json["observed"]["host"])


def _held_at(vai: Installation, machine: Json) -> str | None:
    reservation = vai.services.store.reservations.get(machine["id"])
    return reservation.host if reservation else None


def _others(admin: FlaskClient, machine: Json) -> list[Json]:
    hosts = admin.get(f"{API}/datacenters/berlin/inventory").json["hosts"]
    return [each for each in hosts if each["ref"] != machine["observed"]["host"]]


@pytest.mark.parametrize("named_by", ["ref", "name"])
def test_a_machine_moves_to_the_host_that_was_asked_for_and_so_does_what_is_held_for_it(
    vai: Installation, admin: FlaskClient, machine: Json, named_by: str
) -> None:
    target = _others(admin, machine)[-1]
    moved = _move(vai, admin, machine, target[named_by])
    assert (moved["kind"], moved["state"], moved["problem"]) == ("migrate_vm", "succeeded", None)
    assert _host_of(admin, machine) == target["ref"]
    assert _held_at(vai, machine) == target["ref"]
    vai.reconcile("berlin")
    shown = admin.get(f"{MACHINES}/{machine['id']}").json
    assert (shown["observed"]["host"], shown["observed"]["power"], shown["drift"]) == (target["ref"], "on", [])
    kinds = [each["kind"] for each in admin.get(f"{API}/events").json["items"]]
    assert "reservation.corrected" not in kinds


def test_a_host_is_chosen_that_has_room_where_none_is_named(
    vai: Installation, admin: FlaskClient, machine: Json
) -> None:
    assert _move(vai, admin, machine, None)["state"] == "succeeded"
    assert _host_of(admin, machine) in [each["ref"] for each in _others(admin, machine)]


def test_a_machine_that_is_off_stays_off(vai: Installation, admin: FlaskClient, create: Create) -> None:
    made = create(power_on=False)
    vai.reconcile("berlin")
    shown = admin.get(f"{MACHINES}/{made['id']}").json
    assert _move(vai, admin, shown, None)["state"] == "succeeded"
    vai.reconcile("berlin")
    assert admin.get(f"{MACHINES}/{made['id']}").json["observed"]["power"] == "off"


def test_a_host_that_is_not_there_is_told_with_those_that_are(
    vai: Installation, admin: FlaskClient, machine: Json
) -> None:
    failed = _move(vai, admin, machine, "gone")
    assert (failed["state"], failed["problem"]["type"]) == ("failed", "/problems/not-found")
    assert "no host 'gone'" in failed["problem"]["detail"]
    assert _others(admin, machine)[0]["name"] in failed["problem"]["detail"]
    assert _held_at(vai, machine) == machine["observed"]["host"]


def test_a_machine_is_not_moved_to_where_it_is(vai: Installation, admin: FlaskClient, machine: Json) -> None:
    failed = _move(vai, admin, machine, machine["observed"]["host"])
    assert (failed["state"], failed["problem"]["type"]) == ("failed", "/problems/conflict")


def test_a_host_that_is_down_takes_no_machine(vai: Installation, admin: FlaskClient, machine: Json) -> None:
    target = _others(admin, machine)[0]
    vai.control("berlin").set_host_state(target["name"], HostState.DOWN)
    vai.reconcile("berlin")
    failed = _move(vai, admin, machine, target["ref"])
    assert (failed["state"], failed["problem"]["type"]) == ("failed", "/problems/host-unavailable")
    for each in _others(admin, machine):
        vai.control("berlin").set_host_state(each["name"], HostState.DOWN)
    vai.reconcile("berlin")
    nowhere = _move(vai, admin, machine, None)
    assert (nowhere["state"], nowhere["problem"]["type"]) == ("failed", "/problems/capacity-short")
    assert _held_at(vai, machine) == _host_of(admin, machine) == machine["observed"]["host"]


def test_a_machine_of_a_dead_host_is_left_alone_until_somebody_says_that_the_host_is_off(
    vai: Installation, admin: FlaskClient, machine: Json
) -> None:
    address, dead = f"{MACHINES}/{machine['id']}/actions/migrate", machine["observed"]["host"]
    early = admin.post(address, json={"host_is_off": True})
    vai.run()
    assert "is not off" in admin.get(early.headers["Location"]).json["problem"]["detail"]
    (name,) = [host.name for host in vai.services.datacenters.get("berlin").inventory.hosts if host.ref == dead]
    vai.control("berlin").set_host_state(name, HostState.DOWN)
    vai.reconcile("berlin")

    refused = _move(vai, admin, machine, None)
    assert (refused["state"], refused["problem"]["type"]) == ("failed", "/problems/conflict")
    assert "would run twice" in refused["problem"]["detail"]
    assert _held_at(vai, machine) == _host_of(admin, machine) == dead

    confirmed = admin.post(address, json={"host_is_off": True})
    vai.run()
    assert admin.get(confirmed.headers["Location"]).json["state"] == "succeeded"
    assert _held_at(vai, machine) == _host_of(admin, machine) != dead
    vai.reconcile("berlin")
    shown = admin.get(f"{MACHINES}/{machine['id']}").json
    assert (shown["state"], shown["observed"]["host"]) == ("active", _held_at(vai, machine))


@pytest.mark.parametrize("as_task", [True, False])
def test_a_move_that_fails_leaves_the_machine_and_what_is_held_for_it_where_they_were(
    vai: Installation, admin: FlaskClient, machine: Json, *, as_task: bool
) -> None:
    error: VaiError = CapacityShort("The host has no room left.")
    vai.control("berlin").inject("migrate" if as_task else "request_migrate", error, as_task=as_task)
    failed = _move(vai, admin, machine, None)
    assert (failed["state"], failed["problem"]["type"]) == ("failed", "/problems/capacity-short")
    assert failed["residue"] == []
    assert _host_of(admin, machine) == machine["observed"]["host"]
    assert _held_at(vai, machine) == machine["observed"]["host"]


def test_a_move_waits_for_a_datacenter_that_is_away_and_keeps_to_the_host_that_it_chose(
    vai: Installation, admin: FlaskClient, machine: Json
) -> None:
    vai.control("berlin").inject("request_migrate", ProviderUnavailable("It is being upgraded."), times=1)
    moved = _move(vai, admin, machine, None)
    assert moved["state"] == "succeeded"
    assert _held_at(vai, machine) == _host_of(admin, machine) != machine["observed"]["host"]


def test_a_datacenter_that_lets_nobody_move_machines_says_so_at_once(
    vai: Installation, admin: FlaskClient, machine: Json
) -> None:
    datacenter = vai.services.datacenters.get("berlin")
    able = tuple(
        each for each in datacenter.inventory.capabilities or () if not each.startswith(("migrate", "evacuate"))
    )
    inventory = replace(datacenter.inventory, capabilities=able)
    vai.services.store.datacenters.record_reachable(datacenter.id, None, inventory)
    refused = admin.post(f"{MACHINES}/{machine['id']}/actions/migrate", json={})
    assert "no right to" in problem(refused, 409, "conflict")["detail"]


def test_moving_takes_the_right_to(ann: FlaskClient, machine: Json) -> None:
    refused = ann.post(f"{MACHINES}/{machine['id']}/actions/migrate", json={})
    assert "virtual-machines:migrate" in problem(refused, 403, "forbidden")["detail"]
