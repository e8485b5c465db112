"""Which host a machine moves to, and what no move ever does."""

from dataclasses import replace
from itertools import product

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.unit.domain.placement.capacities import a_capacity, a_host, capacities, sizes
from vai_app.domain.capacity import DatacenterCapacity, Room
from vai_app.domain.datacenters import HostState, PlacementSettings
from vai_app.domain.errors import CapacityShort
from vai_app.domain.placement.moves import target_of_move
from vai_app.domain.virtual_machines import MachineObservation, Power, Size

SMALL = Size(cpus=2, memory_mib=4096)


def a_machine(host: str, size: Size = SMALL) -> MachineObservation:
    return MachineObservation("vm-1", "web", Power.ON, size, host=host)


def held_at(capacity: DatacenterCapacity, ref: str, size: Size) -> DatacenterCapacity:
    """Return the capacity with a machine of that size at a host."""
    room = Room(size.cpus, size.memory_mib)
    hosts = tuple(
        replace(each, reserved=each.reserved + room) if each.host.ref == ref else each for each in capacity.hosts
    )
    return replace(capacity, hosts=hosts)


@given(capacity=capacities(), number=st.integers(0, 6), size=sizes, seed=st.text(max_size=8))
def test_the_chosen_host_has_room_and_whichever_hosts_fail_the_others_hold_what_runs(
    capacity: DatacenterCapacity, number: int, size: Size, seed: str
) -> None:
    assume(number < len(capacity.hosts) and capacity.hosts[number].host.state is HostState.UP)
    source = capacity.hosts[number].host
    before = held_at(capacity, source.ref, size)
    try:
        target = target_of_move(before, a_machine(source.ref, size), None, is_source_off=False, seed=seed)
    except CapacityShort:
        return
    assert (target.state, target.cluster) == (HostState.UP, source.cluster)
    assert target != source
    assert set(source.datastores) <= set(target.datastores)
    (found,) = (each for each in before.hosts if each.host == target)
    assert found.free.holds(Room(size.cpus, size.memory_mib))
    count = capacity.datacenter.placement.failover_hosts
    after = held_at(capacity, target.ref, size)
    taken = sum((each.used + each.reserved for each in after.hosts), Room())
    up = [each for each in after.hosts if each.host.state is HostState.UP]
    for failed in product(range(len(up)), repeat=count) if count else ():
        left = sum((each.allocatable for place, each in enumerate(up) if place not in failed), Room())
        assert left.cpus >= taken.cpus
        assert left.memory_mib >= taken.memory_mib


def test_a_move_does_not_count_the_machine_twice() -> None:
    """What it leaves at its own host counts for the reserve: else a datacenter at its limit could not be levelled."""
    hosts, half = (a_host(1), a_host(2, free_mib=32768)), Size(1, 32768)
    before = held_at(a_capacity(*hosts, placement=PlacementSettings(failover_hosts=1)), "host-1", half)
    moved = target_of_move(before, a_machine("host-1", half), None, is_source_off=False, seed="op-1")
    assert moved.ref == "host-2"


def test_where_no_other_host_may_have_it_a_move_is_refused_with_what_it_needs() -> None:
    settings = PlacementSettings(failover_hosts=1)
    for capacity in (
        a_capacity(a_host(1)),
        a_capacity(a_host(1), a_host(2, cluster="cluster-2")),
        a_capacity(a_host(1), a_host(2, state=HostState.DOWN)),
        a_capacity(a_host(1), a_host(2, free_mib=1024)),
        a_capacity(a_host(1, free_mib=-40000), a_host(2, free_mib=4096), placement=settings),
    ):
        with pytest.raises(CapacityShort, match="4096 MiB"):
            target_of_move(
                held_at(capacity, "host-1", SMALL), a_machine("host-1"), None, is_source_off=False, seed="op-1"
            )
