"""Consumption: what tenants held in datacenters, summed over periods.

What a machine holds is its reservation, from its placement until it is gone; it is consumed whether the machine runs or
not. Sums are in hours: two CPUs held for three hours are six CPU hours.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from vai_app.domain.capacity import Room

_HOUR = timedelta(hours=1)
_MIB_IN_GIB = 1024


class Period(StrEnum):
    """What is summed together: a day or a month of UTC, or all."""

    DAY = "day"
    MONTH = "month"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class Held:
    """What one machine held from one moment to another, ``None`` where it still does."""

    machine_id: str
    tenant: str
    datacenter_id: str
    room: Room
    since: datetime
    until: datetime | None = None


@dataclass(slots=True)
class Consumption:
    """What one tenant held in one datacenter in one period. ``machine_ids`` are those that held anything."""

    tenant: str
    datacenter_id: str
    since: datetime
    until: datetime
    machine_ids: set[str] = field(default_factory=set)
    machine_hours: float = 0.0
    cpu_hours: float = 0.0
    memory_gib_hours: float = 0.0
    disk_gib_hours: float = 0.0

    def add(self, held: Held, hours: float) -> None:
        """Count what a machine held for so long."""
        self.machine_ids.add(held.machine_id)
        self.machine_hours += hours
        self.cpu_hours += hours * held.room.cpus
        self.memory_gib_hours += hours * held.room.memory_mib / _MIB_IN_GIB
        self.disk_gib_hours += hours * held.room.disk_gib


def periods_between(since: datetime, until: datetime, period: Period) -> list[tuple[datetime, datetime]]:
    """Return the periods from ``since`` to ``until``, both in UTC; the first and last may be parts of one."""
    bounds = [since]
    while period is not Period.ALL and (following := _next(bounds[-1], period)) < until:
        bounds.append(following)
    return list(zip(bounds, [*bounds[1:], until], strict=True)) if since < until else []


def consumed(held: Iterable[Held], periods: list[tuple[datetime, datetime]]) -> list[Consumption]:
    """Return the sums by period, tenant and datacenter, in this order; none where nothing was held."""
    sums: dict[tuple[datetime, str, str], Consumption] = {}
    for each in held:
        for begin, end in periods:
            length = min(each.until or end, end) - max(each.since, begin)
            if length <= timedelta(0):
                continue
            key = (begin, each.tenant, each.datacenter_id)
            if key not in sums:
                sums[key] = Consumption(each.tenant, each.datacenter_id, begin, end)
            sums[key].add(each, length / _HOUR)
    return [found for _, found in sorted(sums.items())]


def _next(moment: datetime, period: Period) -> datetime:
    """Return when the period after that of the moment begins."""
    day = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    if period is Period.DAY:
        return day + timedelta(days=1)
    return (day.replace(day=1) + timedelta(days=32)).replace(day=1)
