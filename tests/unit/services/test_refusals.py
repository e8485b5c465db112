"""The record of refusals: complete in number, bounded in events."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from tests.fakes import InMemoryEvents
from tests.lab.process import wait_until
from vai_app.domain.errors import ServiceUnavailable
from vai_app.domain.events import Event
from vai_app.services.refusals import MOST_AT_ONCE, Refusal, RefusalLog

ANN = Refusal("forbidden", "ann", "192.0.2.7", "POST", "/api/v1/datacenters", "acme")


class EventsAway(InMemoryEvents):
    away = True

    def append(self, event: Event) -> None:
        if self.away:
            raise ServiceUnavailable("The database cannot be reached.")
        super().append(event)


def _log(events: InMemoryEvents, seconds: float = 3600.0) -> RefusalLog:
    return RefusalLog(events=events, clock=lambda: datetime(2026, 1, 1, tzinfo=UTC), interval_seconds=seconds)


def test_a_refusal_is_an_event_with_actor_address_and_correlation_id() -> None:
    events = InMemoryEvents()
    log = _log(events)
    log.record(ANN, "ticket-1")
    log.close()
    (event,) = events.stored.values()
    assert (event.kind, event.outcome, event.actor, event.tenant) == ("request.refused", "rejected", "ann", "acme")
    assert event.correlation_id == "ticket-1"
    assert event.data["address"] == "192.0.2.7"
    assert event.message == "POST /api/v1/datacenters from 192.0.2.7 was refused: forbidden."


def test_equal_refusals_are_one_event_that_counts_them() -> None:
    events = InMemoryEvents()
    log = _log(events)
    for number in range(1000):
        log.record(ANN, f"ticket-{number}")
    log.close()
    (event,) = events.stored.values()
    assert (event.data["count"], event.correlation_id) == ("1000", "ticket-0")


def test_a_flood_from_many_addresses_writes_few_events_and_counts_every_refusal() -> None:
    events = InMemoryEvents()
    log = _log(events)
    for number in range(5000):
        log.record(replace(ANN, address=f"10.0.{number // 250}.{number % 250}"), "t")
    log.close()
    assert len(events.stored) == MOST_AT_ONCE + 1
    assert sum(int(each.data["count"]) for each in events.stored.values()) == 5000


def test_refusals_are_written_while_the_process_lives() -> None:
    events = InMemoryEvents()
    log = _log(events, seconds=0.05)
    log.record(ANN, "t")
    wait_until(lambda: len(events.stored) == 1, seconds=10, what="the refusal is written")
    log.close()


def test_a_store_that_is_away_fails_no_request_and_is_used_again(caplog: pytest.LogCaptureFixture) -> None:
    events = EventsAway()
    log = _log(events, seconds=0.05)
    log.record(ANN, "t")
    wait_until(lambda: "An event is lost" in caplog.text, seconds=10, what="the loss is logged")
    events.away = False
    log.record(ANN, "t")
    wait_until(lambda: len(events.stored) == 1, seconds=10, what="the next refusal is written")
    log.close()
