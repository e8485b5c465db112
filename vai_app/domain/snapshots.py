"""Snapshots: what a hypervisor shows of one, and what VAI has recorded of those that it took."""

from dataclasses import dataclass
from datetime import datetime

from vai_app.domain.virtual_machines import Making, Mark, Size

MOST_SNAPSHOTS = 32
"""Of one machine. vSphere takes no more in a chain, and machines slow down long before."""


@dataclass(frozen=True, slots=True)
class SnapshotObservation:
    """A snapshot as its hypervisor shows it. ``mark`` is ``None`` for one that somebody else took."""

    ref: str
    name: str
    taken_at: datetime
    mark: Mark | None = None
    making: Making = Making.MADE


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A snapshot that VAI took. ``size`` is what its machine had then; ``*_ref`` are the provider's names for both."""

    id: str
    machine_id: str
    tenant: str
    datacenter_id: str
    name: str
    machine_ref: str
    provider_ref: str
    mark: Mark
    size: Size
    taken_at: datetime
