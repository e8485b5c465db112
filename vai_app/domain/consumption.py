"""Consumption: what tenants held in datacenters, summed over periods.

What a machine holds is its reservation, from its placement until it is gone; it is consumed whether the machine runs or
not. Sums are in hours: two CPUs held for three hours are six CPU hours.
"""

from bisect import bisect_right
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


def consumed(held: Iterable[Held], since: datetime, until: datetime, period: Period) -> list[Consumption]:
    """Return the sums by period, tenant and datacenter, in this order; none where nothing was held.

    ``since`` and ``until`` are in UTC; the first and the last period may be parts of one.
    """
    rows = list(held)
    if not rows or since >= until:
        return []
    begins = _begins(since, until, period, min(each.since for each in rows))
    ends = [*begins[1:], until]
    sums: dict[tuple[datetime, str, str], Consumption] = {}
    for each in rows:
        for number in range(max(0, bisect_right(begins, each.since) - 1), len(begins)):
            begin, end = begins[number], ends[number]
            length = min(each.until or end, end) - max(each.since, begin)
            if length <= timedelta(0):
                break
            key = (begin, each.tenant, each.datacenter_id)
            if key not in sums:
                sums[key] = Consumption(each.tenant, each.datacenter_id, begin, end)
            sums[key].add(each, length / _HOUR)
    return [found for _, found in sorted(sums.items())]


def _begins(since: datetime, until: datetime, period: Period, first: datetime) -> list[datetime]:
    """Return when the periods begin, without those that have ended before anything was held."""
    if period is Period.ALL:
        return [since]
    begins = [max(since, _begin(first, period))]
    while (following := _following(begins[-1], period)) < until:
        begins.append(following)
    return begins


def _begin(moment: datetime, period: Period) -> datetime:
    day = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    return day.replace(day=1) if period is Period.MONTH else day


def _following(moment: datetime, period: Period) -> datetime:
    """Return when the period after that of the moment begins."""
    begin = _begin(moment, period)
    return begin + timedelta(days=1) if period is Period.DAY else _begin(begin + timedelta(days=32), period)
