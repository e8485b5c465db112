"""What both machine repositories make of one complete listing of a datacenter."""

from dataclasses import replace
from datetime import timedelta

import pytest

from tests.builders import SMALL, a_machine, an_active_machine, an_observation
from tests.fakes import FakeStore, SettableClock
from vai_app.domain.errors import NotFound
from vai_app.domain.ports.machines import Changes, MachineFilter
from vai_app.domain.ports.paging import PageRequest
from vai_app.domain.virtual_machines import MachineObservation, MachineState, Mark, Power, Size, VirtualMachine
from vai_app.store import Store

AnyStore = Store | FakeStore
UNKNOWN_MARK = Mark("vm-of-another-vai", "op-of-another-vai")


def stored(store: AnyStore, machine: VirtualMachine) -> VirtualMachine:
    store.machines.insert(machine)
    return machine


def list_now(store: AnyStore, clock: SettableClock, *seen: MachineObservation) -> Changes:
    """Record a listing that begins a second after everything so far."""
    return store.machines.observe("dc-1", seen, clock.advance(1))


def all_machines(store: AnyStore) -> list[VirtualMachine]:
    wanted = MachineFilter(tenant=None, include_deleted=True)
    return list(store.machines.page(wanted, PageRequest(size=500)).items)


def test_an_unchanged_machine_changes_nothing(store: AnyStore, clock: SettableClock) -> None:
    machine = stored(store, an_active_machine())
    assert list_now(store, clock, an_observation(machine)) == Changes(seen=1)
    assert all_machines(store) == [machine]


def test_what_the_hypervisor_shows_is_recorded(store: AnyStore, clock: SettableClock) -> None:
    machine = stored(store, an_active_machine())
    seen = an_observation(machine, power=Power.OFF, host="host-2", networks=("lan",), addresses=("10.0.0.1", "fe80::1"))
    assert list_now(store, clock, seen) == Changes(seen=1)
    shown = replace(
        machine,
        observed_power=Power.OFF,
        observed_host="host-2",
        networks=("lan",),
        addresses=("10.0.0.1", "fe80::1"),
        observed_at=clock.now,
    )
    assert all_machines(store) == [shown]


def test_a_difference_from_the_record_is_drift_and_told_once(store: AnyStore, clock: SettableClock) -> None:
    machine = stored(store, an_active_machine())
    seen = an_observation(machine, size=replace(SMALL, cpus=8))
    assert list_now(store, clock, seen).drifted == (machine.id,)
    assert store.machines.get(machine.id, None).drift == ("cpus is 8, recorded 2",)
    assert list_now(store, clock, seen) == Changes(seen=1)
    assert list_now(store, clock, an_observation(machine)) == Changes(seen=1)
    assert store.machines.get(machine.id, None).drift == ()


def test_a_stranger_appears_changes_and_goes_without_a_trace(store: AnyStore, clock: SettableClock) -> None:
    seen = an_observation(name="theirs", host="host-1", addresses=("10.0.0.9",))
    changes = list_now(store, clock, seen)
    assert len(changes.appeared) == 1
    machine = store.machines.get(changes.appeared[0], None)
    assert (machine.name, machine.tenant, machine.state) == ("theirs", None, MachineState.ACTIVE)
    assert (machine.provider_ref, machine.observed_power, machine.observed_size) == (seen.ref, seen.power, seen.size)
    assert machine.problem is None
    larger = replace(seen, name="renamed", size=Size(cpus=16, memory_mib=4096))
    assert list_now(store, clock, larger) == Changes(seen=1)
    renamed = store.machines.get(machine.id, None)
    assert (renamed.name, renamed.observed_size, renamed.drift) == ("renamed", larger.size, ())
    assert list_now(store, clock) == Changes(gone_strangers=(machine.id,))
    with pytest.raises(NotFound):
        store.machines.get(machine.id, None)


def test_our_machine_that_is_not_shown_is_missing_and_can_return(store: AnyStore, clock: SettableClock) -> None:
    machine = stored(store, an_active_machine())
    assert list_now(store, clock) == Changes(missing=(machine.id,))
    missing = store.machines.get(machine.id, None)
    assert (missing.state, missing.observed_power) == (MachineState.MISSING, Power.UNKNOWN)
    assert missing.problem is not None
    assert list_now(store, clock) == Changes()
    assert list_now(store, clock, an_observation(machine)) == Changes(seen=1, returned=(machine.id,))
    back = store.machines.get(machine.id, None)
    assert replace(back, observed_at=None) == replace(machine, observed_at=None)


def test_what_a_listing_changes_is_told_before_it_is_written_and_again_when_the_telling_failed(
    store: AnyStore, clock: SettableClock
) -> None:
    machine, changed = stored(store, an_active_machine()), stored(store, an_active_machine(name="web-2"))
    seen = [an_observation(), an_observation(changed, size=replace(SMALL, cpus=8))]

    def cannot_tell(changes: Changes) -> None:
        assert (changes.missing, changes.drifted) == ((machine.id,), (changed.id,))
        raise ConnectionResetError

    for _ in range(2):
        with pytest.raises(ConnectionResetError):
            store.machines.observe("dc-1", seen, clock.advance(1), cannot_tell)
        assert all_machines(store) == [machine, changed]
    told: list[Changes] = []
    changes = store.machines.observe("dc-1", seen, clock.advance(1), told.append)
    assert told == [changes]
    assert store.machines.get(machine.id, None).state is MachineState.MISSING
    assert len(all_machines(store)) == 3


def test_a_listing_of_one_datacenter_touches_no_other(store: AnyStore, clock: SettableClock) -> None:
    machine = stored(store, an_active_machine(datacenter_id="dc-2"))
    assert list_now(store, clock) == Changes()
    assert all_machines(store) == [machine]


def test_a_machine_that_is_only_asked_for_is_left_to_its_operation(store: AnyStore, clock: SettableClock) -> None:
    machine = stored(store, a_machine())
    assert list_now(store, clock) == Changes()
    seen = an_observation(machine, power=Power.ON, mark=Mark(machine.id, "op-1"))
    assert list_now(store, clock, seen) == Changes(seen=1)
    assert all_machines(store) == [machine]


def test_a_listing_that_began_before_a_machine_was_recorded_does_not_miss_it(
    store: AnyStore, clock: SettableClock
) -> None:
    began = clock.now
    clock.advance(0.0004)
    machine = stored(store, a_machine())
    store.machines.record_active(machine.id, "ref-1", Mark(machine.id, "op-1"))
    clock.advance(1)
    assert store.machines.observe("dc-1", [], began) == Changes()
    assert store.machines.get(machine.id, None).state is MachineState.ACTIVE


def test_a_listing_that_began_before_the_power_changed_does_not_turn_it_back(
    store: AnyStore, clock: SettableClock
) -> None:
    machine = stored(store, an_active_machine(observed_power=Power.OFF))
    began = clock.advance(1)
    clock.advance(0.0003)
    store.machines.record_power(machine.id, Power.ON)
    stale = an_observation(machine, power=Power.OFF)
    assert store.machines.observe("dc-1", [stale], began) == Changes(seen=1)
    assert store.machines.get(machine.id, None).observed_power is Power.ON


def test_a_machine_with_our_mark_whose_creation_failed_is_an_orphan(store: AnyStore, clock: SettableClock) -> None:
    machine = stored(store, a_machine())
    store.machines.record_failed(machine.id, "gave up")
    orphan = an_observation(machine, mark=Mark(machine.id, "op-1"))
    assert list_now(store, clock, orphan) == Changes(seen=1, orphans=(orphan,))
    assert [each.state for each in all_machines(store)] == [MachineState.FAILED]


def test_a_deleted_machine_that_is_still_shown_is_an_orphan(store: AnyStore, clock: SettableClock) -> None:
    machine = stored(store, an_active_machine())
    seen = an_observation(machine)
    store.machines.record_deleted(machine.id)
    assert list_now(store, clock, seen).orphans == (seen,)


def test_a_listing_that_began_before_a_deletion_makes_no_orphan(store: AnyStore, clock: SettableClock) -> None:
    machine = stored(store, an_active_machine())
    began = clock.advance(1)
    clock.advance(1)
    store.machines.record_deleted(machine.id)
    assert store.machines.observe("dc-1", [an_observation(machine)], began) == Changes(seen=1)


def test_a_mark_without_a_record_makes_a_stranger_with_a_note(store: AnyStore, clock: SettableClock) -> None:
    changes = list_now(store, clock, an_observation(mark=UNKNOWN_MARK))
    assert (len(changes.appeared), changes.orphans) == (1, ())
    machine = store.machines.get(changes.appeared[0], None)
    assert not machine.managed
    assert machine.problem is not None
    assert "mark" in machine.problem


def test_a_copy_of_our_machine_is_a_stranger_although_it_bears_the_mark(store: AnyStore, clock: SettableClock) -> None:
    machine = stored(store, an_active_machine())
    original, copy = an_observation(machine), an_observation(machine, ref="ref-copy", name="copy")
    changes = list_now(store, clock, copy, original)
    assert len(changes.appeared) == 1
    assert changes == Changes(seen=2, appeared=changes.appeared)
    assert store.machines.get(machine.id, None) == machine
    assert not store.machines.get(changes.appeared[0], None).managed


def test_a_copy_stays_a_stranger_when_the_original_goes(store: AnyStore, clock: SettableClock) -> None:
    machine = stored(store, an_active_machine())
    original, copy = an_observation(machine), an_observation(machine, ref="ref-copy", name="copy")
    (copy_id,) = list_now(store, clock, original, copy).appeared
    assert list_now(store, clock, copy) == Changes(seen=1, missing=(machine.id,))
    store.machines.record_deleted(machine.id)
    assert list_now(store, clock, copy) == Changes(seen=1)
    assert not store.machines.get(copy_id, None).managed


def test_a_copy_of_a_deleted_machine_is_no_orphan(store: AnyStore, clock: SettableClock) -> None:
    machine = stored(store, an_active_machine())
    store.machines.record_deleted(machine.id)
    changes = list_now(store, clock, an_observation(machine, ref="ref-copy"))
    assert (len(changes.appeared), changes.orphans) == (1, ())


def test_a_mark_of_a_machine_in_another_datacenter_is_a_strangers(store: AnyStore, clock: SettableClock) -> None:
    machine = stored(store, an_active_machine(datacenter_id="dc-2"))
    changes = list_now(store, clock, an_observation(machine, ref="ref-here"))
    assert len(changes.appeared) == 1
    assert store.machines.get(machine.id, None) == machine


def test_our_machine_is_known_by_its_mark_when_the_provider_renames_its_reference(
    store: AnyStore, clock: SettableClock
) -> None:
    machine = stored(store, an_active_machine())
    assert list_now(store, clock, an_observation(machine, ref="ref-new")) == Changes(seen=1)
    assert store.machines.get(machine.id, None).provider_ref == "ref-new"
    assert list_now(store, clock) == Changes(missing=(machine.id,))
    returned = list_now(store, clock, an_observation(machine, ref="ref-newer"))
    assert returned == Changes(seen=1, returned=(machine.id,))


def test_a_reference_that_another_mark_bears_is_no_longer_our_machines(store: AnyStore, clock: SettableClock) -> None:
    machine = stored(store, an_active_machine())
    usurper = an_observation(machine, mark=UNKNOWN_MARK, name="usurper")
    list_now(store, clock, usurper)
    list_now(store, clock, usurper)
    lost = store.machines.get(machine.id, None)
    assert (lost.state, lost.provider_ref) == (MachineState.MISSING, None)
    strangers = [each for each in all_machines(store) if not each.managed]
    assert [(each.name, each.provider_ref) for each in strangers] == [("usurper", machine.provider_ref)]


def test_a_machine_whose_mark_was_removed_is_still_known_by_its_reference(
    store: AnyStore, clock: SettableClock
) -> None:
    machine = stored(store, an_active_machine())
    assert list_now(store, clock, an_observation(machine, mark=None)) == Changes(seen=1)
    assert store.machines.get(machine.id, None) == machine


def test_an_adopted_machine_is_ours_in_the_next_listing(store: AnyStore, clock: SettableClock) -> None:
    seen = an_observation(name="theirs")
    (machine_id,) = list_now(store, clock, seen).appeared
    store.machines.record_adopted(machine_id, "acme", Mark(machine_id, "op-1"))
    clock.advance(1)
    marked = replace(seen, mark=Mark(machine_id, "op-1"))
    assert list_now(store, clock, marked) == Changes(seen=1)
    assert list_now(store, clock).missing == (machine_id,)
    assert store.machines.get(machine_id, None).state is MachineState.MISSING


def test_a_listing_may_be_any_iterable(store: AnyStore, clock: SettableClock) -> None:
    started_at = clock.advance(1)
    changes = store.machines.observe("dc-1", iter([an_observation(), an_observation()]), started_at)
    assert len(changes.appeared) == 2


def test_two_listings_that_began_together_agree(store: AnyStore, clock: SettableClock) -> None:
    seen = [an_observation() for _ in range(3)]
    began = clock.advance(1)
    assert len(store.machines.observe("dc-1", seen, began).appeared) == 3
    clock.advance(1)
    assert store.machines.observe("dc-1", seen, began + timedelta(milliseconds=1)) == Changes(seen=3)
