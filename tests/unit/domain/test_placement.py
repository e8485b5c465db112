"""Which host and datastore a machine gets inside its datacenter."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vai_app.domain.datacenters import Cluster, Datastore, Host, HostState, Inventory
from vai_app.domain.errors import CapacityShort, HostUnavailable, NotFound
from vai_app.domain.placement import choose_locations
from vai_app.domain.virtual_machines import Location, MachineSpec, Power, Size


def a_host(number: int, *, used_memory_mib: int = 0, state: HostState = HostState.UP) -> Host:
    return Host(
        ref=f"host-{number}",
        name=f"esx{number}",
        cluster="cluster-1",
        state=state,
        power=Power.ON,
        cpus=16,
        memory_mib=65536,
        used_memory_mib=used_memory_mib,
    )


def an_inventory(*hosts: Host) -> Inventory:
    return Inventory(
        clusters=(Cluster("cluster-1", "gold"),),
        hosts=hosts,
        datastores=(Datastore("ds-1", "small", 100, 10), Datastore("ds-2", "large", 1000, 900)),
    )


SPEC = MachineSpec(name="web", size=Size(cpus=2, memory_mib=4096, disk_gib=20))


def test_the_datastore_with_most_room_is_chosen() -> None:
    assert choose_locations(an_inventory(a_host(1)), SPEC, "op-1")[0].datastore == "ds-2"


def test_a_full_host_is_never_chosen() -> None:
    inventory = an_inventory(a_host(1, used_memory_mib=65000), a_host(2))
    hosts = {choose_locations(inventory, SPEC, f"op-{n}")[0].host for n in range(50)}
    assert hosts == {"host-2"}


def test_a_host_asked_for_by_name_is_taken() -> None:
    spec = replace(SPEC, location=Location(host="esx2"))
    assert choose_locations(an_inventory(a_host(1), a_host(2)), spec, "op-1")[0].host == "host-2"


def test_an_unknown_host_is_named_in_the_refusal() -> None:
    with pytest.raises(NotFound, match="esx9"):
        choose_locations(an_inventory(a_host(1)), replace(SPEC, location=Location(host="esx9")), "op-1")


def test_a_cluster_can_be_asked_for_by_name() -> None:
    inventory = an_inventory(a_host(1), replace(a_host(2), cluster="cluster-2"))
    spec = replace(SPEC, location=Location(cluster="gold"))
    assert [place.host for place in choose_locations(inventory, spec, "op-1")] == ["host-1"]


def test_hosts_that_are_all_down_are_no_shortage_of_capacity() -> None:
    with pytest.raises(HostUnavailable, match="maintenance"):
        choose_locations(an_inventory(a_host(1, state=HostState.MAINTENANCE)), SPEC, "op-1")


def test_a_refusal_gives_the_numbers() -> None:
    with pytest.raises(CapacityShort, match="4096 MiB asked, 536 MiB free"):
        choose_locations(an_inventory(a_host(1, used_memory_mib=65000)), SPEC, "op-1")


def test_one_request_asked_twice_gets_one_answer() -> None:
    inventory = an_inventory(*(a_host(n) for n in range(8)))
    assert choose_locations(inventory, SPEC, "op-7") == choose_locations(inventory, SPEC, "op-7")


def test_many_requests_spread_by_free_memory() -> None:
    inventory = an_inventory(a_host(1), a_host(2), a_host(3, used_memory_mib=32768))
    chosen = Counter(choose_locations(inventory, SPEC, f"op-{n}")[0].host for n in range(5000))
    assert chosen["host-3"] / 5000 == pytest.approx(0.2, abs=0.03)
    assert chosen["host-1"] / 5000 == pytest.approx(0.4, abs=0.03)


def test_a_datacenter_without_hosts_leaves_the_choice_to_its_hypervisor() -> None:
    assert choose_locations(Inventory(), SPEC, "op-1") == [Location()]


@given(used=st.lists(st.integers(min_value=0, max_value=65536), min_size=1, max_size=12), seed=st.text(max_size=8))
def test_every_candidate_has_room(used: list[int], seed: str) -> None:
    inventory = an_inventory(*(a_host(n, used_memory_mib=mib) for n, mib in enumerate(used)))
    fitting = {f"host-{n}" for n, mib in enumerate(used) if 65536 - mib >= SPEC.size.memory_mib}
    try:
        places = choose_locations(inventory, SPEC, seed)
    except CapacityShort:
        assert not fitting
    else:
        assert {place.host for place in places} <= fitting
        assert len(places) == min(3, len(fitting))
