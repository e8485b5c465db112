"""Which host and datastore a machine gets, and what no choice ever does."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.domain.placement.capacities import SPEC, a_capacity, a_host, an_ask, capacities, sizes, snapshots
from vai_app.domain.capacity import DatacenterCapacity, Room
from vai_app.domain.datacenters import HostState, PlacementSettings, PlacementStrategy
from vai_app.domain.placement.arrays import CapacityArrays
from vai_app.domain.placement.asks import Affinity, PlacementAsk, Scope, Spot
from vai_app.domain.placement.checks import CheckName, judge_datacenter, location_of
from vai_app.domain.placement.choice import Chooser, allowed_rows, best_alternative
from vai_app.domain.reservations import total_of
from vai_app.domain.virtual_machines import Location, MachineSpec, Size


def chosen(capacity: DatacenterCapacity, ask: PlacementAsk, most: int = 3) -> list[str | None]:
    arrays = CapacityArrays([capacity])
    rows = Chooser(arrays, ask.tenant).choose(ask.room, ask.seed, among=allowed_rows(arrays, 0, ask), most=most)
    return [host.host.ref if host else None for host in (arrays.hosts[row] for row in rows)]


def test_the_datastore_with_most_room_is_chosen() -> None:
    capacity = a_capacity(a_host(1))
    assert location_of(capacity, capacity.hosts[0], an_ask()).datastore == "ds-large"


def test_a_host_gets_a_datastore_that_it_reaches() -> None:
    capacity = a_capacity(a_host(1, datastores=("ds-small",)), stores={"small": 30, "large": 900})
    assert location_of(capacity, capacity.hosts[0], an_ask()).datastore == "ds-small"


def test_a_full_host_is_never_chosen() -> None:
    capacity = a_capacity(a_host(1, free_mib=500), a_host(2))
    assert {chosen(capacity, an_ask(seed=f"op-{n}"))[0] for n in range(50)} == {"host-2"}


def test_a_machine_gets_no_more_cpus_than_a_host_has_however_many_it_may_give() -> None:
    spec = replace(SPEC, size=Size(cpus=17, memory_mib=1024))
    assert chosen(a_capacity(a_host(1)), an_ask(spec)) == []


def test_a_host_asked_for_by_name_is_taken() -> None:
    ask = an_ask(replace(SPEC, location=Location(host="esx2")))
    assert chosen(a_capacity(a_host(1), a_host(2)), ask) == ["host-2"]


def test_a_cluster_can_be_asked_for_by_name() -> None:
    capacity = a_capacity(a_host(1), a_host(2, cluster="cluster-2"))
    assert chosen(capacity, an_ask(replace(SPEC, location=Location(cluster="gold")))) == ["host-1"]


def test_a_location_counts_only_in_the_datacenter_that_was_asked_for() -> None:
    spec = replace(SPEC, location=Location(host="esx9"))
    assert chosen(a_capacity(a_host(1), id="dc-2"), an_ask(spec)) == ["host-1"]


def test_one_request_asked_twice_gets_one_answer() -> None:
    capacity = a_capacity(*(a_host(n) for n in range(8)))
    assert chosen(capacity, an_ask(seed="op-7")) == chosen(capacity, an_ask(seed="op-7"))


def test_many_requests_spread_by_free_memory() -> None:
    capacity = a_capacity(a_host(1), a_host(2), a_host(3, free_mib=32768))
    counted = Counter(chosen(capacity, an_ask(seed=f"op-{n}"), most=1)[0] for n in range(5000))
    assert counted["host-3"] / 5000 == pytest.approx(0.2, abs=0.03)
    assert counted["host-1"] / 5000 == pytest.approx(0.4, abs=0.03)


def test_packing_takes_the_host_that_is_fullest() -> None:
    settings = PlacementSettings(strategy=PlacementStrategy.PACK)
    capacity = a_capacity(a_host(1), a_host(2, free_mib=8192, free_cpus=8), a_host(3), placement=settings)
    assert chosen(capacity, an_ask())[0] == "host-2"


def test_saving_power_wakes_an_empty_host_only_when_no_other_will_do() -> None:
    settings = PlacementSettings(strategy=PlacementStrategy.POWER)
    busy = a_host(2, free_mib=60000, free_cpus=10)
    small = replace(a_host(1), allocatable=Room(cpus=2, memory_mib=4096))
    capacity = a_capacity(small, busy, a_host(3), placement=settings)
    assert chosen(capacity, an_ask(), most=1) == ["host-2"]
    larger = an_ask(replace(SPEC, size=Size(cpus=12, memory_mib=4096)))
    assert chosen(capacity, larger, most=1) == ["host-3"]


def test_a_machine_is_kept_apart_from_another_and_together_with_a_third() -> None:
    capacity = a_capacity(a_host(1), a_host(2), a_host(3))
    apart = Affinity(apart_from=(Spot("dc-1", "host-1"),))
    assert set(chosen(capacity, an_ask(affinity=apart))) == {"host-2", "host-3"}
    together = Affinity(together_with=(Spot("dc-1", "host-3"),))
    assert chosen(capacity, an_ask(affinity=together)) == ["host-3"]
    elsewhere = Affinity(apart_from=(Spot("dc-1", "host-9"),), scope=Scope.DATACENTER)
    assert chosen(capacity, an_ask(affinity=elsewhere)) == []


def test_a_datacenter_without_hosts_leaves_the_choice_to_its_hypervisor() -> None:
    assert chosen(a_capacity(stores={}), an_ask()) == [None]


def test_between_datacenters_the_tenants_preference_then_cost_and_latency_decide() -> None:
    settings = [
        PlacementSettings(cost=1.0),
        PlacementSettings(cost=1.0, preferred_by=("acme",)),
        PlacementSettings(latency_ms=50.0),
    ]
    arrays = CapacityArrays(
        [a_capacity(a_host(1), id=f"dc-{n}", name=f"dc-{n}", placement=each) for n, each in enumerate(settings)]
    )
    room = an_ask().room
    assert best_alternative(arrays, room, "acme", [0, 1, 2]) == 1
    assert best_alternative(arrays, room, "other", [0, 1, 2]) == 2
    assert [Chooser(arrays, "acme").choose(room, f"op-{n}") for n in range(20)] == [[1]] * 20


@given(snapshot=snapshots(), size=sizes, seed=st.text(max_size=8))
def test_columns_decide_as_the_checks_do(snapshot: list[DatacenterCapacity], size: Size, seed: str) -> None:
    ask = an_ask(MachineSpec(name="web", size=size), seed=seed)
    arrays = CapacityArrays(snapshot)
    mask = arrays.fitting(ask.room)
    for index, capacity in enumerate(snapshot):
        verdict = judge_datacenter(capacity, ask)
        refused = {check.name for check in verdict.checks if not check.passed}
        rows = mask[arrays.slices[index]]
        if not capacity.hosts:
            assert rows.tolist() == [not {CheckName.DISK, CheckName.QUOTA} & refused]
            continue
        has_room = not {CheckName.FAILOVER, CheckName.QUOTA} & refused
        assert rows.tolist() == [host.fits and has_room for host in verdict.hosts]


@given(snapshot=snapshots(), size=sizes, seed=st.text(max_size=8))
def test_every_candidate_has_room_and_one_is_found_where_one_is(
    snapshot: list[DatacenterCapacity], size: Size, seed: str
) -> None:
    ask = an_ask(MachineSpec(name="web", size=size), seed=seed)
    for capacity in snapshot:
        arrays = CapacityArrays([capacity])
        rows = Chooser(arrays, "acme").choose(ask.room, seed, most=3)
        fitting = set(arrays.fitting(ask.room).nonzero()[0].tolist())
        assert set(rows) <= fitting
        assert len(rows) == len(set(rows)) == min(3, len(fitting))
        for host in (arrays.hosts[row] for row in rows):
            if host is not None:
                assert host.free.holds(Room(size.cpus, size.memory_mib))
                assert host.host.state is HostState.UP


@given(capacity=capacities(), asked=st.lists(sizes, min_size=1, max_size=12), seed=st.text(max_size=8))
def test_columns_stay_true_while_machines_are_placed(
    capacity: DatacenterCapacity, asked: list[Size], seed: str
) -> None:
    """Placing into columns equals building them anew from the capacity with the machines counted in."""
    arrays = CapacityArrays([capacity])
    chooser = Chooser(arrays, "acme")
    for size in asked:
        room = Room(size.cpus, size.memory_mib, size.disk_gib)
        for row in chooser.choose(room, seed):
            host = arrays.hosts[row]
            store = location_of(capacity, host, an_ask(MachineSpec("web", size))).datastore
            arrays.take(row, room)
            capacity = _with(capacity, row if host is not None else None, store, room)
    again = CapacityArrays([capacity])
    for column in ("cpus", "memory_mib", "disk_gib"):
        assert getattr(arrays, column).tolist() == getattr(again, column).tolist()


@given(capacity=capacities(), asked=st.lists(sizes, max_size=12), seed=st.text(max_size=8))
def test_whichever_hosts_fail_the_others_hold_what_was_placed_when_room_is_kept_for_that_many(
    capacity: DatacenterCapacity, asked: list[Size], seed: str
) -> None:
    count = capacity.datacenter.placement.failover_hosts
    up = [host for host in capacity.hosts if host.host.state is HostState.UP]
    arrays = CapacityArrays([capacity])
    placed = 0
    for size in asked:
        room = Room(size.cpus, size.memory_mib, size.disk_gib)
        for row in Chooser(arrays, "acme").choose(room, seed):
            arrays.take(row, room)
            capacity = _with(capacity, row if arrays.hosts[row] is not None else None, None, room)
            placed += 1
    if not placed or not up or not count:
        return
    taken = sum((host.used + host.reserved for host in capacity.hosts), Room())
    for failed in _subsets(len(up), count):
        left = sum((host.allocatable for number, host in enumerate(up) if number not in failed), Room())
        assert left.cpus >= taken.cpus
        assert left.memory_mib >= taken.memory_mib


def _subsets(total: int, size: int) -> list[set[int]]:
    if size == 1:
        return [{number} for number in range(total)]
    return [{one, other} for one in range(total) for other in range(total)]


def _with(capacity: DatacenterCapacity, row: int | None, store: str | None, room: Room) -> DatacenterCapacity:
    hosts = list(capacity.hosts)
    if row is not None:
        hosts[row] = replace(hosts[row], reserved=hosts[row].reserved + Room(room.cpus, room.memory_mib))
    stores = tuple(
        replace(each, reserved_gib=each.reserved_gib + room.disk_gib) if each.datastore.ref == store else each
        for each in capacity.datastores
    )
    counted = total_of(room)
    quota = tuple(replace(each, reserved=each.reserved + counted[each.dimension]) for each in capacity.quota)
    return replace(capacity, hosts=tuple(hosts), datastores=stores, quota=quota)
