"""What both operation repositories promise."""

from dataclasses import replace
from datetime import timedelta

import pytest

from tests.builders import NOW, an_operation
from tests.fakes import FakeStore, SettableClock
from vai_app.domain.errors import CapacityShort, Conflict, IdempotencyKeyReused, MachineBusy, NotFound
from vai_app.domain.hypervisor import NativeTask, TaskObservation, TaskState
from vai_app.domain.operations import (
    REPUBLISH_SECONDS,
    AwaitedTask,
    Done,
    Operation,
    OperationKind,
    OperationState,
    Outcome,
    Reject,
    StepName,
    StepRecord,
    Wait,
    advance,
    begin,
    problem_of,
)
from vai_app.domain.ports.operations import LeaseLost, OperationFilter, PendingTask
from vai_app.domain.ports.paging import PageRequest
from vai_app.store import Store

AnyStore = Store | FakeStore


def claimed(store: AnyStore, operation: Operation, owner: str = "worker-1", seconds: float = 60) -> Operation:
    claim = store.operations.claim(operation.id, operation.step, owner, seconds)
    assert claim is not None
    return claim


def ended(store: AnyStore, operation: Operation) -> Operation:
    claim = claimed(store, operation)
    turned = advance(begin(claim, NOW), Reject(CapacityShort("full")), NOW)
    return store.operations.save(advance(turned, Done(), NOW), claim)


def saved_after(store: AnyStore, claim: Operation, outcome: Outcome) -> Operation:
    return store.operations.save(advance(begin(claim, NOW), outcome, NOW), claim)


def waiting(store: AnyStore, operation: Operation, ref: str = "task-1") -> Operation:
    return saved_after(store, claimed(store, operation), Wait(seconds=5, native_task=NativeTask(ref)))


def test_an_inserted_operation_is_read_back_as_it_was(store: AnyStore) -> None:
    operation = an_operation(
        arguments={"spec": {"name": "web", "networks": ["a", "b"]}, "labels": {"a.b": "$c"}}, memo={"n": 1}
    )
    assert store.operations.insert(operation) == operation
    assert store.operations.get(operation.id, None) == operation


def test_a_saved_operation_is_read_back_as_it_was(store: AnyStore) -> None:
    saved = waiting(store, store.operations.insert(an_operation()))
    assert store.operations.get(saved.id, None) == saved
    finished = ended(store, store.operations.insert(an_operation()))
    assert store.operations.get(finished.id, None) == finished


def test_another_tenants_operation_is_not_found(store: AnyStore) -> None:
    operation = store.operations.insert(an_operation(tenant="acme"))
    assert store.operations.get(operation.id, "acme") == operation
    with pytest.raises(NotFound):
        store.operations.get(operation.id, "globex")
    with pytest.raises(NotFound):
        store.operations.get("op-none", None)


def test_a_target_has_one_open_operation_at_most(store: AnyStore) -> None:
    first = store.operations.insert(an_operation(target_id="vm-1"))
    with pytest.raises(MachineBusy):
        store.operations.insert(an_operation(target_id="vm-1"))
    ended(store, first)
    second = store.operations.insert(an_operation(target_id="vm-1"))
    assert store.operations.open_on(["vm-1", "vm-2"]) == {"vm-1": second}


def test_an_idempotency_key_returns_the_operation_that_it_made(store: AnyStore) -> None:
    first = store.operations.insert(an_operation(idempotency_key="key", payload_digest="aa"))
    again = an_operation(idempotency_key="key", payload_digest="aa")
    assert store.operations.insert(again) == first
    with pytest.raises(NotFound):
        store.operations.get(again.id, None)


def test_an_idempotency_key_returns_its_operation_also_after_its_end_and_on_a_busy_machine(store: AnyStore) -> None:
    first = store.operations.insert(an_operation(target_id="vm-1", idempotency_key="key", payload_digest="aa"))
    again = an_operation(target_id="vm-1", idempotency_key="key", payload_digest="aa")
    assert store.operations.insert(again) == first
    finished = ended(store, first)
    assert store.operations.insert(again) == finished


def test_an_idempotency_key_with_another_payload_is_refused(store: AnyStore) -> None:
    store.operations.insert(an_operation(idempotency_key="key", payload_digest="aa"))
    with pytest.raises(IdempotencyKeyReused):
        store.operations.insert(an_operation(idempotency_key="key", payload_digest="bb"))


def test_a_repeated_request_is_recognised_before_anything_is_stored(store: AnyStore) -> None:
    first = an_operation(idempotency_key="key", payload_digest="aa")
    assert store.operations.repeated(first) is None
    store.operations.insert(first)
    assert store.operations.repeated(an_operation(idempotency_key="key", payload_digest="aa")) == first
    assert store.operations.repeated(an_operation(idempotency_key=None)) is None
    with pytest.raises(IdempotencyKeyReused):
        store.operations.repeated(an_operation(idempotency_key="key", payload_digest="bb"))


def test_tenants_do_not_share_idempotency_keys(store: AnyStore) -> None:
    store.operations.insert(an_operation(tenant="acme", idempotency_key="key", payload_digest="aa"))
    theirs = an_operation(tenant="globex", idempotency_key="key", payload_digest="bb")
    assert store.operations.insert(theirs) == theirs


def test_a_claim_takes_the_lease_and_counts_version_and_attempt(store: AnyStore, clock: SettableClock) -> None:
    operation = store.operations.insert(an_operation())
    until = clock.now + timedelta(seconds=60)
    expected = replace(
        operation, lease_owner="worker-1", lease_until=until, due_at=until, version=1, attempts=1
    )  # fmt: skip
    assert claimed(store, operation) == expected
    assert store.operations.get(operation.id, None) == expected


def test_a_leased_operation_cannot_be_claimed_until_the_lease_ends(store: AnyStore, clock: SettableClock) -> None:
    operation = store.operations.insert(an_operation())
    claimed(store, operation, seconds=60)
    clock.advance(59.999)
    assert store.operations.claim(operation.id, operation.step, "worker-2", 60) is None
    clock.advance(0.001)
    again = claimed(store, operation, owner="worker-2")
    assert (again.lease_owner, again.version, again.attempts) == ("worker-2", 2, 2)


@pytest.mark.parametrize("strangers", [0, 3, 400])
def test_the_open_operations_of_a_page_are_found_however_many_others_are_open(store: AnyStore, strangers: int) -> None:
    for number in range(strangers):
        store.operations.insert(an_operation(target_id=f"vm-m{number:04}"))
    wanted = [store.operations.insert(an_operation(target_id=target)) for target in ("vm-a", "vm-m", "vm-z")]
    found = store.operations.open_on(["vm-z", "vm-a", "vm-m", "vm-idle"])
    assert found == {each.target_id: each for each in wanted}
    assert store.operations.open_on([]) == {}


def test_only_the_current_step_of_an_open_operation_can_be_claimed(store: AnyStore) -> None:
    operation = store.operations.insert(an_operation())
    assert store.operations.claim(operation.id, StepName.START_VM, "worker-1", 60) is None
    assert store.operations.claim("op-none", operation.step, "worker-1", 60) is None
    finished = ended(store, operation)
    assert store.operations.claim(operation.id, finished.step, "worker-1", 60) is None


def test_a_renewed_claim_outlives_its_lease(store: AnyStore, clock: SettableClock) -> None:
    held = claimed(store, store.operations.insert(an_operation()), seconds=10)
    clock.advance(9)
    assert store.operations.renew(held, 10)
    clock.advance(9)
    assert store.operations.claim(held.id, held.step, "worker-2", 10) is None
    assert store.operations.take_due(10) == []
    assert store.operations.save(begin(held, NOW), held).version == held.version + 1


def test_a_claim_that_another_worker_took_is_not_renewed(store: AnyStore, clock: SettableClock) -> None:
    slow = claimed(store, store.operations.insert(an_operation()), seconds=10)
    clock.advance(10)
    taken = claimed(store, slow, owner="worker-2", seconds=10)
    assert not store.operations.renew(slow, 3600)
    assert store.operations.get(slow.id, None) == taken


def test_what_nobody_holds_is_not_renewed(store: AnyStore) -> None:
    idle = store.operations.insert(an_operation())
    assert not store.operations.renew(idle, 10)
    saved = waiting(store, idle)
    assert not store.operations.renew(saved, 10)
    assert store.operations.get(idle.id, None) == saved


def test_a_claim_is_not_renewed_beyond_the_deadline(store: AnyStore, clock: SettableClock) -> None:
    held = claimed(store, store.operations.insert(an_operation(deadline=NOW + timedelta(seconds=20))), seconds=30)
    clock.advance(20)
    assert not store.operations.renew(held, 30)


def test_after_a_step_forward_the_next_step_is_the_one_to_claim(store: AnyStore) -> None:
    operation = store.operations.insert(an_operation())
    saved = saved_after(store, claimed(store, operation), Done({"host": "h1"}))
    assert (saved.step, saved.version, saved.memo) == (StepName.PLACE, 2, {"host": "h1"})
    assert store.operations.claim(operation.id, StepName.VALIDATE, "worker-1", 60) is None
    assert claimed(store, saved).attempts == 1


def test_a_save_after_the_lease_went_to_another_worker_is_refused(store: AnyStore, clock: SettableClock) -> None:
    operation = store.operations.insert(an_operation())
    slow = claimed(store, operation, seconds=10)
    clock.advance(10)
    taken_over = claimed(store, operation, owner="worker-2")
    with pytest.raises(LeaseLost):
        saved_after(store, slow, Done())
    assert store.operations.get(operation.id, None) == taken_over


def test_every_field_that_a_step_changed_is_saved(store: AnyStore) -> None:
    claim = claimed(store, store.operations.insert(an_operation(explanation={"chosen": None}, memo={"candidate": 1})))
    other = an_operation(
        state=OperationState.UNDOING,
        ending=OperationState.FAILED,
        cursor=1,
        attempts=7,
        memo={"other": "memo"},
        native_task=AwaitedTask("task-1", NOW, "machine-1", undoing=True),
        problem=problem_of(CapacityShort("full"), StepName.PLACE),
        waiting_for=problem_of(CapacityShort("nearly full"), None),
        retreat={"candidate": 2},
        retreat_to=1,
        residue=("a disk",),
        history=(StepRecord(StepName.PLACE, "undone", NOW, 1),),
        explanation={"chosen": "dc-2"},
        datacenter_id="dc-2",
        deadline=NOW + timedelta(hours=2),
        due_at=NOW + timedelta(hours=1),
        lease_owner="worker-9",
        lease_until=NOW + timedelta(minutes=3),
        finished_at=NOW,
    )
    changed = replace(other, id=claim.id, target_id=claim.target_id, version=claim.version)
    saved = store.operations.save(changed, claim)
    assert saved == replace(changed, version=claim.version + 1)
    assert store.operations.get(claim.id, None) == saved


def test_what_a_step_left_alone_stays_as_it_was(store: AnyStore) -> None:
    asked = an_operation(
        arguments={"spec": {"name": "web"}}, explanation={"chosen": "dc-1"}, memo={"candidate": 1}, residue=("a disk",)
    )
    claim = claimed(store, store.operations.insert(asked))
    saved_after(store, claim, Done())
    stored = store.operations.get(claim.id, None)
    assert (stored.arguments, stored.explanation) == (asked.arguments, asked.explanation)
    assert (stored.memo, stored.residue) == (asked.memo, asked.residue)


def test_saving_twice_is_refused(store: AnyStore) -> None:
    claim = claimed(store, store.operations.insert(an_operation()))
    saved_after(store, claim, Done())
    with pytest.raises(LeaseLost):
        saved_after(store, claim, Done())


def test_saving_what_was_never_stored_is_refused(store: AnyStore) -> None:
    with pytest.raises(LeaseLost):
        store.operations.save(an_operation(), an_operation())


def test_a_wish_to_cancel_survives_the_save_of_a_worker_that_did_not_know_it(
    store: AnyStore, clock: SettableClock
) -> None:
    operation = store.operations.insert(an_operation())
    claim = claimed(store, operation)
    cancelled = store.operations.request_cancel(operation.id, "acme")
    assert (cancelled.cancel_requested, cancelled.version) == (True, 1)
    saved = saved_after(store, claim, Wait(seconds=30))
    assert saved.cancel_requested
    assert saved.due_at == clock.now
    assert store.operations.get(operation.id, None) == saved
    assert [each.id for each in store.operations.take_due(10)] == [operation.id]


def test_a_cancelled_operation_is_due_at_once(store: AnyStore, clock: SettableClock) -> None:
    operation = store.operations.insert(an_operation())
    assert store.operations.request_cancel(operation.id, None).due_at == clock.now
    assert claimed(store, operation).cancel_requested


def test_only_the_tenants_own_open_operation_can_be_cancelled(store: AnyStore) -> None:
    operation = store.operations.insert(an_operation(tenant="acme"))
    with pytest.raises(NotFound):
        store.operations.request_cancel(operation.id, "globex")
    with pytest.raises(NotFound):
        store.operations.request_cancel("op-none", None)
    ended(store, operation)
    with pytest.raises(Conflict, match="rejected"):
        store.operations.request_cancel(operation.id, "acme")


def test_the_end_of_an_awaited_task_is_recorded_once(store: AnyStore, clock: SettableClock) -> None:
    saved = waiting(store, store.operations.insert(an_operation()), ref="task-7")
    pending = PendingTask(saved.id, saved.step, "task-7")
    assert store.operations.pending_tasks("dc-1") == [pending]
    seen = TaskObservation("task-7", TaskState.SUCCEEDED, machine_ref="machine-9")
    clock.advance(1)
    assert store.operations.record_task(pending, seen)
    assert not store.operations.record_task(pending, seen)
    stored = store.operations.get(saved.id, None)
    assert stored.native_task is not None
    assert (stored.native_task.state, stored.native_task.machine_ref) == (TaskState.SUCCEEDED, "machine-9")
    assert stored.version == saved.version + 1
    assert stored.due_at == clock.now + timedelta(seconds=REPUBLISH_SECONDS)
    assert store.operations.pending_tasks("dc-1") == []


def test_a_failed_task_is_recorded_with_its_problem(store: AnyStore) -> None:
    saved = waiting(store, store.operations.insert(an_operation()))
    pending = PendingTask(saved.id, saved.step, "task-1")
    store.operations.record_task(pending, TaskObservation("task-1", TaskState.FAILED, error=CapacityShort("no room")))
    task = store.operations.get(saved.id, None).native_task
    assert task is not None
    assert task.problem is not None
    assert (task.problem.problem, task.problem.detail, task.problem.step) == ("capacity-short", "no room", saved.step)


def test_a_task_is_not_recorded_while_a_worker_holds_the_operation(store: AnyStore, clock: SettableClock) -> None:
    saved = waiting(store, store.operations.insert(an_operation()))
    claimed(store, saved, seconds=60)
    pending = PendingTask(saved.id, saved.step, "task-1")
    seen = TaskObservation("task-1", TaskState.SUCCEEDED)
    assert not store.operations.record_task(pending, seen)
    clock.advance(60)
    assert store.operations.record_task(pending, seen)


def test_a_task_that_is_no_longer_awaited_is_not_recorded(store: AnyStore) -> None:
    operation = store.operations.insert(an_operation())
    seen = TaskObservation("task-1", TaskState.SUCCEEDED)
    assert not store.operations.record_task(PendingTask(operation.id, operation.step, "task-1"), seen)
    saved = waiting(store, operation, ref="task-2")
    assert not store.operations.record_task(PendingTask(saved.id, saved.step, "task-1"), seen)
    assert not store.operations.record_task(PendingTask("op-none", saved.step, "task-2"), seen)


def test_a_recorded_task_makes_an_older_save_stale(store: AnyStore, clock: SettableClock) -> None:
    saved = waiting(store, store.operations.insert(an_operation()))
    slow = claimed(store, saved, seconds=5)
    clock.advance(5)
    seen = TaskObservation("task-1", TaskState.SUCCEEDED)
    assert store.operations.record_task(PendingTask(saved.id, saved.step, "task-1"), seen)
    with pytest.raises(LeaseLost):
        saved_after(store, slow, Done())


def test_pending_tasks_are_those_of_open_operations_in_the_datacenter(store: AnyStore) -> None:
    here = waiting(store, store.operations.insert(an_operation(datacenter_id="dc-1")), ref="task-1")
    waiting(store, store.operations.insert(an_operation(datacenter_id="dc-2")), ref="task-2")
    store.operations.insert(an_operation(datacenter_id="dc-1"))
    assert store.operations.pending_tasks("dc-1") == [PendingTask(here.id, here.step, "task-1")]


def test_what_is_due_is_handed_out_once_and_again_after_the_pause(store: AnyStore, clock: SettableClock) -> None:
    operation = store.operations.insert(an_operation(due_at=NOW))
    store.operations.insert(an_operation(due_at=NOW + timedelta(seconds=100)))
    assert [each.id for each in store.operations.take_due(10)] == [operation.id]
    assert store.operations.take_due(10) == []
    clock.advance(REPUBLISH_SECONDS)
    again = store.operations.take_due(10)
    assert [(each.id, each.version) for each in again] == [(operation.id, 0)]


def test_what_is_due_longest_is_handed_out_first_and_not_more_than_asked(store: AnyStore) -> None:
    operations = [an_operation(due_at=NOW - timedelta(seconds=age)) for age in (1, 3, 2)]
    for operation in operations:
        store.operations.insert(operation)
    assert [each.id for each in store.operations.take_due(2)] == [operations[1].id, operations[2].id]
    assert [each.id for each in store.operations.take_due(2)] == [operations[0].id]


def test_a_leased_operation_is_not_due(store: AnyStore, clock: SettableClock) -> None:
    operation = store.operations.insert(an_operation(due_at=NOW))
    claimed(store, operation, seconds=60)
    store.operations.request_cancel(operation.id, None)
    assert store.operations.take_due(10) == []
    clock.advance(60)
    assert [each.id for each in store.operations.take_due(10)] == [operation.id]


def test_what_could_not_be_published_is_due_at_the_next_look(store: AnyStore, clock: SettableClock) -> None:
    operation = store.operations.insert(an_operation(due_at=NOW + timedelta(seconds=100)))
    store.operations.make_due(operation.id)
    assert [each.id for each in store.operations.take_due(10)] == [operation.id]
    claimed(store, operation, seconds=60)
    store.operations.make_due(operation.id)
    clock.advance(59)
    assert store.operations.take_due(10) == []


def test_an_ended_operation_is_never_due(store: AnyStore, clock: SettableClock) -> None:
    ended(store, store.operations.insert(an_operation(due_at=NOW)))
    clock.advance(10_000)
    assert store.operations.take_due(10) == []


def test_residue_can_be_cleared(store: AnyStore) -> None:
    operation = store.operations.insert(an_operation(residue=("disk left",)))
    store.operations.clear_residue(operation.id)
    assert store.operations.get(operation.id, None).residue == ()


def test_operations_are_listed_newest_first_and_filtered(store: AnyStore) -> None:
    first = store.operations.insert(an_operation(target_id="vm-a"))
    second = store.operations.insert(an_operation(tenant="globex", kind=OperationKind.DELETE_VM, datacenter_id="dc-2"))
    third = ended(store, store.operations.insert(an_operation()))

    def ids(**properties: object) -> list[str]:
        wanted = OperationFilter(**{"tenant": None, **properties})  # type: ignore[arg-type]
        return [each.id for each in store.operations.page(wanted, PageRequest()).items]

    assert ids() == [third.id, second.id, first.id]
    assert ids(tenant="acme") == [third.id, first.id]
    assert ids(kind=OperationKind.DELETE_VM) == [second.id]
    assert ids(state=OperationState.REJECTED) == [third.id]
    assert ids(target_id="vm-a") == [first.id]
    assert ids(datacenter_id="dc-2") == [second.id]
    assert ids(open=True) == [second.id, first.id]
    assert ids(open=False, tenant="globex") == []
