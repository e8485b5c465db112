"""Capacities for the tests of placement: given by hand, and drawn by hypothesis."""

from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from tests.builders import NOW, a_datacenter
from vai_app.domain.capacity import DatacenterCapacity, DatastoreCapacity, HostCapacity, QuotaCapacity, Room
from vai_app.domain.datacenters import (
    Cluster,
    Datastore,
    Host,
    HostState,
    Image,
    Inventory,
    Network,
    PlacementSettings,
    PlacementStrategy,
)
from vai_app.domain.placement.asks import PlacementAsk
from vai_app.domain.virtual_machines import MachineSpec, Power, Size

SPEC = MachineSpec(name="web", size=Size(cpus=2, memory_mib=4096, disk_gib=20))


def a_host(number: int, *, free_mib: int = 65536, free_cpus: int = 64, **properties: Any) -> HostCapacity:
    """Return a host of 16 CPUs (64 to give) and 64 GiB, of which so much is free."""
    host: dict[str, Any] = {
        "ref": f"host-{number}",
        "name": f"esx{number}",
        "cluster": "cluster-1",
        "state": HostState.UP,
        "power": Power.ON,
        "cpus": 16,
        "memory_mib": 65536,
    }
    return HostCapacity(
        Host(**(host | properties)),
        allocatable=Room(cpus=64, memory_mib=65536),
        used=Room(cpus=64 - free_cpus, memory_mib=65536 - free_mib),
    )


def a_capacity(*hosts: HostCapacity, stores: dict[str, int] | None = None, **properties: Any) -> DatacenterCapacity:
    """Return a datacenter with these hosts; ``stores`` are names and free GiB."""
    inventory = Inventory(
        clusters=(Cluster("cluster-1", "gold"),),
        hosts=tuple(each.host for each in hosts),
        images=(Image("image-1", "debian"),),
        networks=(Network("network-1", "lan"),),
    )
    stores = {"small": 10, "large": 900} if stores is None else stores
    return DatacenterCapacity(
        a_datacenter(**{"inventory": inventory, "observed_at": NOW, **properties}),
        hosts=hosts,
        datastores=tuple(
            DatastoreCapacity(Datastore(f"ds-{name}", name, 1000, free), 1000, used_gib=1000 - free)
            for name, free in stores.items()
        ),
    )


def an_ask(spec: MachineSpec = SPEC, **properties: Any) -> PlacementAsk:
    """Return a request for the datacenter ``dc-1``."""
    return PlacementAsk(**{"spec": spec, "tenant": "acme", "datacenter_id": "dc-1", "seed": "op-1", **properties})


sizes = st.builds(
    Size,
    cpus=st.integers(1, 20),
    memory_mib=st.sampled_from([64, 1024, 3000, 4096, 16384, 40000]),
    disk_gib=st.integers(0, 60),
)
_hosts = st.lists(
    st.tuples(
        st.integers(-2000, 65536),
        st.integers(-4, 64),
        st.sampled_from([HostState.UP, HostState.UP, HostState.UP, HostState.DOWN]),
        st.sets(st.sampled_from(["ds-small", "ds-large", "ds-elsewhere"])),
    ),
    min_size=0,
    max_size=7,
)


@st.composite
def capacities(draw: st.DrawFn, number: int = 1) -> DatacenterCapacity:
    """Draw a datacenter ``dc-<number>``: hosts in any state, datastores shared or local, failover reserve, quota."""
    hosts = [
        a_host(each, free_mib=mib, free_cpus=cpus, state=state, datastores=tuple(sorted(stores)))
        for each, (mib, cpus, state, stores) in enumerate(draw(_hosts))
    ]
    stores = draw(st.dictionaries(st.sampled_from(["small", "large"]), st.integers(-5, 100)))
    settings = PlacementSettings(
        strategy=draw(st.sampled_from(PlacementStrategy)), failover_hosts=draw(st.integers(0, 2))
    )
    name = f"dc-{number}"
    left = draw(st.dictionaries(st.sampled_from(["machines", "cpus", "memory_mib"]), st.integers(-1, 40), max_size=2))
    quota = tuple(QuotaCapacity(dimension, 100, 100 - free) for dimension, free in left.items())
    return replace(a_capacity(*hosts, stores=stores, id=name, name=name, placement=settings), quota=quota)


@st.composite
def snapshots(draw: st.DrawFn) -> list[DatacenterCapacity]:
    """Draw up to three datacenters."""
    return [draw(capacities(number)) for number in range(1, draw(st.integers(1, 3)) + 1)]
