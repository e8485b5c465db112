"""Consumption: hours of what was held, cut to periods."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vai_app.domain.capacity import Room
from vai_app.domain.consumption import Held, Period, consumed

MAY = datetime(2026, 5, 1, tzinfo=UTC)
ROOM = Room(cpus=2, memory_mib=512, disk_gib=10)


def hours(number: float) -> datetime:
    return MAY + timedelta(hours=number)


def held(since: float, until: float | None, machine_id: str = "vm-1", **changes: str) -> Held:
    whose = {"tenant": "acme", "datacenter_id": "dc-1", **changes}
    return Held(machine_id, whose["tenant"], whose["datacenter_id"], ROOM, hours(since), until and hours(until))


def test_what_was_held_is_cut_to_the_period_and_summed() -> None:
    (found,) = consumed([held(-5, 3), held(6, None, "vm-2"), held(20, 30)], MAY, hours(10), Period.ALL)
    assert (found.since, found.until, found.machine_ids) == (MAY, hours(10), {"vm-1", "vm-2"})
    assert (found.machine_hours, found.cpu_hours, found.memory_gib_hours, found.disk_gib_hours) == (7, 14, 3.5, 70)


def test_tenants_and_datacenters_are_told_apart_and_days_come_in_order() -> None:
    rows = [held(0, 30), held(0, 30, "vm-2", tenant="rival"), held(25, 26, "vm-3", datacenter_id="dc-2")]
    found = consumed(rows, MAY, hours(48), Period.DAY)
    assert [(each.since.day, each.tenant, each.datacenter_id, each.machine_hours) for each in found] == [
        (1, "acme", "dc-1", 24),
        (1, "rival", "dc-1", 24),
        (2, "acme", "dc-1", 6),
        (2, "acme", "dc-2", 1),
        (2, "rival", "dc-1", 6),
    ]


@pytest.mark.parametrize(
    ("since", "until", "period", "bounds"),
    [
        ("2026-01-15T06", "2026-03-02T00", Period.MONTH, ["01-15T06", "02-01T00", "03-01T00", "03-02T00"]),
        ("2026-12-31T23", "2027-01-01T00", Period.DAY, ["12-31T23", "01-01T00"]),
        ("2026-02-28T00", "2026-03-02T00", Period.DAY, ["02-28T00", "03-01T00", "03-02T00"]),
        ("2026-01-01T00", "2026-09-01T00", Period.ALL, ["01-01T00", "09-01T00"]),
        ("2026-01-02T00", "2026-01-01T00", Period.DAY, []),
    ],
)
def test_periods_are_those_of_the_calendar(since: str, until: str, period: Period, bounds: list[str]) -> None:
    begin, end = (datetime.strptime(each, "%Y-%m-%dT%H").replace(tzinfo=UTC) for each in (since, until))
    always = Held("vm-1", "acme", "dc-1", ROOM, datetime(2020, 1, 1, tzinfo=UTC))
    found = consumed([always], begin, end, period)
    assert [each.since.strftime("%m-%dT%H") for each in found] == bounds[:-1]
    assert [each.until.strftime("%m-%dT%H") for each in found] == bounds[1:]


def test_a_report_from_the_beginning_of_time_begins_with_the_first_machine() -> None:
    (first, second) = consumed([held(3, 30)], datetime(1, 1, 1, tzinfo=UTC), hours(40), Period.DAY)
    assert (first.since, first.machine_hours, second.machine_hours) == (MAY, 21, 6)


@given(
    st.lists(st.tuples(st.floats(-500, 500), st.floats(0, 900)), max_size=8),
    st.sampled_from([Period.DAY, Period.MONTH]),
)
def test_the_sum_over_periods_is_the_sum_over_all(lives: list[tuple[float, float]], period: Period) -> None:
    rows = [held(since, since + length, f"vm-{n}") for n, (since, length) in enumerate(lives)]
    whole = consumed(rows, MAY, hours(400), Period.ALL)
    parts = consumed(rows, MAY, hours(400), period)
    assert sum(each.cpu_hours for each in parts) == pytest.approx(sum(each.cpu_hours for each in whole), abs=1e-6)
