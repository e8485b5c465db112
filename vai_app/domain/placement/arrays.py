"""A snapshot of capacity as columns: one row a host, what it can take in each dimension, ready for numpy.

What stays the same between decisions is worked out once, when the columns are built: a host that is not up can take
nothing, a failover reserve and the hypervisor's quota lower what each row of their datacenter can take, a host's disk
is that of its roomiest datastore. A decision is then three comparisons. ``take`` keeps the columns true while several
machines are placed.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from vai_app.domain.capacity import DatacenterCapacity, HostCapacity, Room
from vai_app.domain.datacenters import HostState
from vai_app.domain.placement.checks import failover_headroom

Mask = NDArray[np.bool_]
Column = NDArray[np.int64]

UNKNOWN = np.int64(2**40)
"""Stands for a capacity that the hypervisor does not show: larger than any request."""
_NOTHING = np.int64(-1)
_UNLIMITED = 2 * int(UNKNOWN)  # whatever is taken of it, it limits nothing


class CapacityArrays:
    """The rows of every datacenter of a snapshot, one after the other; one without hosts has one row, ``None``.

    ``cpus``, ``memory_mib`` and ``disk_gib`` are the largest machine that fits. By datacenter, ``headroom`` is what
    its failover reserve and quota leave together, ``seats`` how many machines its quota leaves, ``store_free`` the GiB
    of each datastore, ``reach`` which row reaches which datastore. ``slack`` and ``skew`` are the sum and the
    difference of a row's free CPUs and free memory, in CPUs: as many MiB as the fleet has for each CPU count as one.
    ``shown`` are the rows that are hosts. Not for several threads at once.
    """

    def __init__(self, snapshot: Sequence[DatacenterCapacity]) -> None:
        """Build the columns; milliseconds for a thousand hosts."""
        self.snapshot = tuple(snapshot)
        self.hosts: list[HostCapacity | None] = []
        self.slices: list[slice] = []
        for capacity in self.snapshot:
            start = len(self.hosts)
            self.hosts.extend(capacity.hosts or [None])
            self.slices.append(slice(start, len(self.hosts)))
        rows = len(self.hosts)
        self.datacenter = np.repeat(np.arange(len(self.snapshot)), [each.stop - each.start for each in self.slices])
        self.starts = np.array([each.start for each in self.slices], dtype=np.intp)
        self.cpus, self.memory_mib, self.disk_gib = (np.empty(rows, np.int64) for _ in range(3))
        self.free_cpus = self._column(lambda host: host.free.cpus)
        self.free_memory_mib = self._column(lambda host: host.free.memory_mib)
        all_cpus = self._column(lambda host: host.allocatable.cpus)
        all_memory_mib = self._column(lambda host: host.allocatable.memory_mib)
        self.busy = np.array([host is not None and (host.used + host.reserved).cpus > 0 for host in self.hosts])
        self._most_cpus = self._column(lambda host: host.host.cpus)
        self._up = np.array([host is None or host.host.state is HostState.UP for host in self.hosts])
        self.shown = np.array([host is not None for host in self.hosts], np.bool_)
        memory_mib = float(all_memory_mib[self.shown].sum())
        self.cpus_per_mib = float(all_cpus[self.shown].sum()) / memory_mib if memory_mib else 0.0
        self.skew = self.free_cpus - self.free_memory_mib * self.cpus_per_mib
        self.slack = self.free_cpus + self.free_memory_mib * self.cpus_per_mib
        self.headroom = [_headroom(each) for each in self.snapshot]
        self.seats = [_left(each, "machines") for each in self.snapshot]
        self.store_free = [np.array([store.free_gib for store in each.datastores], np.int64) for each in self.snapshot]
        self.reach = [_reach(each) for each in self.snapshot]
        for index in range(len(self.snapshot)):
            self._refresh(index)
            self._refresh_disk(index)

    def fitting(self, room: Room) -> Mask:
        """Return which rows can take the room."""
        mask: Mask = self.cpus >= room.cpus
        mask &= self.memory_mib >= room.memory_mib
        mask &= self.disk_gib >= room.disk_gib
        return mask

    def take(self, row: int, room: Room, store: int | None = None) -> int | None:
        """Count a machine into a row and into what its datacenter shares: datastores, failover reserve, quota.

        Its disk goes to the datastore at position ``store`` among the datacenter's, or to the roomiest that the row
        reaches. Returns the position; ``None`` where no disk is asked for or no datastore known.
        """
        index = int(self.datacenter[row])
        if self.hosts[row] is not None:
            self._take_of_host(row, room)
        self._take_of_datacenter(row, index, room)
        if not room.disk_gib or not self.store_free[index].size:
            return None
        reach = self.reach[index][row - self.slices[index].start]
        if store is None or not reach[store]:
            store = int(np.argmax(np.where(reach, self.store_free[index], -UNKNOWN)))
        self.store_free[index][store] -= room.disk_gib
        self._refresh_disk(index)
        return store

    def overdrawn(self, row: int, store: int | None) -> bool:
        """Whether more was taken than there is: of the host, of the datastore, of what the datacenter has in all."""
        index = int(self.datacenter[row])
        headroom = self.headroom[index]
        short = self.seats[index] < 0 or (headroom is not None and min(headroom.cpus, headroom.memory_mib) < 0)
        full = store is not None and self.store_free[index][store] < 0
        return bool(short or full or self.free_cpus[row] < 0 or self.free_memory_mib[row] < 0)

    def copy(self) -> "CapacityArrays":
        """Return columns that can be changed without changing these."""
        twin = object.__new__(CapacityArrays)
        twin.__dict__.update(self.__dict__)
        for name in ("cpus", "memory_mib", "disk_gib", "free_cpus", "free_memory_mib", "skew", "slack", "busy"):
            setattr(twin, name, getattr(self, name).copy())
        twin.headroom, twin.seats = list(self.headroom), list(self.seats)
        twin.store_free = [each.copy() for each in self.store_free]
        return twin

    def _take_of_host(self, row: int, room: Room) -> None:
        self.free_cpus[row] -= room.cpus
        self.free_memory_mib[row] -= room.memory_mib
        self.skew[row] -= room.cpus - room.memory_mib * self.cpus_per_mib
        self.slack[row] -= room.cpus + room.memory_mib * self.cpus_per_mib
        self.busy[row] = True

    def _take_of_datacenter(self, row: int, index: int, room: Room) -> None:
        headroom = self.headroom[index]
        self.seats[index] -= 1
        if headroom is not None:
            self.headroom[index] = headroom - Room(room.cpus, room.memory_mib)
        if headroom is not None or self.seats[index] <= 0:
            self._refresh(index)
        else:
            self.cpus[row] = min(self.free_cpus[row], self._most_cpus[row])
            self.memory_mib[row] = self.free_memory_mib[row]

    def _column(self, read: Callable[[HostCapacity], int]) -> Column:
        return np.array([UNKNOWN if host is None else read(host) for host in self.hosts], np.int64)

    def _refresh(self, index: int) -> None:
        rows, headroom = self.slices[index], self.headroom[index]
        cpus = np.minimum(self.free_cpus[rows], self._most_cpus[rows])
        memory_mib = self.free_memory_mib[rows]
        if headroom is not None:
            cpus = np.minimum(cpus, headroom.cpus)
            memory_mib = np.minimum(memory_mib, headroom.memory_mib)
        self.cpus[rows] = np.where(self._up[rows], cpus, _NOTHING) if self.seats[index] > 0 else _NOTHING
        self.memory_mib[rows] = memory_mib

    def _refresh_disk(self, index: int) -> None:
        rows, free = self.slices[index], self.store_free[index]
        if not free.size:
            self.disk_gib[rows] = UNKNOWN
            return
        self.disk_gib[rows] = np.where(self.reach[index], np.maximum(free, 0), _NOTHING).max(axis=1)


def _headroom(capacity: DatacenterCapacity) -> Room | None:
    """Return the CPUs and memory that a datacenter's machines may take in all, ``None`` where only hosts limit them."""
    cpus, memory_mib = _left(capacity, "cpus"), _left(capacity, "memory_mib")
    if capacity.datacenter.placement.failover_hosts and capacity.hosts:
        kept = failover_headroom(capacity)
        return Room(min(kept.cpus, cpus), min(kept.memory_mib, memory_mib))
    return Room(cpus, memory_mib) if min(cpus, memory_mib) < _UNLIMITED else None


def _left(capacity: DatacenterCapacity, dimension: str) -> int:
    """Return what the hypervisor's quota leaves of a dimension."""
    return next((each.free for each in capacity.quota if each.dimension == dimension), _UNLIMITED)


def _reach(capacity: DatacenterCapacity) -> Mask:
    """Return which host (row) reaches which accessible datastore (column)."""
    stores = [store.datastore for store in capacity.datastores]
    accessible = np.array([store.accessible for store in stores], np.bool_)
    rows = []
    for host in capacity.hosts or (None,):
        told = frozenset(host.host.datastores) if host is not None else frozenset()
        known = np.array([store.ref in told for store in stores], np.bool_)
        rows.append(accessible & known if known.any() else accessible)
    return np.array(rows, np.bool_).reshape(len(rows), len(stores))
