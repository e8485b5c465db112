"""Operations: how they are stored, and how workers hear of them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from vai_app.domain.hypervisor import TaskObservation
from vai_app.domain.operations import Operation, OperationKind, OperationState, StepName
from vai_app.domain.ports.paging import Page, PageRequest


@dataclass(frozen=True, slots=True)
class OperationFilter:
    """Which operations; ``tenant`` ``None`` means every tenant's and is for administrators."""

    tenant: str | None
    state: OperationState | None = None
    kind: OperationKind | None = None
    target_id: str | None = None
    datacenter_id: str | None = None
    open: bool | None = None


@dataclass(frozen=True, slots=True)
class PendingTask:
    """An open operation that waits for a native task."""

    operation_id: str
    step: StepName
    task_ref: str


class OperationRepository(Protocol):
    """Operations, changed only by compare-and-set on their version."""

    def insert(self, operation: Operation) -> Operation:
        """Store a new operation and return it, or the one stored before under the same idempotency key.

        Raises MachineBusy when the target has an open operation, IdempotencyKeyReused when the tenant used
        the key with another payload.
        """
        ...

    def repeated(self, operation: Operation) -> Operation | None:
        """Return the operation stored before under the same idempotency key. Raises IdempotencyKeyReused."""
        ...

    def get(self, operation_id: str, tenant: str | None) -> Operation:
        """Raises NotFound, also for another tenant's operation."""
        ...

    def page(self, wanted: OperationFilter, page: PageRequest) -> Page[Operation]:
        """Newest first."""
        ...

    def open_on(self, target_ids: Collection[str]) -> Mapping[str, Operation]:
        """Return the open operation of each target that has one, by target id; one query."""
        ...

    def claim(self, operation_id: str, step: StepName, owner: str, lease_seconds: float) -> Operation | None:
        """Take the lease and count the attempt; ``None`` when it is not the current step, not open, or leased."""
        ...

    def renew(self, claimed: Operation, lease_seconds: float) -> bool:
        """Let a claim last ``lease_seconds`` from now.

        ``False`` when the version moved on, nobody holds it, or the operation's deadline has passed.
        """
        ...

    def save(self, operation: Operation, claimed: Operation) -> Operation:
        """Store what its holder made of the operation that was claimed. Raises LeaseLost when the version moved on."""
        ...

    def record_task(self, pending: PendingTask, seen: TaskObservation) -> bool:
        """Write the end of an awaited native task; ``False`` when the operation no longer waits for it."""
        ...

    def pending_tasks(self, datacenter_id: str) -> Sequence[PendingTask]:
        """Return what the datacenter's watcher must look at; one indexed query."""
        ...

    def take_due(self, limit: int) -> Sequence[Operation]:
        """Return open operations without a live lease whose ``due_at`` has passed, each postponed at once.

        An operation is handed to one caller only, and to the next after ``REPUBLISH_SECONDS``.
        """
        ...

    def make_due(self, operation_id: str) -> None:
        """Let the next ``take_due`` hand it out, unless it has ended or somebody holds its lease."""
        ...

    def request_cancel(self, operation_id: str, tenant: str | None) -> Operation:
        """Set the wish to cancel and make the operation due. Raises NotFound; Conflict when it has ended."""
        ...

    def clear_residue(self, operation_id: str) -> None:
        """Record that what a failed undo left is gone."""
        ...


class LeaseLost(Exception):
    """The operation's version moved on: another worker holds it now, this one must not write."""


class Dispatcher(Protocol):
    """Publishes the names of steps. A lost message is harmless: the sweeper publishes again."""

    def publish(self, step: StepName, operation_id: str) -> None:
        """Nudge: ask some worker to run the step. Raises ServiceUnavailable when the broker is away."""
        ...
