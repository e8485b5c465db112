"""Statistics: what machines use, measured at intervals, and how what hypervisors count becomes rates. Pure."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from vai_app.domain.identifiers import derived_id


class Metric(StrEnum):
    """What is measured of a machine, in the unit that its name ends with."""

    CPU_PERCENT = "cpu_percent"  # of all its CPUs together
    MEMORY_MIB = "memory_mib"  # that it takes from its host
    NETWORK_RECEIVED_KIB_S = "network_received_kib_s"
    NETWORK_SENT_KIB_S = "network_sent_kib_s"
    DISK_READ_KIB_S = "disk_read_kib_s"
    DISK_WRITTEN_KIB_S = "disk_written_kib_s"
    POWER_WATTS = "power_watts"


@dataclass(frozen=True, slots=True)
class Reading:
    """What a hypervisor shows of a machine at one moment; a metric that it does not measure is left out.

    ``values`` are in the metrics' units. ``totals`` are sums since the machine started, in units times seconds: what
    is between two of them, by the seconds between, is the metric's mean.
    """

    ref: str
    at: datetime
    values: dict[Metric, float] = field(default_factory=dict)
    totals: dict[Metric, float] = field(default_factory=dict)

    def only(self, metrics: Collection[Metric]) -> "Reading":
        """Return what of it is about some metrics."""
        values, totals = (
            {metric: found[metric] for metric in found if metric in metrics} for found in (self.values, self.totals)
        )
        return Reading(self.ref, self.at, values, totals)


@dataclass(frozen=True, slots=True)
class Sample:
    """What is kept of a reading: its values, with those that came of totals, and the totals for the next one's."""

    id: str
    machine_id: str
    datacenter_id: str
    at: datetime
    values: dict[Metric, float]
    totals: dict[Metric, float]


@dataclass(frozen=True, slots=True)
class StatisticsSettings:
    """What an operator says about statistics in a datacenter: how often, of what, and how long they are kept.

    ``batch_size`` is how many machines one call asks about. What was kept before a change is kept as long as then.
    """

    enabled: bool = True
    interval_seconds: int = 60
    retention_hours: int = 24
    batch_size: int = 100
    metrics: tuple[Metric, ...] = tuple(Metric)


def sample_of(reading: Reading, machine_id: str, datacenter_id: str, before: Sample | None) -> Sample:
    """Return what is kept of a reading; the same reading is the same sample, however often it is read."""
    rates = _rates(before, reading) if before is not None else {}
    return Sample(
        id=derived_id("st", machine_id, int(reading.at.timestamp() * 1000)),
        machine_id=machine_id,
        datacenter_id=datacenter_id,
        at=reading.at,
        values={**rates, **reading.values},
        totals=reading.totals,
    )


def _rates(before: Sample, now: Reading) -> Mapping[Metric, float]:
    """Return the means since the sample before; of a total that is smaller than then the machine began anew."""
    seconds = (now.at - before.at).total_seconds()
    if seconds <= 0:
        return {}
    return {
        metric: (total - before.totals[metric]) / seconds
        for metric, total in now.totals.items()
        if total >= before.totals.get(metric, float("inf"))
    }
