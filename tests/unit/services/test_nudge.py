"""The nudge while the broker answers, and while it does not."""

from tests.builders import an_operation
from tests.fakes import FakeStore, RecordingDispatcher, SettableClock
from vai_app.services.nudge import Nudge


def test_a_nudge_publishes_the_step() -> None:
    store, dispatcher = FakeStore(SettableClock()), RecordingDispatcher()
    operation = store.operations.insert(an_operation())
    Nudge(store.operations, dispatcher)(operation.step, operation.id)
    assert dispatcher.published == [(operation.step, operation.id)]
    assert store.operations.take_due(10) == []


def test_without_a_broker_the_sweeper_finds_the_operation_at_its_next_look() -> None:
    store, dispatcher = FakeStore(SettableClock()), RecordingDispatcher()
    operation = store.operations.insert(an_operation())
    dispatcher.away = True
    Nudge(store.operations, dispatcher)(operation.step, operation.id)
    assert [each.id for each in store.operations.take_due(10)] == [operation.id]
