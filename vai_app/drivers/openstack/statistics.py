"""What Nova's diagnostics say of a server, to domain values, pure. Most of it are counters of its hypervisor."""

from collections.abc import Iterable
from datetime import datetime

from vai_app.domain.statistics import Metric, Reading
from vai_app.drivers.openstack.mapping import Row

_NANOSECONDS = 1e9
_KIB = 1024


def reading_of(server: str, diagnostics: Row, at: datetime) -> Reading:
    """Return a reading; a driver of Nova's leaves ``None`` where it does not know."""
    cpus: list[Row] = diagnostics["cpu_details"]
    values = {
        Metric.CPU_PERCENT: _mean(each["utilisation"] for each in cpus),
        Metric.MEMORY_MIB: diagnostics["memory_details"]["used"],
    }
    busy = _mean(each["time"] for each in cpus)
    totals = {
        Metric.CPU_PERCENT: None if busy is None else busy / _NANOSECONDS * 100,
        Metric.NETWORK_RECEIVED_KIB_S: _kib(each["rx_octets"] for each in diagnostics["nic_details"]),
        Metric.NETWORK_SENT_KIB_S: _kib(each["tx_octets"] for each in diagnostics["nic_details"]),
        Metric.DISK_READ_KIB_S: _kib(each["read_bytes"] for each in diagnostics["disk_details"]),
        Metric.DISK_WRITTEN_KIB_S: _kib(each["write_bytes"] for each in diagnostics["disk_details"]),
    }
    return Reading(server, at, _known(values), _known(totals))


def _mean(numbers: Iterable[float | None]) -> float | None:
    found = list(numbers)
    known = [each for each in found if each is not None]
    return sum(known) / len(known) if known and len(known) == len(found) else None


def _kib(sizes: Iterable[int | None]) -> float:
    return sum(each or 0 for each in sizes) / _KIB


def _known(found: dict[Metric, float | None]) -> dict[Metric, float]:
    return {metric: float(value) for metric, value in found.items() if value is not None}
