"""Performance counters of vCenter: which are asked for, and what they say, in domain values. Pure."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime

from pyVmomi import vim

from vai_app.domain.statistics import Metric, Reading
from vai_app.drivers.vmware.rows import VIM, Element

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


def queries_of(
    machines: Iterable[vim.VirtualMachine], counters: Collection[int]
) -> list[vim.PerformanceManager.QuerySpec]:
    """Return the questions for the newest sample of each machine."""
    ids = [vim.PerformanceManager.MetricId(counterId=counter, instance=_WHOLE_MACHINE) for counter in counters]
    return [
        vim.PerformanceManager.QuerySpec(entity=each, maxSample=1, intervalId=_REAL_TIME_SECONDS, metricId=ids)
        for each in machines
    ]


def readings_in(answer: Element, counters: Mapping[Metric, int]) -> Iterator[Reading]:
    """Read the answer of QueryPerf; a machine of which nothing is measured, such as one that is off, has no reading."""
    metrics = {str(counter): metric for metric, counter in counters.items()}
    for found in answer.iter(f"{VIM}returnval"):
        moment = _last(found.findall(f"{VIM}sampleInfo/{VIM}timestamp"))
        values = {}
        for series in found.findall(f"{VIM}value"):
            metric = metrics.get(series.findtext(f"{VIM}id/{VIM}counterId", ""))
            value = int(_last(series.findall(f"{VIM}value")) or -1)  # which stands for what is not known
            if metric is not None and value >= 0:
                values[metric] = value * _COUNTERS[metric][1]
        if moment and values:
            at = datetime.fromisoformat(moment).astimezone(UTC)
            yield Reading(found.findtext(f"{VIM}entity", ""), at, values)


def _last(elements: Sequence[Element]) -> str | None:
    """Return the text of the newest: several samples stand in order of time."""
    return elements[-1].text if elements else None
