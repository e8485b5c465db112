"""What many endpoints answer: one dataclass an object, its JSON written and its schema documented from it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from vai_app.domain.operations import Operation, OperationKind, OperationState, Problem, StepName
from vai_app.domain.virtual_machines import Size


@dataclass(slots=True)
class Reference:
    """An object by id and name."""

    id: str
    name: str


@dataclass(slots=True)
class SizeView:
    """A size."""

    cpus: int
    memory_mib: int
    disk_gib: int


@dataclass(slots=True)
class StepView:
    """One line of an operation's history."""

    step: StepName
    event: str
    at: datetime
    attempts: int
    detail: str | None


@dataclass(slots=True)
class ProblemView:
    """Why an operation did not succeed, or what it waits for."""

    type: str
    title: str
    detail: str
    step: StepName | None


@dataclass(slots=True)
class OperationView:
    """One change of the world.

    A batch has ``operations``, one for each machine that has a place, and the names of those ``unplaced``; each of
    its creations has the batch's id. What is a machine's id elsewhere is the batch's own for the batch.
    """

    id: str
    kind: OperationKind
    state: OperationState
    tenant: str
    requested_by: str
    correlation_id: str
    machine_id: str
    datacenter_id: str | None
    batch_id: str | None
    operations: Sequence[str]
    unplaced: Sequence[str]
    plan: Sequence[StepName]
    step: StepName | None
    attempts: int
    problem: ProblemView | None
    waiting_for: ProblemView | None
    recommended_datacenter_id: str | None
    residue: Sequence[str]
    history: Sequence[StepView]
    cancel_requested: bool
    created_at: datetime
    deadline: datetime
    finished_at: datetime | None


@dataclass(slots=True)
class FieldError:
    """What is wrong with one field."""

    field: str
    message: str


@dataclass(slots=True)
class ProblemDetails:
    """An RFC 9457 problem."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    correlation_id: str
    errors: Sequence[FieldError] = field(default=())


def size_view(size: Size) -> SizeView:
    """Return a size as it is shown."""
    return SizeView(size.cpus, size.memory_mib, size.disk_gib)


def operation_view(operation: Operation) -> OperationView:
    """Return an operation as it is shown."""
    return OperationView(
        id=operation.id,
        kind=operation.kind,
        state=operation.state,
        tenant=operation.tenant,
        requested_by=operation.requested_by,
        correlation_id=operation.correlation_id,
        machine_id=operation.target_id,
        datacenter_id=operation.datacenter_id,
        batch_id=operation.arguments.get("batch"),
        operations=operation.memo.get("operations", ()),
        unplaced=operation.memo.get("unplaced", ()),
        plan=operation.plan,
        step=operation.step if operation.state.open else None,
        attempts=operation.attempts,
        problem=_problem_view(operation.problem),
        waiting_for=_problem_view(operation.waiting_for),
        recommended_datacenter_id=operation.recommended_datacenter_id,
        residue=operation.residue,
        history=[StepView(each.step, each.event, each.at, each.attempts, each.detail) for each in operation.history],
        cancel_requested=operation.cancel_requested,
        created_at=operation.created_at,
        deadline=operation.deadline,
        finished_at=operation.finished_at,
    )


def _problem_view(problem: Problem | None) -> ProblemView | None:
    if problem is None:
        return None
    return ProblemView(f"/problems/{problem.problem}", problem.title, problem.detail, problem.step)
