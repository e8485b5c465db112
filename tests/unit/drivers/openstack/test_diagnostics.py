"""Nova's diagnostics, as its libvirt driver and its others answer, in VAI's units."""

from datetime import UTC, datetime
from typing import Any

import pytest

from vai_app.domain.statistics import Metric
from vai_app.drivers.openstack.statistics import reading_of

pytestmark = pytest.mark.spec(4)

AT = datetime(2026, 1, 1, tzinfo=UTC)
# As Nova's libvirt driver answers: it counts each CPU's time in ns and tells no utilisation.
LIBVIRT: dict[str, Any] = {
    "state": "running",
    "driver": "libvirt",
    "cpu_details": [{"id": 0, "time": 3_000_000_000, "utilisation": None}, {"id": 1, "time": 0, "utilisation": None}],
    "memory_details": {"maximum": 512, "used": 384},
    "nic_details": [
        {"mac_address": "fa:16:3e:00:00:01", "rx_octets": 1024, "tx_octets": 512},
        {"mac_address": "fa:16:3e:00:00:02", "rx_octets": 2048, "tx_octets": None},
    ],
    "disk_details": [{"read_bytes": 10_240, "write_bytes": 4096}],
}


def test_what_libvirt_counts_becomes_totals() -> None:
    reading = reading_of("s-1", LIBVIRT, AT)
    assert (reading.ref, reading.at, reading.values) == ("s-1", AT, {Metric.MEMORY_MIB: 384.0})
    assert reading.totals == {
        Metric.CPU_PERCENT: 150.0,  # one of two was busy for three seconds
        Metric.NETWORK_RECEIVED_KIB_S: 3.0,
        Metric.NETWORK_SENT_KIB_S: 0.5,
        Metric.DISK_READ_KIB_S: 10.0,
        Metric.DISK_WRITTEN_KIB_S: 4.0,
    }


def test_a_utilisation_is_a_value_and_what_nobody_knows_is_nothing() -> None:
    told = {**LIBVIRT, "cpu_details": [{"id": 0, "time": None, "utilisation": 15}], "memory_details": {"used": None}}
    reading = reading_of("s-1", told, AT)
    assert reading.values == {Metric.CPU_PERCENT: 15.0}
    assert Metric.CPU_PERCENT not in reading.totals


def test_a_cpu_that_is_not_counted_makes_no_half_truth_of_the_others() -> None:
    cpus = [{"id": 0, "time": 5, "utilisation": 10}, {"id": 1, "time": None, "utilisation": None}]
    reading = reading_of("s-1", {**LIBVIRT, "cpu_details": cpus}, AT)
    assert Metric.CPU_PERCENT not in reading.values.keys() | reading.totals.keys()
