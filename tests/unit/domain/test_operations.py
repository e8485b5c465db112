"""The state machine of operations, under every sequence of answers that its steps can give."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vai_app.domain.errors import CapacityShort, Conflict, ProviderUnavailable
from vai_app.domain.hypervisor import NativeTask
from vai_app.domain.operations import (
    LONGEST_RETRY_SECONDS,
    Done,
    Fail,
    Operation,
    OperationKind,
    OperationState,
    Outcome,
    Reject,
    Retreat,
    StepName,
    Wait,
    advance,
    begin,
    outcome_of_error,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
PLAN = (StepName.VALIDATE, StepName.PLACE, StepName.CREATE_VM, StepName.START_VM)


def an_open_operation() -> Operation:
    return Operation(
        id="op-1",
        kind=OperationKind.CREATE_VM,
        tenant="acme",
        requested_by="ann",
        correlation_id="cor-1",
        target_id="vm-1",
        datacenter_id="dc-1",
        arguments={},
        plan=PLAN,
        created_at=NOW,
        deadline=NOW + timedelta(minutes=5),
        due_at=NOW,
    )


def run(operation: Operation, *outcomes: Outcome) -> Operation:
    for outcome in outcomes:
        operation = advance(begin(operation, NOW), outcome, NOW)
    return operation


def test_every_step_done_succeeds() -> None:
    ended = run(an_open_operation(), *[Done()] * len(PLAN))
    assert ended.state is OperationState.SUCCEEDED
    assert [line.step for line in ended.history] == list(PLAN)
    assert ended.finished_at == NOW


def test_what_a_step_learned_is_known_to_the_next() -> None:
    assert run(an_open_operation(), Done({"a": 1}), Done({"b": 2})).memo == {"a": 1, "b": 2}


def test_a_failure_walks_back_from_the_failed_step_to_the_first() -> None:
    failed = run(an_open_operation(), Done(), Done(), Fail(CapacityShort("no room")))
    assert failed.state is OperationState.UNDOING
    assert failed.step is StepName.CREATE_VM
    ended = run(failed, Done(), Done(), Done())
    assert ended.state is OperationState.FAILED
    assert [line.step for line in ended.history if line.event == "undone"] == list(reversed(PLAN[:3]))
    assert ended.problem is not None
    assert (ended.problem.problem, ended.problem.step) == ("capacity-short", StepName.CREATE_VM)


def test_a_rejection_ends_as_rejected_after_its_undo() -> None:
    ended = run(an_open_operation(), Reject(CapacityShort("no room")), Done())
    assert ended.state is OperationState.REJECTED


def test_an_undo_that_fails_leaves_a_residue_and_goes_on_back() -> None:
    ended = run(an_open_operation(), Done(), Fail(CapacityShort("no room")), Fail(Conflict("cannot remove it")), Done())
    assert ended.state is OperationState.FAILED
    assert ended.residue == ("vai.place: cannot remove it",)


def test_a_cancelled_operation_turns_back_at_its_next_step() -> None:
    waiting = replace(run(an_open_operation(), Done(), Wait(5)), cancel_requested=True)
    turned = begin(waiting, NOW)
    assert turned.state is OperationState.UNDOING
    assert run(turned, Done(), Done()).state is OperationState.CANCELLED


def test_a_late_operation_turns_back_and_says_what_it_was_waiting_for() -> None:
    waiting = run(an_open_operation(), Wait(5, because=ProviderUnavailable("berlin does not answer")))
    turned = begin(waiting, waiting.deadline)
    assert turned.state is OperationState.UNDOING
    assert turned.problem is not None
    assert turned.problem.problem == "deadline-exceeded"
    assert "berlin does not answer" in turned.problem.detail


def test_an_undo_that_is_late_ends_with_a_residue_instead_of_never() -> None:
    turned = run(an_open_operation(), Fail(CapacityShort("no room")), Wait(5))
    ended = begin(turned, turned.deadline)
    assert ended.state is OperationState.FAILED
    assert ended.residue


def test_a_native_task_is_awaited_until_the_step_is_done() -> None:
    waiting = run(an_open_operation(), Wait(5, native_task=NativeTask("task-1")), Wait(5))
    assert waiting.native_task is not None
    assert waiting.native_task.ref == "task-1"
    assert run(waiting, Done()).native_task is None


def test_a_forgotten_task_is_asked_for_again() -> None:
    waiting = run(an_open_operation(), Wait(5, native_task=NativeTask("task-1")), Wait(1, forget_task=True))
    assert waiting.native_task is None


RETREAT = Retreat(StepName.PLACE, CapacityShort("no room"), {"short": ["dc-1"]})


def test_a_retreat_takes_back_down_to_its_step_and_goes_on_from_there() -> None:
    retreating = run(an_open_operation(), Done({"a": 1}), Done({"b": 2}), RETREAT)
    assert (retreating.state, retreating.step) == (OperationState.UNDOING, StepName.CREATE_VM)
    assert retreating.memo == {"a": 1, "b": 2}  # what the undo needs
    again = run(retreating, Wait(1), Done(), Done())
    assert (again.state, again.step, again.memo) == (OperationState.RUNNING, StepName.PLACE, {"short": ["dc-1"]})
    assert (again.problem, again.attempts, again.deadline) == (None, 0, retreating.deadline)
    assert run(again, *[Done()] * 3).state is OperationState.SUCCEEDED


def test_a_retreat_whose_undo_fails_goes_back_all_the_way_with_a_residue() -> None:
    ended = run(an_open_operation(), Done(), Done(), RETREAT, Fail(Conflict("cannot remove it")), Done(), Done())
    assert (ended.state, ended.residue) == (OperationState.FAILED, ("vai.create_vm: cannot remove it",))
    assert ended.problem is not None
    assert ended.problem.problem == "capacity-short"


def test_a_retreat_that_is_late_goes_back_all_the_way_and_has_the_time_for_it() -> None:
    retreating = run(an_open_operation(), Done(), Done(), RETREAT, Wait(5))
    late = begin(retreating, retreating.deadline)
    assert (late.state, late.step, late.residue) == (OperationState.UNDOING, StepName.CREATE_VM, ())
    assert late.deadline > retreating.deadline
    ended = run(late, *[Done()] * 3)
    assert ended.state is OperationState.FAILED
    assert ended.problem is not None
    assert ended.problem.problem == "deadline-exceeded"


def test_a_retreat_that_is_cancelled_turns_back_when_it_would_go_forward() -> None:
    retreating = replace(run(an_open_operation(), Done(), Done(), RETREAT), cancel_requested=True)
    again = begin(run(retreating, Done(), Done()), NOW)
    assert again.state is OperationState.UNDOING
    assert run(again, Done(), Done()).state is OperationState.CANCELLED


@pytest.mark.parametrize("state", [state for state in OperationState if not state.open])
def test_an_ended_operation_cannot_be_moved(state: OperationState) -> None:
    for target in OperationState:
        with pytest.raises(Conflict):
            replace(an_open_operation(), state=state).move_to(target)


@given(attempts=st.integers(min_value=1, max_value=100_000))
def test_pauses_grow_and_stay_bounded(attempts: int) -> None:
    outcome = outcome_of_error(ProviderUnavailable("away"), attempts)
    following = outcome_of_error(ProviderUnavailable("away"), attempts + 1)
    assert isinstance(outcome, Wait)
    assert isinstance(following, Wait)
    assert 0 < outcome.seconds <= following.seconds <= LONGEST_RETRY_SECONDS


OUTCOMES = st.one_of(
    st.just(Done()),
    st.builds(Wait, seconds=st.floats(min_value=0, max_value=60)),
    st.just(Reject(CapacityShort("no room"))),
    st.just(Fail(Conflict("no"))),
    st.just(Retreat(StepName.VALIDATE, CapacityShort("no room"))),
)


TURNS = ("rejected", "failed", "cancelled", "retreated")


@settings(max_examples=500, deadline=None)
@given(outcomes=st.lists(OUTCOMES, max_size=60))
def test_any_sequence_of_answers_keeps_the_operation_sound(outcomes: list[Outcome]) -> None:
    operation = an_open_operation()
    for outcome in outcomes:
        if not operation.state.open:
            break
        operation = replace(advance(begin(operation, NOW), outcome, NOW), lease_owner=None)
        assert 0 <= operation.cursor < len(PLAN)
    lines = operation.history
    if operation.state is OperationState.SUCCEEDED:
        assert operation.problem is None
        assert operation.retreat is None
    elif not operation.state.open:
        # From the step at which it turned back for good, each one was taken back, in reverse, or is named as residue.
        turn = max(at for at, line in enumerate(lines) if line.event in TURNS)
        undone = [line.step for line in lines[turn:] if line.event in ("undone", "undo-failed")]
        assert undone == list(reversed(PLAN[: PLAN.index(lines[turn].step) + 1]))
        assert operation.problem is not None
    assert operation.state.open == (operation.finished_at is None)
