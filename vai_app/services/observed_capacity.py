"""Capacity as it was last observed, without reservations."""

from collections.abc import Collection, Sequence

from vai_app.domain.capacity import DatacenterCapacity, DatastoreCapacity, HostCapacity, Room
from vai_app.domain.datacenters import Datacenter
from vai_app.domain.ports import DatacenterRepository
from vai_app.domain.virtual_machines import Location

# Virtual CPUs to one of the hardware, where nobody said otherwise: OpenStack's own default.
_CPU_RATIO = 16


class ObservedCapacity:
    """Implements the ``CapacityBook`` port from inventories alone: what is promised and not yet seen is not counted."""

    def __init__(self, *, datacenters: DatacenterRepository) -> None:
        """Collaborators."""
        self._datacenters = datacenters

    def snapshot(self, datacenter_ids: Collection[str] | None = None) -> Sequence[DatacenterCapacity]:
        """Return datacenters as observed."""
        if datacenter_ids is None:
            return [_capacity_of(each) for each in self._datacenters.list()]
        return [_capacity_of(self._datacenters.get(each)) for each in datacenter_ids]

    def reserve(self, machine_id: str, datacenter_id: str, location: Location, room: Room) -> bool:  # noqa: ARG002
        """Promise nothing."""
        return True

    def release(self, machine_id: str) -> None:
        """Nothing was promised."""


def _capacity_of(datacenter: Datacenter) -> DatacenterCapacity:
    return DatacenterCapacity(
        datacenter=datacenter,
        hosts=tuple(
            HostCapacity(
                host,
                allocatable=Room(cpus=host.cpus * _CPU_RATIO, memory_mib=host.memory_mib),
                used=Room(cpus=host.used_cpus, memory_mib=host.used_memory_mib),
            )
            for host in datacenter.inventory.hosts
        ),
        datastores=tuple(
            DatastoreCapacity(store, store.capacity_gib, used_gib=store.capacity_gib - store.free_gib)
            for store in datacenter.inventory.datastores
        ),
    )
