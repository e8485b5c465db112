"""Operations: one change of the world each, as a document that knows its plan and how far it came.

The functions here are the whole state machine, pure: ``advance`` takes an operation and what a step answered
and returns the operation as it must be stored. Nobody else assigns a state or a cursor.

::

    PENDING -> RUNNING -> SUCCEEDED
                |   ^
                v   |   (a retreat: back to an earlier step, and forward again from there)
               UNDOING -> FAILED | REJECTED | CANCELLED
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from vai_app.domain.errors import Cancelled, Conflict, DeadlineExceeded, VaiError
from vai_app.domain.hypervisor import NativeTask, TaskState

FIRST_RETRY_SECONDS = 0.5
LONGEST_RETRY_SECONDS = 30.0
UNDO_SECONDS = 900.0
REPUBLISH_SECONDS = 30.0


class OperationKind(StrEnum):
    """What an operation does; the plan of each kind is in ``services/plans.py``."""

    CREATE_VM = "create_vm"
    DELETE_VM = "delete_vm"
    POWER_VM = "power_vm"
    RESIZE_VM = "resize_vm"
    MIGRATE_VM = "migrate_vm"
    SNAPSHOT_VM = "snapshot_vm"
    RESTORE_VM = "restore_vm"
    DELETE_SNAPSHOT = "delete_snapshot"
    ADOPT_VM = "adopt_vm"
    CREATE_BATCH = "create_batch"


class StepName(StrEnum):
    """The names of the steps are the names of the Celery tasks and a contract on the wire."""

    VALIDATE = "vai.validate"
    PLACE = "vai.place"
    CREATE_VM = "vai.create_vm"
    START_VM = "vai.start_vm"
    STOP_VM = "vai.stop_vm"
    DELETE_VM = "vai.delete_vm"
    CHANGE_POWER = "vai.change_power"
    RESIZE_VM = "vai.resize_vm"
    MIGRATE_VM = "vai.migrate_vm"
    TAKE_SNAPSHOT = "vai.take_snapshot"
    RESTORE_VM = "vai.restore_vm"
    REGAIN_POWER = "vai.regain_power"
    DELETE_SNAPSHOTS = "vai.delete_snapshots"
    ADOPT_VM = "vai.adopt_vm"
    PLACE_BATCH = "vai.place_batch"
    AWAIT_BATCH = "vai.await_batch"


class OperationState(StrEnum):
    """Where an operation stands."""

    PENDING = "pending"
    RUNNING = "running"
    UNDOING = "undoing"
    SUCCEEDED = "succeeded"
    REJECTED = "rejected"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def open(self) -> bool:
        """Whether something is still to be done."""
        return bool(_MOVES[self])


_ENDS = frozenset({OperationState.REJECTED, OperationState.FAILED, OperationState.CANCELLED})
_MOVES: Mapping[OperationState, frozenset[OperationState]] = {
    OperationState.PENDING: frozenset({OperationState.RUNNING}),
    OperationState.RUNNING: frozenset({OperationState.SUCCEEDED, OperationState.UNDOING}),
    OperationState.UNDOING: _ENDS | {OperationState.RUNNING},
    OperationState.SUCCEEDED: frozenset(),
    **{end: frozenset[OperationState]() for end in _ENDS},
}


@dataclass(frozen=True, slots=True)
class Done:
    """The step's promise holds. ``memo`` is what later steps and the undo need to know.

    ``datacenter_id`` is where the operation goes on, when the step chose; ``explanation`` is why.
    """

    memo: Mapping[str, Any] = field(default_factory=dict)
    datacenter_id: str | None = None
    explanation: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Wait:
    """Come back after ``seconds``, or as soon as ``native_task`` ends.

    Without ``native_task`` the one awaited so far stays awaited, unless ``forget_task``.
    """

    seconds: float
    native_task: NativeTask | None = None
    memo: Mapping[str, Any] = field(default_factory=dict)
    because: VaiError | None = None
    forget_task: bool = False


@dataclass(frozen=True, slots=True)
class Reject:
    """The request itself cannot be granted; nothing is wrong with the world. ``explanation`` says why."""

    error: VaiError
    explanation: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Fail:
    """The step cannot succeed, now or later."""

    error: VaiError


@dataclass(frozen=True, slots=True)
class Retreat:
    """Take back everything down to ``step``, and go on from there knowing ``memo``, which is all that is remembered."""

    step: StepName
    error: VaiError
    memo: Mapping[str, Any] = field(default_factory=dict)


Outcome = Done | Wait | Reject | Fail | Retreat


@dataclass(frozen=True, slots=True)
class Problem:
    """Why an operation did not succeed, in words for people. ``problem`` is an error class's stable name."""

    problem: str
    title: str
    detail: str
    step: StepName | None = None


@dataclass(frozen=True, slots=True)
class AwaitedTask:
    """The native task that the current step waits for; ``state`` is written by whoever saw it end."""

    ref: str
    requested_at: datetime
    machine_ref: str | None = None
    state: TaskState = TaskState.RUNNING
    problem: Problem | None = None
    undoing: bool = False  # requested by the step's undo, not by its do


@dataclass(frozen=True, slots=True)
class StepRecord:
    """One line of an operation's history."""

    step: StepName
    event: str  # done, undone, rejected, failed, undo-failed, cancelled, retreated
    at: datetime
    attempts: int
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class Operation:
    """One change of the world. ``due_at`` is when the sweeper publishes the current step if nobody else did."""

    id: str
    kind: OperationKind
    tenant: str
    requested_by: str
    correlation_id: str
    target_id: str
    datacenter_id: str | None
    arguments: Mapping[str, Any]
    plan: tuple[StepName, ...]
    created_at: datetime
    deadline: datetime
    due_at: datetime
    state: OperationState = OperationState.PENDING
    ending: OperationState | None = None  # where UNDOING leads
    retreat: Mapping[str, Any] | None = None  # the memo with which UNDOING turns forward again, at ``retreat_to``
    retreat_to: int = 0
    cursor: int = 0
    attempts: int = 0  # claims of the current step since it last made progress
    memo: Mapping[str, Any] = field(default_factory=dict)
    native_task: AwaitedTask | None = None
    problem: Problem | None = None
    waiting_for: Problem | None = None  # the trouble that is being waited out
    residue: tuple[str, ...] = ()
    history: tuple[StepRecord, ...] = ()
    cancel_requested: bool = False
    idempotency_key: str | None = None
    payload_digest: str | None = None
    explanation: Mapping[str, Any] | None = None  # of the placement that decided, bounded in size
    version: int = 0
    lease_owner: str | None = None
    lease_until: datetime | None = None
    finished_at: datetime | None = None

    @property
    def step(self) -> StepName:
        """The step at the cursor."""
        return self.plan[self.cursor]

    @property
    def recommended_datacenter_id(self) -> str | None:
        """Where a rejected creation would fit, if one call may confirm it."""
        wish = self.arguments.get("placement") or {}
        if self.state is not OperationState.REJECTED or wish.get("elsewhere") == "never" or not self.explanation:
            return None
        alternative: str | None = self.explanation.get("alternative")
        return alternative

    def move_to(self, state: OperationState) -> "Operation":
        """Return the operation in another state. Raises Conflict where the table has no such move."""
        if state not in _MOVES[self.state]:
            message = f"An operation that is {self.state} cannot become {state}."
            raise Conflict(message)
        return replace(self, state=state)


def begin(operation: Operation, now: datetime) -> Operation:
    """Return a claimed operation ready for its step: started, or turned back when cancelled or too late."""
    if operation.state is OperationState.PENDING:
        operation = operation.move_to(OperationState.RUNNING)
    if operation.state is OperationState.RUNNING and operation.cancel_requested:
        return _turn_back(operation, Cancelled("A user cancelled the operation."), OperationState.CANCELLED, now)
    if now < operation.deadline:
        return operation
    late = DeadlineExceeded(_deadline_detail(operation))
    if operation.state is OperationState.RUNNING:
        return _turn_back(operation, late, OperationState.FAILED, now)
    if operation.retreat is not None:
        return _end_retreat(operation, late, now)
    return _after_failed_undo(operation, late, now)


def advance(operation: Operation, outcome: Outcome, now: datetime) -> Operation:
    """Return the operation after its step answered ``outcome``; the lease is given back."""
    match outcome:
        case Wait():
            advanced = _wait(operation, outcome, now)
        case Done() if operation.state is OperationState.UNDOING:
            advanced = _step_back(_record(operation, "undone", now), now)
        case Done():
            advanced = _step_forward(operation, outcome, now)
        case Reject() | Fail() | Retreat() if operation.state is OperationState.UNDOING:
            advanced = _after_failed_undo(operation, outcome.error, now)
        case Reject():
            explained = replace(operation, explanation=outcome.explanation or operation.explanation)
            advanced = _turn_back(explained, outcome.error, OperationState.REJECTED, now)
        case Fail():
            advanced = _turn_back(operation, outcome.error, OperationState.FAILED, now)
        case Retreat():
            advanced = _retreat(operation, outcome, now)
    return replace(advanced, lease_owner=None, lease_until=None)


def keep_claim(operation: Operation, owner: str, until: datetime) -> Operation:
    """Return an advanced operation as its holder claims it again for the next step, in the same save."""
    return replace(operation, lease_owner=owner, lease_until=until, due_at=until, attempts=1)


def outcome_of_error(error: VaiError, attempts: int) -> Outcome:
    """Return what a step's error means: trouble that passes is waited out with growing pauses, the rest fails."""
    if not error.retryable:
        return Fail(error)
    pause = min(LONGEST_RETRY_SECONDS, FIRST_RETRY_SECONDS * 2.0 ** min(attempts - 1, 10))
    return Wait(seconds=pause, because=error)


def problem_of(error: VaiError, step: StepName | None) -> Problem:
    """Return an error as it is stored and shown."""
    return Problem(problem=error.problem, title=error.title, detail=error.detail, step=step)


def _wait(operation: Operation, outcome: Wait, now: datetime) -> Operation:
    awaited = None if outcome.forget_task else operation.native_task
    if outcome.native_task is not None:
        task = outcome.native_task
        undoing = operation.state is OperationState.UNDOING
        awaited = AwaitedTask(ref=task.ref, machine_ref=task.machine_ref, requested_at=now, undoing=undoing)
    return replace(
        operation,
        memo={**operation.memo, **outcome.memo},
        native_task=awaited,
        due_at=now + timedelta(seconds=outcome.seconds),
        waiting_for=problem_of(outcome.because, operation.step) if outcome.because else None,
    )


def _step_forward(operation: Operation, outcome: Done, now: datetime) -> Operation:
    recorded = _progress(_record(operation, "done", now), now)
    recorded = replace(
        recorded,
        memo={**operation.memo, **outcome.memo},
        datacenter_id=outcome.datacenter_id or operation.datacenter_id,
        explanation=outcome.explanation or operation.explanation,
    )
    if operation.cursor + 1 < len(operation.plan):
        return replace(recorded, cursor=operation.cursor + 1)
    return replace(recorded.move_to(OperationState.SUCCEEDED), finished_at=now)


def _turn_back(operation: Operation, error: VaiError, ending: OperationState, now: datetime) -> Operation:
    """Begin the undo at the current step, which may be half done."""
    event = {OperationState.REJECTED: "rejected", OperationState.CANCELLED: "cancelled"}.get(ending, "failed")
    turned = _record(operation, event, now, error.detail).move_to(OperationState.UNDOING)
    return replace(
        turned,
        ending=ending,
        problem=problem_of(error, operation.step),
        waiting_for=None,
        attempts=0,
        due_at=now + timedelta(seconds=REPUBLISH_SECONDS),
        deadline=now + timedelta(seconds=UNDO_SECONDS),
    )


def _retreat(operation: Operation, outcome: Retreat, now: datetime) -> Operation:
    """Begin the undo at the current step, within the operation's own deadline."""
    turned = _record(operation, "retreated", now, outcome.error.detail).move_to(OperationState.UNDOING)
    return replace(
        turned,
        retreat=outcome.memo,
        retreat_to=operation.plan.index(outcome.step),
        problem=problem_of(outcome.error, operation.step),
        waiting_for=None,
        attempts=0,
        due_at=now + timedelta(seconds=REPUBLISH_SECONDS),
    )


def _end_retreat(operation: Operation, error: VaiError, now: datetime) -> Operation:
    """Go back all the way: it is too late to go forward again."""
    return replace(
        operation,
        retreat=None,
        ending=OperationState.FAILED,
        problem=problem_of(error, operation.step),
        deadline=now + timedelta(seconds=UNDO_SECONDS),
    )


def _step_back(operation: Operation, now: datetime) -> Operation:
    operation = _progress(operation, now)
    if operation.retreat is not None and operation.cursor == operation.retreat_to:
        forward = operation.move_to(OperationState.RUNNING)
        return replace(forward, memo=operation.retreat, retreat=None, problem=None)
    if operation.cursor > 0:
        return replace(operation, cursor=operation.cursor - 1)
    ending = operation.ending or OperationState.FAILED
    return replace(operation.move_to(ending), finished_at=now)


def _after_failed_undo(operation: Operation, error: VaiError, now: datetime) -> Operation:
    left = f"{operation.step}: {error.detail}"
    recorded = _record(operation, "undo-failed", now, error.detail)
    extended = replace(recorded, deadline=now + timedelta(seconds=UNDO_SECONDS), retreat=None)
    return _step_back(replace(extended, residue=(*operation.residue, left), ending=OperationState.FAILED), now)


def _progress(operation: Operation, now: datetime) -> Operation:
    return replace(
        operation,
        attempts=0,
        native_task=None,
        waiting_for=None,
        due_at=now + timedelta(seconds=REPUBLISH_SECONDS),
    )


def _record(operation: Operation, event: str, now: datetime, detail: str | None = None) -> Operation:
    line = StepRecord(step=operation.step, event=event, at=now, attempts=operation.attempts, detail=detail)
    return replace(operation, history=(*operation.history, line))


def _deadline_detail(operation: Operation) -> str:
    waited_for = f" It was waiting because: {operation.waiting_for.detail}" if operation.waiting_for else ""
    return f"{operation.step} did not end before {operation.deadline.isoformat()}.{waited_for}"
