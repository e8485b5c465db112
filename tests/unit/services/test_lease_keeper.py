"""The lease keeper: a slow step keeps its lease, a dead worker's step does not."""

from threading import Event

import pytest

from tests.builders import an_operation
from tests.fakes import FakeStore, SettableClock
from tests.lab.process import wait_until
from vai_app.domain.errors import ServiceUnavailable
from vai_app.domain.operations import Operation
from vai_app.services.lease_keeper import LeaseKeeper

LEASE_SECONDS = 0.15


@pytest.fixture
def store() -> FakeStore:
    return FakeStore(SettableClock())


def claimed(store: FakeStore) -> Operation:
    operation = store.operations.insert(an_operation())
    claim = store.operations.claim(operation.id, operation.step, "worker-1", LEASE_SECONDS)
    assert claim is not None
    return claim


def test_a_step_keeps_its_lease_for_as_long_as_it_runs(store: FakeStore) -> None:
    keeper = LeaseKeeper(operations=store.operations, lease_seconds=LEASE_SECONDS)
    held = claimed(store)
    clock = store.clock

    def renewed() -> bool:
        until = store.operations.get(held.id, None).lease_until
        return until is not None and until >= clock.now

    with keeper.keeping(held):
        for _ in range(5):
            clock.advance(LEASE_SECONDS * 2)
            wait_until(renewed, seconds=10, what="the lease is renewed")
    ended_at = store.operations.get(held.id, None).lease_until
    clock.advance(LEASE_SECONDS * 2)
    keeper.renew()
    assert store.operations.get(held.id, None).lease_until == ended_at


def test_a_lease_that_another_worker_took_is_given_up(store: FakeStore) -> None:
    keeper = LeaseKeeper(operations=store.operations, lease_seconds=3600)
    held = claimed(store)
    with keeper.keeping(held):
        store.clock.advance(LEASE_SECONDS)
        taken = store.operations.claim(held.id, held.step, "worker-2", 60)
        store.clock.advance(1)
        keeper.renew()
        assert store.operations.get(held.id, None) == taken


def test_trouble_with_the_database_is_tried_again(store: FakeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    keeper = LeaseKeeper(operations=store.operations, lease_seconds=3600)
    held = claimed(store)
    away, there = Event(), store.operations.renew
    away.set()

    def renew(operation: Operation, seconds: float) -> bool:
        if away.is_set():
            message = "The database cannot be reached."
            raise ServiceUnavailable(message)
        return there(operation, seconds)

    monkeypatch.setattr(store.operations, "renew", renew)
    with keeper.keeping(held):
        keeper.renew()
        away.clear()
        store.clock.advance(1)
        keeper.renew()
        until = store.operations.get(held.id, None).lease_until
        assert held.lease_until is not None
        assert until is not None
        assert until > held.lease_until
