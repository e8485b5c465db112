"""What both datacenter repositories promise."""

from dataclasses import replace
from typing import Any

import pytest

from tests.builders import a_datacenter, a_machine, an_active_machine, an_inventory
from tests.fakes import FakeStore, SettableClock
from vai_app.domain.datacenters import About, Connection, Reachability
from vai_app.domain.errors import Conflict, NameTaken, NotFound, PreconditionFailed
from vai_app.domain.ports.datacenters import DatacenterChange
from vai_app.domain.ports.machines import MachineFilter
from vai_app.domain.ports.paging import PageRequest
from vai_app.domain.virtual_machines import MachineState
from vai_app.store import Store

AnyStore = Store | FakeStore
SECRET = {"username": "vai", "password": "correct horse"}


def test_a_registered_datacenter_is_found_by_id_and_by_name(store: AnyStore) -> None:
    datacenter = a_datacenter(options={"a.b": {"$c": [1]}}, about=About("vCenter", "8", "vai"))
    store.datacenters.insert(datacenter, SECRET)
    assert store.datacenters.get(datacenter.id) == datacenter
    assert store.datacenters.get(datacenter.name) == datacenter
    with pytest.raises(NotFound, match="'tokyo'"):
        store.datacenters.get("tokyo")


def test_datacenters_are_listed_in_order_of_name(store: AnyStore) -> None:
    for number, name in enumerate(("tokyo", "berlin", "lima")):
        store.datacenters.insert(a_datacenter(id=f"dc-{number}", name=name), SECRET)
    assert [each.name for each in store.datacenters.list()] == ["berlin", "lima", "tokyo"]


def test_a_datacenters_name_is_unique(store: AnyStore) -> None:
    store.datacenters.insert(a_datacenter(id="dc-1", name="berlin"), SECRET)
    with pytest.raises(NameTaken, match="berlin"):
        store.datacenters.insert(a_datacenter(id="dc-2", name="berlin"), SECRET)
    other = a_datacenter(id="dc-2", name="tokyo")
    store.datacenters.insert(other, SECRET)
    with pytest.raises(NameTaken, match="berlin"):
        store.datacenters.change(other.id, DatacenterChange(name="berlin"), revision=1)
    assert store.datacenters.get(other.id) == other


def test_the_connection_has_the_credentials_and_the_configuration(store: AnyStore) -> None:
    datacenter = a_datacenter(
        verify_tls=False, ca_certificate="PEM", call_timeout_seconds=7.5, options={"datacenter": "DC0"}
    )  # fmt: skip
    store.datacenters.insert(datacenter, SECRET)
    expected = Connection(
        datacenter_id=datacenter.id,
        kind=datacenter.kind,
        endpoint=datacenter.endpoint,
        credentials=SECRET,
        verify_tls=False,
        ca_certificate="PEM",
        call_timeout_seconds=7.5,
        options={"datacenter": "DC0"},
    )
    assert store.datacenters.connection(datacenter.id) == expected
    assert store.datacenters.connection(datacenter.name) == expected
    with pytest.raises(NotFound):
        store.datacenters.connection("dc-none")


def test_a_change_touches_only_what_it_names_and_counts_the_revision(store: AnyStore) -> None:
    datacenter = a_datacenter(options={"a": 1})
    store.datacenters.insert(datacenter, SECRET)
    assert store.datacenters.get(datacenter.id).enabled
    changed = store.datacenters.change(datacenter.id, DatacenterChange(enabled=False), revision=1)
    assert changed == replace(datacenter, enabled=False, revision=2)
    assert store.datacenters.get(datacenter.id) == changed
    assert store.datacenters.connection(datacenter.id).credentials == SECRET


@pytest.mark.parametrize(
    "change",
    [
        {"name": "tokyo"},
        {"endpoint": "simulated:///elsewhere"},
        {"verify_tls": False},
        {"ca_certificate": "PEM"},
        {"call_timeout_seconds": 5.0},
        {"options": {"b": 2}},
    ],
)
def test_every_property_can_be_changed(store: AnyStore, change: dict[str, Any]) -> None:
    datacenter = a_datacenter(options={"a": 1})
    store.datacenters.insert(datacenter, SECRET)
    changed = store.datacenters.change(datacenter.id, DatacenterChange(**change), revision=1)
    assert changed == replace(datacenter, revision=2, **change)


def test_new_credentials_replace_the_old_ones(store: AnyStore) -> None:
    store.datacenters.insert(a_datacenter(), SECRET)
    store.datacenters.change("dc-1", DatacenterChange(credentials={"token": "t"}), revision=1)
    assert store.datacenters.connection("dc-1").credentials == {"token": "t"}


def test_a_change_based_on_an_old_revision_is_refused(store: AnyStore) -> None:
    store.datacenters.insert(a_datacenter(), SECRET)
    store.datacenters.change("dc-1", DatacenterChange(enabled=False), revision=1)
    with pytest.raises(PreconditionFailed, match="2"):
        store.datacenters.change("dc-1", DatacenterChange(enabled=True), revision=1)
    with pytest.raises(PreconditionFailed):
        store.datacenters.delete("dc-1", revision=1)
    assert not store.datacenters.get("dc-1").enabled


def test_what_is_not_registered_can_be_neither_changed_nor_deleted(store: AnyStore) -> None:
    with pytest.raises(NotFound):
        store.datacenters.change("dc-1", DatacenterChange(enabled=False), revision=1)
    with pytest.raises(NotFound):
        store.datacenters.delete("dc-1", revision=1)


def test_reachability_is_recorded_and_its_changes_are_told_once(store: AnyStore, clock: SettableClock) -> None:
    store.datacenters.insert(a_datacenter(), SECRET)
    inventory, about = an_inventory(), About("vCenter", "8", "vai")
    assert store.datacenters.record_reachable("dc-1", about, inventory)
    assert not store.datacenters.record_reachable("dc-1", None, None)
    seen = store.datacenters.get("dc-1")
    assert (seen.reachability, seen.about, seen.inventory) == (Reachability.REACHABLE, about, inventory)
    assert (seen.observed_at, seen.revision) == (clock.now, 1)
    assert store.datacenters.record_unreachable("dc-1", "no route")
    assert not store.datacenters.record_unreachable("dc-1", "timeout")
    lost = store.datacenters.get("dc-1")
    assert lost == replace(seen, reachability=Reachability.UNREACHABLE, problem="timeout")
    assert store.datacenters.record_reachable("dc-1", None, None)
    assert store.datacenters.get("dc-1") == seen


def test_what_is_recorded_of_a_forgotten_datacenter_makes_none(store: AnyStore) -> None:
    assert not store.datacenters.record_reachable("dc-1", None, an_inventory())
    assert not store.datacenters.record_unreachable("dc-1", "no route")
    assert store.datacenters.list() == []


def test_forgetting_a_datacenter_forgets_its_strangers_and_keeps_the_history(store: AnyStore) -> None:
    store.datacenters.insert(a_datacenter(), SECRET)
    store.machines.insert(an_active_machine(tenant=None, mark=None))
    elsewhere = an_active_machine(tenant=None, mark=None, datacenter_id="dc-2")
    failed, deleted = a_machine(), an_active_machine()
    for machine in (elsewhere, failed, deleted):
        store.machines.insert(machine)
    store.machines.record_failed(failed.id, "no room")
    store.machines.record_deleted(deleted.id)
    store.datacenters.delete("dc-1", revision=1)
    with pytest.raises(NotFound):
        store.datacenters.get("dc-1")
    left = store.machines.page(MachineFilter(tenant=None, include_deleted=True), PageRequest()).items
    assert {each.id for each in left} == {elsewhere.id, failed.id, deleted.id}


@pytest.mark.parametrize("state", [MachineState.REQUESTED, MachineState.ACTIVE, MachineState.MISSING])
def test_a_datacenter_with_machines_of_ours_is_not_forgotten(store: AnyStore, state: MachineState) -> None:
    store.datacenters.insert(a_datacenter(), SECRET)
    stranger = an_active_machine(tenant=None, mark=None)
    store.machines.insert(stranger)
    store.machines.insert(a_machine(state=state))
    with pytest.raises(Conflict, match="Delete them first"):
        store.datacenters.delete("dc-1", revision=1)
    assert store.datacenters.get("dc-1").id == "dc-1"
    assert store.machines.get(stranger.id, None) == stranger
