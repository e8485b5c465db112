"""What is kept of a reading."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vai_app.domain.statistics import Metric, Reading, Sample, sample_of

pytestmark = pytest.mark.spec(4)

AT = datetime(2026, 1, 1, tzinfo=UTC)
SENT = Metric.NETWORK_SENT_KIB_S


def _before(total: float, seconds: float = 60.0) -> Sample:
    return sample_of(Reading("m-1", AT - timedelta(seconds=seconds), totals={SENT: total}), "vm-1", "dc-1", None)


def test_values_are_kept_as_they_are_and_a_total_alone_is_no_value() -> None:
    sample = sample_of(Reading("m-1", AT, {Metric.MEMORY_MIB: 12.0}, {SENT: 600.0}), "vm-1", "dc-1", None)
    assert (sample.machine_id, sample.datacenter_id, sample.at) == ("vm-1", "dc-1", AT)
    assert (sample.values, sample.totals) == ({Metric.MEMORY_MIB: 12.0}, {SENT: 600.0})


@given(before=st.floats(0, 1e12), grown=st.floats(0, 1e9), seconds=st.floats(0.5, 1e5))
def test_two_totals_make_the_mean_between_them(before: float, grown: float, seconds: float) -> None:
    sample = sample_of(Reading("m-1", AT, totals={SENT: before + grown}), "vm-1", "dc-1", _before(before, seconds))
    assert sample.values[SENT] * seconds == pytest.approx(grown, rel=1e-3, abs=1e-3 + before * 1e-12)
    assert sample.values[SENT] >= 0


def test_a_total_that_shrank_is_of_a_machine_that_began_anew_and_makes_no_rate() -> None:
    assert sample_of(Reading("m-1", AT, totals={SENT: 5.0}), "vm-1", "dc-1", _before(6.0)).values == {}


@pytest.mark.parametrize("seconds", [0.0, -5.0])
def test_no_time_between_makes_no_rate(seconds: float) -> None:
    assert sample_of(Reading("m-1", AT, totals={SENT: 9.0}), "vm-1", "dc-1", _before(6.0, seconds)).values == {}


def test_what_a_hypervisor_measured_itself_counts_more_than_what_it_counted() -> None:
    reading = Reading("m-1", AT, {SENT: 7.0}, {SENT: 66.0})
    assert sample_of(reading, "vm-1", "dc-1", _before(6.0)).values == {SENT: 7.0}


def test_the_same_reading_is_the_same_sample_and_another_is_another() -> None:
    reading, later = Reading("m-1", AT, {SENT: 7.0}), Reading("m-1", AT + timedelta(milliseconds=1), {SENT: 7.0})
    ids = [sample_of(each, "vm-1", "dc-1", None).id for each in (reading, reading, later)]
    assert ids[0] == ids[1] != ids[2]
    assert sample_of(reading, "vm-2", "dc-1", None).id not in ids
