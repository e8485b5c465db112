"""Capacity: what the hosts and datastores of a datacenter may give, and what of it is taken or promised, pure.

``allocatable`` is the hardware times the site's allocation ratio. ``used`` is what machines take that VAI did
not make; ``reserved`` is what VAI has promised to its own machines, from the moment that placement chose until
the machine is gone. A place is free only as far as both leave it.
"""

from dataclasses import dataclass

from vai_app.domain.datacenters import Datacenter, Datastore, Host
from vai_app.domain.virtual_machines import Size


@dataclass(frozen=True, slots=True)
class Room:
    """An amount of each thing that machines take: CPUs, memory (MiB), disk (GiB)."""

    cpus: int = 0
    memory_mib: int = 0
    disk_gib: int = 0

    def __add__(self, other: "Room") -> "Room":
        return Room(self.cpus + other.cpus, self.memory_mib + other.memory_mib, self.disk_gib + other.disk_gib)

    def __sub__(self, other: "Room") -> "Room":
        return Room(self.cpus - other.cpus, self.memory_mib - other.memory_mib, self.disk_gib - other.disk_gib)

    def holds(self, other: "Room") -> bool:
        """Whether ``other`` fits in, in every dimension."""
        return self.cpus >= other.cpus and self.memory_mib >= other.memory_mib and self.disk_gib >= other.disk_gib


@dataclass(frozen=True, slots=True)
class HostCapacity:
    """A host's CPUs and memory. Disk is counted at the datastores, which hosts share."""

    host: Host
    allocatable: Room
    used: Room = Room()
    reserved: Room = Room()

    @property
    def free(self) -> Room:
        """What a further machine may take; a dimension is negative where the host is overcommitted."""
        return self.allocatable - self.used - self.reserved


@dataclass(frozen=True, slots=True)
class DatastoreCapacity:
    """A datastore's disk, in GiB."""

    datastore: Datastore
    allocatable_gib: int
    used_gib: int = 0
    reserved_gib: int = 0

    @property
    def free_gib(self) -> int:
        """What a further machine's disks may take."""
        return self.allocatable_gib - self.used_gib - self.reserved_gib


@dataclass(frozen=True, slots=True)
class QuotaCapacity:
    """One dimension (``machines``, ``cpus``, ``memory_mib``) of what the hypervisor lets VAI's account have in all."""

    dimension: str
    allocatable: int
    used: int = 0
    reserved: int = 0

    @property
    def free(self) -> int:
        """What further machines may take; the hypervisor itself has the last word."""
        return self.allocatable - self.used - self.reserved


@dataclass(frozen=True, slots=True)
class DatacenterCapacity:
    """One datacenter at one moment. Without hosts, its hypervisor shows none and chooses itself."""

    datacenter: Datacenter
    hosts: tuple[HostCapacity, ...] = ()
    datastores: tuple[DatastoreCapacity, ...] = ()
    quota: tuple[QuotaCapacity, ...] = ()


def room_of(size: Size) -> Room:
    """Return what a machine of this size takes."""
    return Room(cpus=size.cpus, memory_mib=size.memory_mib, disk_gib=size.disk_gib)
