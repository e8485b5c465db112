"""Sixty-four threads at once: the promises that keep machines safe hold under contention."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TypeVar

from tests.builders import NOW, a_machine, an_event, an_operation
from tests.fakes import FakeStore, SettableClock
from vai_app.domain.errors import MachineBusy, NameTaken
from vai_app.domain.hypervisor import NativeTask, TaskObservation, TaskState
from vai_app.domain.operations import Done, StepName, Wait, advance, begin
from vai_app.domain.ports.events import EventFilter
from vai_app.domain.ports.machines import MachineFilter
from vai_app.domain.ports.operations import LeaseLost, OperationFilter, PendingTask
from vai_app.domain.ports.paging import PageRequest
from vai_app.store import Store

AnyStore = Store | FakeStore
T = TypeVar("T")
THREADS = 64
EVERYTHING = PageRequest(size=500)


def at_once(call: Callable[[int], T]) -> list[T]:
    barrier = Barrier(THREADS)

    def wait_and_call(number: int) -> T:
        barrier.wait(timeout=30)
        return call(number)

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(wait_and_call, range(THREADS)))


def test_of_many_that_claim_one_operation_one_gets_it(store: AnyStore) -> None:
    operation = store.operations.insert(an_operation())
    claims = at_once(lambda number: store.operations.claim(operation.id, operation.step, f"worker-{number}", 60))
    winners = [claim for claim in claims if claim is not None]
    assert len(winners) == 1
    assert store.operations.get(operation.id, None) == winners[0]


def test_of_many_that_take_over_an_expired_lease_one_gets_it(store: AnyStore, clock: SettableClock) -> None:
    operation = store.operations.insert(an_operation())
    store.operations.claim(operation.id, operation.step, "dead", 10)
    clock.advance(10)
    claims = at_once(lambda number: store.operations.claim(operation.id, operation.step, f"worker-{number}", 60))
    assert [claim.attempts for claim in claims if claim is not None] == [2]


def test_of_many_that_save_one_claim_one_succeeds(store: AnyStore) -> None:
    operation = store.operations.insert(an_operation())
    held = store.operations.claim(operation.id, operation.step, "worker", 60)
    assert held is not None

    def save(number: int) -> int | None:
        try:
            store.operations.save(advance(begin(held, NOW), Done({"winner": number}), NOW), held)
        except LeaseLost:
            return None
        return number

    winners = [number for number in at_once(save) if number is not None]
    stored = store.operations.get(operation.id, None)
    assert winners == [stored.memo["winner"]]
    assert (stored.cursor, stored.version) == (1, 2)


def test_one_idempotency_key_sent_many_times_at_once_makes_one_operation(store: AnyStore) -> None:
    inserted = at_once(
        lambda _: store.operations.insert(an_operation(idempotency_key="key", payload_digest="aa"))
    )  # fmt: skip
    assert len({operation.id for operation in inserted}) == 1
    assert len(store.operations.page(OperationFilter(tenant=None), EVERYTHING).items) == 1


def test_of_many_operations_on_one_machine_one_is_accepted(store: AnyStore) -> None:
    def insert(_: int) -> bool:
        try:
            store.operations.insert(an_operation(target_id="vm-1"))
        except MachineBusy:
            return False
        return True

    assert sum(at_once(insert)) == 1


def test_of_many_machines_of_one_name_one_is_stored(store: AnyStore) -> None:
    def insert(_: int) -> bool:
        try:
            store.machines.insert(a_machine(name="web"))
        except NameTaken:
            return False
        return True

    assert sum(at_once(insert)) == 1
    assert len(store.machines.page(MachineFilter(tenant="acme"), EVERYTHING).items) == 1


def test_each_due_operation_is_handed_to_one_sweeper_only(store: AnyStore) -> None:
    for _ in range(40):
        store.operations.insert(an_operation(due_at=NOW))
    taken = [each.id for due in at_once(lambda _: store.operations.take_due(3)) for each in due]
    assert len(taken) == len(set(taken)) == 40


def test_of_many_watchers_that_see_a_task_end_one_records_it(store: AnyStore) -> None:
    operation = store.operations.insert(an_operation())
    held = store.operations.claim(operation.id, StepName.VALIDATE, "worker", 60)
    assert held is not None
    store.operations.save(advance(begin(held, NOW), Wait(seconds=5, native_task=NativeTask("task-1")), NOW), held)
    pending = PendingTask(operation.id, StepName.VALIDATE, "task-1")
    seen = TaskObservation("task-1", TaskState.SUCCEEDED)
    assert sum(at_once(lambda _: store.operations.record_task(pending, seen))) == 1
    assert store.operations.get(operation.id, None).version == 3


def test_of_many_that_want_a_lease_one_holds_it(store: AnyStore, clock: SettableClock) -> None:
    assert sum(at_once(lambda number: store.leases.hold("beat", f"watcher-{number}", 10))) == 1
    clock.advance(10)
    assert sum(at_once(lambda number: store.leases.hold("beat", f"heir-{number}", 10))) == 1


def test_an_event_appended_many_times_at_once_is_stored_once(store: AnyStore) -> None:
    event = an_event()
    at_once(lambda _: store.events.append(event))
    assert store.events.page(EventFilter(tenant=None), EVERYTHING).items == [event]
