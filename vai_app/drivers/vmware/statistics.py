"""Performance counters of vCenter: which are asked for, and what they say, in domain values. Pure."""

from collections.abc import Collection, Iterable, Mapping
from datetime import UTC

from pyVmomi import vim

from vai_app.domain.statistics import Metric, Reading

# The counter's group, name and rollup, and its unit in the metric's.
_COUNTERS: Mapping[Metric, tuple[tuple[str, str, str], float]] = {
    Metric.CPU_PERCENT: (("cpu", "usage", "average"), 0.01),
    Metric.MEMORY_MIB: (("mem", "consumed", "average"), 1 / 1024),
    Metric.NETWORK_RECEIVED_KIB_S: (("net", "received", "average"), 1.0),
    Metric.NETWORK_SENT_KIB_S: (("net", "transmitted", "average"), 1.0),
    Metric.DISK_READ_KIB_S: (("disk", "read", "average"), 1.0),
    Metric.DISK_WRITTEN_KIB_S: (("disk", "write", "average"), 1.0),
    Metric.POWER_WATTS: (("power", "power", "average"), 1.0),
}
_REAL_TIME_SECONDS = 20
_WHOLE_MACHINE = ""  # the instance that stands for all of a machine's CPUs, disks or cards


def counters_of(known: Iterable[vim.PerformanceManager.CounterInfo]) -> dict[Metric, int]:
    """Return the keys of the counters that this vCenter has, by metric."""
    keys = {(each.groupInfo.key, each.nameInfo.key, str(each.rollupType)): each.key for each in known}
    return {metric: keys[spelled] for metric, (spelled, _) in _COUNTERS.items() if spelled in keys}


def query_of(machine: vim.VirtualMachine, counters: Collection[int]) -> vim.PerformanceManager.QuerySpec:
    """Return the question for a machine's newest sample."""
    return vim.PerformanceManager.QuerySpec(
        entity=machine,
        maxSample=1,
        intervalId=_REAL_TIME_SECONDS,
        metricId=[vim.PerformanceManager.MetricId(counterId=counter, instance=_WHOLE_MACHINE) for counter in counters],
    )


def reading_of(found: vim.PerformanceManager.EntityMetric, counters: Mapping[Metric, int]) -> Reading | None:
    """Return a reading; ``None`` of a machine of which nothing is measured, such as one that is off."""
    if not found.sampleInfo:
        return None
    series = {each.id.counterId: each.value for each in found.value if each.value}
    values = {
        metric: series[counter][-1] * _COUNTERS[metric][1]
        for metric, counter in counters.items()
        if counter in series and series[counter][-1] >= 0  # -1 stands for what is not known
    }
    at = found.sampleInfo[-1].timestamp.astimezone(UTC)
    return Reading(found.entity._GetMoId(), at, values) if values else None  # noqa: SLF001 - pyVmomi's name
