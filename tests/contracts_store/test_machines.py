"""What both machine repositories promise of single machines."""

from dataclasses import replace
from datetime import timedelta

import pytest

from tests.builders import NOW, SMALL, a_machine, a_spec, an_active_machine, an_observation
from tests.fakes import FakeStore, SettableClock
from vai_app.domain.errors import NameTaken, NotFound
from vai_app.domain.lifetimes import Lifetime, Phase
from vai_app.domain.ports.machines import MachineFilter
from vai_app.domain.ports.paging import PageRequest
from vai_app.domain.virtual_machines import Location, MachineState, Mark, Power, Size
from vai_app.store import Store

AnyStore = Store | FakeStore


def stranger(store: AnyStore, name: str = "theirs", datacenter_id: str = "dc-1") -> str:
    store.machines.insert(
        an_active_machine(name=name, tenant=None, mark=None, datacenter_id=datacenter_id)
    )  # fmt: skip
    wanted = MachineFilter(tenant=None, name=name, managed=False)
    return store.machines.page(wanted, PageRequest()).items[0].id


def test_an_inserted_machine_is_read_back_as_it_was(store: AnyStore) -> None:
    spec = a_spec(location=Location(cluster="main", host="host-1"), networks=("a", "b"), power_on=False)
    machine = an_active_machine(spec=spec, addresses=("10.0.0.1",), labels={"a.b": "$c"}, drift=("cpus is 4",))
    store.machines.insert(machine)
    assert store.machines.get(machine.id, None) == machine


def test_inserting_the_same_machine_again_does_nothing(store: AnyStore) -> None:
    machine = a_machine()
    store.machines.insert(machine)
    store.machines.record_power(machine.id, Power.ON)
    store.machines.insert(machine)
    assert store.machines.get(machine.id, None).observed_power is Power.ON


def test_another_tenants_machine_is_not_found(store: AnyStore) -> None:
    machine = a_machine(tenant="acme")
    store.machines.insert(machine)
    assert store.machines.get(machine.id, "acme") == machine
    for machine_id, tenant in ((machine.id, "globex"), (stranger(store), "acme"), ("vm-none", None)):
        with pytest.raises(NotFound):
            store.machines.get(machine_id, tenant)


def test_a_name_is_unique_within_a_tenant_only(store: AnyStore) -> None:
    store.machines.insert(a_machine(name="web", tenant="acme"))
    store.machines.insert(a_machine(name="web", tenant="globex"))
    with pytest.raises(NameTaken, match="web"):
        store.machines.insert(a_machine(name="web", tenant="acme", datacenter_id="dc-2"))


def test_tenant_and_name_are_not_mixed_up_in_the_uniqueness_of_names(store: AnyStore) -> None:
    store.machines.insert(a_machine(tenant="a/b", name="c"))
    store.machines.insert(a_machine(tenant="a", name="b/c"))


def test_strangers_may_share_a_name(store: AnyStore) -> None:
    store.machines.insert(an_active_machine(name="web", tenant=None, mark=None))
    store.machines.insert(an_active_machine(name="web", tenant=None, mark=None))
    store.machines.insert(a_machine(name="web", tenant="acme"))


@pytest.mark.parametrize("state", [MachineState.REQUESTED, MachineState.ACTIVE, MachineState.MISSING])
def test_a_machine_that_is_not_ended_holds_its_name(store: AnyStore, state: MachineState) -> None:
    store.machines.insert(a_machine(name="web", state=state))
    with pytest.raises(NameTaken):
        store.machines.insert(a_machine(name="web"))


def test_a_failed_and_a_deleted_machine_free_their_name(store: AnyStore) -> None:
    first, second, third = (a_machine(name="web") for _ in range(3))
    store.machines.insert(first)
    store.machines.record_failed(first.id, "no room")
    store.machines.insert(second)
    store.machines.record_deleted(second.id)
    store.machines.insert(third)
    failed = store.machines.get(first.id, None)
    assert (failed.state, failed.problem) == (MachineState.FAILED, "no room")
    assert store.machines.get(second.id, None).state is MachineState.DELETED


def test_what_an_operation_did_is_recorded(store: AnyStore, clock: SettableClock) -> None:
    machine = a_machine(datacenter_id="dc-1")
    store.machines.insert(machine)
    store.machines.record_datacenter(machine.id, "dc-2")
    assert store.machines.get(machine.id, None) == replace(machine, datacenter_id="dc-2")
    mark = Mark(machine.id, "op-1")
    seen_at = clock.advance(1)
    store.machines.record_active(machine.id, "ref-1", mark)
    active = replace(
        machine,
        datacenter_id="dc-2",
        state=MachineState.ACTIVE,
        provider_ref="ref-1",
        mark=mark,
        observed_power=Power.OFF,
        observed_at=seen_at,
    )
    assert store.machines.get(machine.id, None) == active
    store.machines.record_power(machine.id, Power.ON)
    larger = Size(cpus=4, memory_mib=8192, disk_gib=20)
    store.machines.record_size(machine.id, larger)
    resized = replace(
        active, observed_power=Power.ON, observed_size=larger, spec=replace(machine.spec, size=larger)
    )  # fmt: skip
    assert store.machines.get(machine.id, None) == resized
    store.machines.record_deleted(machine.id)
    gone = replace(resized, state=MachineState.DELETED, provider_ref=None, observed_power=Power.UNKNOWN)
    assert store.machines.get(machine.id, None) == gone


def test_recording_twice_is_as_good_as_once(store: AnyStore) -> None:
    machine = a_machine()
    store.machines.insert(machine)
    mark = Mark(machine.id, "op-1")
    for _ in range(2):
        store.machines.record_active(machine.id, "ref-1", mark)
    active = store.machines.get(machine.id, None)
    assert (active.state, active.provider_ref) == (MachineState.ACTIVE, "ref-1")
    for _ in range(2):
        store.machines.record_deleted(machine.id)
    assert store.machines.get(machine.id, None).state is MachineState.DELETED


def test_recording_on_a_machine_that_is_not_there_makes_none(store: AnyStore) -> None:
    store.machines.record_power("vm-none", Power.ON)
    store.machines.record_failed("vm-none", "rejected before it was stored")
    store.machines.record_deleted("vm-none")
    assert store.machines.page(MachineFilter(tenant=None, include_deleted=True), PageRequest()).items == []


def test_a_reference_that_the_provider_gave_again_leaves_its_former_bearer(store: AnyStore) -> None:
    former, stray, fresh = an_active_machine(provider_ref="ref-1"), stranger(store), a_machine()
    for machine in (former, fresh):
        store.machines.insert(machine)
    store.machines.record_active(fresh.id, "ref-1", Mark(fresh.id, "op-1"))
    assert store.machines.get(fresh.id, None).provider_ref == "ref-1"
    lost = store.machines.get(former.id, None)
    assert (lost.state, lost.provider_ref) == (MachineState.MISSING, None)
    stray_ref = store.machines.get(stray, None).provider_ref
    assert stray_ref is not None
    other = a_machine()
    store.machines.insert(other)
    store.machines.record_active(other.id, stray_ref, Mark(other.id, "op-2"))
    with pytest.raises(NotFound):
        store.machines.get(stray, None)


def test_an_adopted_machine_is_the_tenants_and_holds_its_name(store: AnyStore) -> None:
    machine_id = stranger(store, name="theirs")
    mark = Mark(machine_id, "op-1")
    store.machines.record_adopted(machine_id, "acme", mark)
    adopted = store.machines.get(machine_id, "acme")
    assert (adopted.managed, adopted.mark) == (True, mark)
    with pytest.raises(NameTaken):
        store.machines.insert(a_machine(name="theirs", tenant="acme"))
    store.machines.record_adopted(machine_id, "acme", mark)


def test_a_machine_is_not_adopted_under_a_name_that_the_tenant_has(store: AnyStore) -> None:
    store.machines.insert(a_machine(name="web", tenant="acme"))
    machine_id = stranger(store, name="web")
    with pytest.raises(NameTaken, match="web"):
        store.machines.record_adopted(machine_id, "acme", Mark(machine_id, "op-1"))
    assert not store.machines.get(machine_id, None).managed


def test_machines_are_listed_in_order_of_id_and_filtered(store: AnyStore) -> None:
    web = an_active_machine(name="web-1", observed_power=Power.ON)
    db = an_active_machine(name="db-1", observed_power=Power.OFF, datacenter_id="dc-2")
    theirs = an_active_machine(name="web-2", tenant="globex")
    found = an_active_machine(name="web.3", tenant=None, mark=None)
    deleted = a_machine(name="web-4", state=MachineState.DELETED)
    for machine in (deleted, found, theirs, db, web):
        store.machines.insert(machine)

    def ids(**properties: object) -> list[str]:
        wanted = MachineFilter(**{"tenant": None, **properties})  # type: ignore[arg-type]
        return [each.id for each in store.machines.page(wanted, PageRequest()).items]

    assert ids() == [web.id, db.id, theirs.id, found.id]
    assert ids(include_deleted=True) == [web.id, db.id, theirs.id, found.id, deleted.id]
    assert ids(state=MachineState.DELETED) == [deleted.id]
    assert ids(tenant="acme") == [web.id, db.id]
    assert ids(datacenter_id="dc-2") == [db.id]
    assert ids(power=Power.OFF) == [db.id]
    assert ids(name="web-1") == [web.id]
    assert ids(name_prefix="web") == [web.id, theirs.id, found.id]
    assert ids(name_prefix="web.") == [found.id]
    assert ids(name_prefix="eb") == []
    assert ids(name="db-1", name_prefix="web") == []
    assert ids(managed=True) == [web.id, db.id, theirs.id]
    assert ids(managed=False) == [found.id]
    assert ids(managed=True, tenant="globex") == [theirs.id]


def test_a_tenant_that_asks_for_strangers_machines_sees_none(store: AnyStore) -> None:
    stranger(store)
    wanted = MachineFilter(tenant="acme", managed=False)
    assert store.machines.page(wanted, PageRequest()).items == []


def test_a_listing_does_not_change_what_was_asked_for(store: AnyStore, clock: SettableClock) -> None:
    machine = an_active_machine()
    store.machines.insert(machine)
    seen = an_observation(machine, name="renamed", size=Size(cpus=8, memory_mib=16384))
    store.machines.observe("dc-1", [seen], clock.advance(1))
    after = store.machines.get(machine.id, None)
    assert (after.name, after.spec.size, after.observed_size) == (machine.name, SMALL, seen.size)


def lifetime(hours: float, phase: Phase = Phase.RUNNING) -> Lifetime:
    return Lifetime(NOW + timedelta(hours=hours + 1), NOW + timedelta(hours=hours), phase)


def test_lifetimes_that_are_due_are_found_the_longest_overdue_first(store: AnyStore) -> None:
    for hours in (-1, -3, -2, 5):
        store.machines.insert(an_active_machine(name=f"web{hours}", lifetime=lifetime(hours)))
    store.machines.insert(an_active_machine(name="kept"))
    assert [each.name for each in store.machines.lifetimes_due(NOW, 10)] == ["web-3", "web-2", "web-1"]
    assert [each.name for each in store.machines.lifetimes_due(NOW, 2)] == ["web-3", "web-2"]


@pytest.mark.parametrize("known", [None, lifetime(1)])
def test_a_lifetime_is_changed_by_whoever_knows_it(store: AnyStore, known: Lifetime | None) -> None:
    machine = an_active_machine(lifetime=known)
    store.machines.insert(machine)
    assert store.machines.change_lifetime(machine.id, known, lifetime(2, Phase.WARNED))
    assert not store.machines.change_lifetime(machine.id, known, lifetime(3))
    assert store.machines.get(machine.id, None) == replace(machine, lifetime=lifetime(2, Phase.WARNED))
    assert store.machines.change_lifetime(machine.id, lifetime(2, Phase.WARNED), None)
    assert store.machines.get(machine.id, None).lifetime is None


def test_a_machine_that_has_ended_has_no_lifetime_to_follow_or_change(store: AnyStore) -> None:
    deleted, failed = an_active_machine(lifetime=lifetime(-1)), a_machine(lifetime=lifetime(-1))
    for each in (deleted, failed):
        store.machines.insert(each)
    store.machines.record_deleted(deleted.id)
    store.machines.record_failed(failed.id, "no room")
    assert list(store.machines.lifetimes_due(NOW, 10)) == []
    assert not store.machines.change_lifetime(deleted.id, lifetime(-1), None)


def test_machines_are_listed_by_when_they_expire(store: AnyStore) -> None:
    for hours in (1, 5):
        store.machines.insert(an_active_machine(name=f"web-{hours}", lifetime=lifetime(hours)))
    store.machines.insert(an_active_machine(name="kept"))
    wanted = MachineFilter(tenant="acme", expires_before=NOW + timedelta(hours=4))
    assert [each.name for each in store.machines.page(wanted, PageRequest()).items] == ["web-1"]


def test_many_machines_are_found_at_once_whoever_owns_them(store: AnyStore) -> None:
    machines = [a_machine(tenant=tenant) for tenant in ("acme", "globex", "acme")]
    for each in machines:
        store.machines.insert(each)
    wanted = [machines[2].id, "vm-none", machines[1].id]
    assert [each.id for each in store.machines.get_all(wanted)] == sorted([machines[1].id, machines[2].id])
    assert list(store.machines.get_all([])) == []
