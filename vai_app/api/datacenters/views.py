"""How datacenters are shown, what is in them, and what room they have."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from vai_app.api.views import Reference
from vai_app.domain.capacity import DatacenterCapacity, Room
from vai_app.domain.datacenters import Datacenter, Host, HostState, Image, PlacementSettings, Reachability
from vai_app.domain.statistics import StatisticsSettings
from vai_app.domain.virtual_machines import Power


@dataclass(slots=True)
class DatacenterView:
    """A datacenter, without its credentials."""

    id: str
    name: str
    kind: str
    endpoint: str
    enabled: bool
    verify_tls: bool
    call_timeout_seconds: float
    options: Mapping[str, Any]
    placement: PlacementSettings
    statistics: StatisticsSettings
    reachability: Reachability
    problem: str | None
    product: str | None
    revision: int
    created_at: datetime
    observed_at: datetime | None
    collected_at: datetime | None
    collection_problem: str | None


@dataclass(slots=True)
class HostView:
    """A host."""

    ref: str
    name: str
    datacenter: Reference
    cluster: str | None
    state: HostState
    power: Power
    cpus: int
    memory_mib: int
    used_cpus: int
    used_memory_mib: int


@dataclass(slots=True)
class ImageView:
    """An image or template."""

    ref: str
    name: str
    datacenter: Reference
    size_gib: int


@dataclass(slots=True)
class RoomView:
    """An amount of what machines take."""

    cpus: int
    memory_mib: int


@dataclass(slots=True)
class HostCapacityView:
    """What one host may give out, by its allocation ratios, and who has it.

    ``used`` is of machines that are not VAI's, ``reserved`` of those that VAI made, makes or adopted.
    """

    ref: str
    name: str
    state: HostState
    allocatable: RoomView
    used: RoomView
    reserved: RoomView
    free: RoomView


@dataclass(slots=True)
class DatastoreCapacityView:
    """What one datastore may be promised, in GiB, and to whom."""

    ref: str
    name: str
    allocatable_gib: int
    used_gib: int
    reserved_gib: int
    free_gib: int


@dataclass(slots=True)
class QuotaCapacityView:
    """One dimension of what the hypervisor lets VAI's account have in all, in MiB for memory."""

    dimension: str  # machines, cpus, memory_mib
    allocatable: int
    used: int
    reserved: int
    free: int


@dataclass(slots=True)
class CapacityView:
    """The sums over the hosts that are up, and over the accessible datastores; each by itself; and the quota."""

    hosts: int
    hosts_up: int
    cpus: int
    used_cpus: int
    memory_mib: int
    used_memory_mib: int
    disk_gib: int
    free_disk_gib: int
    by_host: Sequence[HostCapacityView]
    by_datastore: Sequence[DatastoreCapacityView]
    quota: Sequence[QuotaCapacityView]
    observed_at: datetime | None


@dataclass(slots=True)
class DatacenterList:
    """Every datacenter."""

    items: Sequence[DatacenterView]


@dataclass(slots=True)
class HostList:
    """Hosts."""

    items: Sequence[HostView]


@dataclass(slots=True)
class ImageList:
    """Images."""

    items: Sequence[ImageView]


def datacenter_view(datacenter: Datacenter) -> DatacenterView:
    """Return a datacenter as it is shown."""
    about = datacenter.about
    return DatacenterView(
        id=datacenter.id,
        name=datacenter.name,
        kind=datacenter.kind,
        endpoint=datacenter.endpoint,
        enabled=datacenter.enabled,
        verify_tls=datacenter.verify_tls,
        call_timeout_seconds=datacenter.call_timeout_seconds,
        options=datacenter.options,
        placement=datacenter.placement,
        statistics=datacenter.statistics,
        reachability=datacenter.reachability,
        problem=datacenter.problem,
        product=f"{about.product} {about.version}" if about else None,
        revision=datacenter.revision,
        created_at=datacenter.created_at,
        observed_at=datacenter.observed_at,
        collected_at=datacenter.collected_at,
        collection_problem=datacenter.collection_problem,
    )


def host_view(host: Host, datacenter: Reference) -> HostView:
    """Return a host as it is shown."""
    return HostView(
        ref=host.ref,
        name=host.name,
        datacenter=datacenter,
        cluster=host.cluster,
        state=host.state,
        power=host.power,
        cpus=host.cpus,
        memory_mib=host.memory_mib,
        used_cpus=host.used_cpus,
        used_memory_mib=host.used_memory_mib,
    )


def image_view(image: Image, datacenter: Reference) -> ImageView:
    """Return an image as it is shown."""
    return ImageView(image.ref, image.name, datacenter, image.size_gib)


def capacity_view(capacity: DatacenterCapacity) -> CapacityView:
    """Return what a datacenter has, and who has it."""
    inventory = capacity.datacenter.inventory
    up = [host for host in inventory.hosts if host.state is HostState.UP]
    stores = [store for store in inventory.datastores if store.accessible]
    return CapacityView(
        hosts=len(inventory.hosts),
        hosts_up=len(up),
        cpus=sum(host.cpus for host in up),
        used_cpus=sum(host.used_cpus for host in up),
        memory_mib=sum(host.memory_mib for host in up),
        used_memory_mib=sum(host.used_memory_mib for host in up),
        disk_gib=sum(store.capacity_gib for store in stores),
        free_disk_gib=sum(store.free_gib for store in stores),
        by_host=[
            HostCapacityView(
                ref=each.host.ref,
                name=each.host.name,
                state=each.host.state,
                allocatable=_room_view(each.allocatable),
                used=_room_view(each.used),
                reserved=_room_view(each.reserved),
                free=_room_view(each.free),
            )
            for each in capacity.hosts
        ],
        by_datastore=[
            DatastoreCapacityView(
                ref=each.datastore.ref,
                name=each.datastore.name,
                allocatable_gib=each.allocatable_gib,
                used_gib=each.used_gib,
                reserved_gib=each.reserved_gib,
                free_gib=each.free_gib,
            )
            for each in capacity.datastores
        ],
        quota=[
            QuotaCapacityView(each.dimension, each.allocatable, each.used, each.reserved, each.free)
            for each in capacity.quota
        ],
        observed_at=capacity.datacenter.observed_at,
    )


def _room_view(room: Room) -> RoomView:
    return RoomView(room.cpus, room.memory_mib)
