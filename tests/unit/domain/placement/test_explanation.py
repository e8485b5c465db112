"""What a person is told: every check with its numbers, the reason of a refusal, the smallest change that would fit."""

from dataclasses import replace

from hypothesis import given

from tests.unit.domain.placement.capacities import SPEC, a_capacity, a_host, an_ask, capacities, sizes
from vai_app.domain.capacity import DatacenterCapacity
from vai_app.domain.datacenters import HostState, PlacementSettings, Reachability
from vai_app.domain.errors import (
    CapacityShort,
    Conflict,
    Forbidden,
    HostUnavailable,
    NotFound,
    QuotaExceeded,
    VaiError,
)
from vai_app.domain.placement.asks import PlacementAsk
from vai_app.domain.placement.checks import Check, CheckName, judge_datacenter
from vai_app.domain.placement.explanation import (
    MOST_DATACENTERS,
    MOST_HOSTS,
    account_of,
    explain,
    refusal,
    smallest_change,
)
from vai_app.domain.virtual_machines import Location, MachineSpec, Size


def refused(capacity: DatacenterCapacity, ask: PlacementAsk, *permissions: Check) -> VaiError:
    verdict = judge_datacenter(capacity, ask, permissions)
    assert not verdict.fits
    return refusal(verdict)


def large(memory_mib: int = 24576, cpus: int = 2, disk_gib: int = 20) -> MachineSpec:
    return MachineSpec(name="web", size=Size(cpus, memory_mib, disk_gib))


def test_a_refusal_gives_the_numbers_of_each_host() -> None:
    error = refused(a_capacity(a_host(1, free_mib=536), a_host(2, free_mib=100)), an_ask())
    assert isinstance(error, CapacityShort)
    assert "esx1: 4096 MiB asked, 536 MiB free; esx2: 4096 MiB asked, 100 MiB free" in error.detail


def test_hosts_that_are_all_down_are_no_shortage_of_capacity() -> None:
    error = refused(a_capacity(a_host(1, state=HostState.MAINTENANCE)), an_ask())
    assert isinstance(error, HostUnavailable)
    assert "maintenance" in error.detail


def test_an_unknown_host_is_no_shortage_of_capacity() -> None:
    error = refused(a_capacity(a_host(1)), an_ask(replace(SPEC, location=Location(host="esx9"))))
    assert isinstance(error, NotFound)


def test_a_missing_image_and_a_missing_network_are_named() -> None:
    for spec, missing in ((replace(SPEC, image="plan9"), "plan9"), (replace(SPEC, networks=("lan", "moon")), "moon")):
        error = refused(a_capacity(a_host(1)), an_ask(spec))
        assert isinstance(error, NotFound)
        assert missing in error.detail


def test_a_disabled_datacenter_is_a_conflict() -> None:
    assert isinstance(refused(a_capacity(a_host(1), enabled=False), an_ask()), Conflict)


def test_policy_and_quota_refuse_by_their_own_names_and_before_any_shortage() -> None:
    full = a_capacity(a_host(1, free_mib=0))
    policy = Check(CheckName.POLICY, passed=False, detail="policy 'testers': at most 4 CPUs a machine", asked=8, free=4)
    quota = Check(CheckName.QUOTA, passed=False, detail="10 of 10 machines are used", asked=1, free=0)
    forbidden = refused(full, an_ask(), policy, quota)
    assert isinstance(forbidden, Forbidden)
    assert "testers" in forbidden.detail
    assert isinstance(refused(full, an_ask(), quota), QuotaExceeded)


def test_an_unreachable_datacenter_does_not_fit() -> None:
    away = a_capacity(a_host(1), reachability=Reachability.UNREACHABLE, problem="connection refused")
    assert "connection refused" in refused(away, an_ask()).detail


def test_a_failover_reserve_refuses_what_would_leave_no_room_for_the_largest_hosts() -> None:
    keeps_one = PlacementSettings(failover_hosts=1)
    capacity = a_capacity(a_host(1), a_host(2, free_mib=8192), placement=keeps_one)
    assert judge_datacenter(capacity, an_ask(large(8192))).fits
    error = refused(capacity, an_ask(large(8193)))
    assert "1 hosts to fail" in error.detail


def test_the_smallest_change_is_the_nearest_size_below_that_fits() -> None:
    capacity = a_capacity(a_host(1, free_mib=9000), a_host(2, free_mib=17000), a_host(3, free_mib=4096))
    assert smallest_change(capacity, an_ask(large(24576))) == Size(2, 16384, 20)


def test_the_smallest_change_keeps_what_is_not_short() -> None:
    capacity = a_capacity(a_host(1), stores={"only": 30})
    assert smallest_change(capacity, an_ask(large(1024, disk_gib=50))) == Size(2, 1024, 30)


def test_no_smaller_size_helps_where_the_image_is_missing() -> None:
    assert smallest_change(a_capacity(a_host(1)), an_ask(replace(large(200_000), image="plan9"))) is None


@given(capacity=capacities(), size=sizes)
def test_what_is_proposed_instead_fits_and_asks_for_no_more(capacity: DatacenterCapacity, size: Size) -> None:
    ask = an_ask(MachineSpec(name="web", size=size))
    proposed = smallest_change(capacity, ask)
    if proposed is not None:
        assert not judge_datacenter(capacity, ask).fits
        assert judge_datacenter(capacity, replace(ask, spec=replace(ask.spec, size=proposed))).fits
        assert proposed.cpus <= size.cpus
        assert proposed.memory_mib <= size.memory_mib
        assert proposed.disk_gib <= size.disk_gib


def test_an_explanation_shows_what_was_asked_for_first_and_stays_small() -> None:
    many = [
        judge_datacenter(a_capacity(*(a_host(n) for n in range(50)), id=f"dc-{each}", name=f"n{each}"), an_ask())
        for each in range(40)
    ]
    shown = explain(an_ask(datacenter_id="dc-39"), [account_of(each) for each in many], alternative="dc-20")
    assert [each.datacenter_id for each in shown.datacenters[:2]] == ["dc-39", "dc-20"]
    assert (len(shown.datacenters), shown.datacenters_total) == (MOST_DATACENTERS, 40)
    assert (len(shown.datacenters[0].hosts), shown.datacenters[0].hosts_total) == (MOST_HOSTS, 50)
