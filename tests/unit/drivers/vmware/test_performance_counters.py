"""What vCenter's answer to QueryPerf says, word by word."""

from datetime import UTC, datetime

import pytest

from vai_app.domain.statistics import Metric, Reading
from vai_app.drivers.vmware.rows import envelope
from vai_app.drivers.vmware.statistics import readings_in

pytestmark = pytest.mark.spec(4)

COUNTERS = {Metric.CPU_PERCENT: 2, Metric.MEMORY_MIB: 98}
AT = datetime(2026, 1, 31, 12, 0, 20, tzinfo=UTC)


def readings(*machines: str) -> list[Reading]:
    answer = (
        '<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" '
        'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><soapenv:Body>'
        f'<QueryPerfResponse xmlns="urn:vim25">{"".join(machines)}</QueryPerfResponse>'
        "</soapenv:Body></soapenv:Envelope>"
    )
    return list(readings_in(envelope(answer.encode()), COUNTERS))


def machine(ref: str, *series: str, at: tuple[str, ...] = ("2026-01-31T12:00:20Z",)) -> str:
    samples = "".join(f"<sampleInfo><timestamp>{each}</timestamp><interval>20</interval></sampleInfo>" for each in at)
    return (
        f'<returnval xsi:type="PerfEntityMetric"><entity type="VirtualMachine">{ref}</entity>'
        f"{samples}{''.join(series)}</returnval>"
    )


def counted(counter: int, *values: int) -> str:
    told = "".join(f"<value>{each}</value>" for each in values)
    return (
        f'<value xsi:type="PerfMetricIntSeries"><id><counterId>{counter}</counterId><instance></instance></id>'
        f"{told}</value>"
    )


def test_each_machine_has_its_values_in_the_metrics_units() -> None:
    found = readings(machine("vm-1", counted(2, 2550), counted(98, 2048)), machine("vm-2", counted(98, 1024)))
    assert found == [
        Reading("vm-1", AT, {Metric.CPU_PERCENT: 25.5, Metric.MEMORY_MIB: 2.0}),
        Reading("vm-2", AT, {Metric.MEMORY_MIB: 1.0}),
    ]


def test_of_several_samples_the_newest_counts() -> None:
    times = ("2026-01-31T12:00:00Z", "2026-01-31T12:00:20Z")
    assert readings(machine("vm-1", counted(2, 100, 200), at=times)) == [Reading("vm-1", AT, {Metric.CPU_PERCENT: 2.0})]


@pytest.mark.parametrize("told", ["2026-01-31T13:00:20+01:00", "2026-01-31T12:00:20.000000Z"])
def test_a_moment_is_told_in_utc_whatever_its_zone(told: str) -> None:
    (reading,) = readings(machine("vm-1", counted(2, 100), at=(told,)))
    assert (reading.at, reading.at.tzinfo) == (AT, UTC)


@pytest.mark.parametrize(
    "answered",
    [
        machine("vm-1", at=()),
        machine("vm-1"),
        machine("vm-1", counted(2)),
        machine("vm-1", counted(2, -1)),
        machine("vm-1", counted(77, 5)),
    ],
    ids=["off", "no series", "no value", "not known", "not asked for"],
)
def test_a_machine_of_which_nothing_is_measured_has_no_reading(answered: str) -> None:
    assert readings(answered) == []


def test_a_metric_of_zero_is_measured() -> None:
    (reading,) = readings(machine("vm-1", counted(2, 0)))
    assert reading.values == {Metric.CPU_PERCENT: 0.0}
