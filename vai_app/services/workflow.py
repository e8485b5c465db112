"""The workflow: runs one step of one operation, forward or back, under a lease.

::

    claim the lease -> run ONE idempotent step -> save by compare-and-set -> publish the next step's name

Whatever goes wrong between two of these arrows is mended by the sweeper publishing the step again.
"""

import logging
from collections.abc import Mapping

from vai_app.domain.errors import VaiError
from vai_app.domain.events import Event
from vai_app.domain.operations import (
    Operation,
    OperationState,
    Outcome,
    StepName,
    Wait,
    advance,
    begin,
    outcome_of_error,
)
from vai_app.domain.ports import Clock, EventRepository, LeaseLost, OperationRepository
from vai_app.services.nudge import Nudge
from vai_app.services.steps import Step

log = logging.getLogger(__name__)


class Workflow:
    """Runs steps."""

    def __init__(
        self,
        *,
        steps: Mapping[StepName, Step],
        operations: OperationRepository,
        events: EventRepository,
        nudge: Nudge,
        clock: Clock,
        lease_seconds: float,
    ) -> None:
        """``lease_seconds`` is longer than any step's calls may take together."""
        self._steps = steps
        self._operations = operations
        self._events = events
        self._nudge = nudge
        self._clock = clock
        self._lease_seconds = lease_seconds

    def run_step(self, step: StepName, operation_id: str, owner: str) -> Operation | None:
        """Run the step if it is the operation's current one and nobody else does; else do nothing.

        ``owner`` names the worker in the lease. Returns the operation as stored, ``None`` when not claimed.
        """
        claimed = self._operations.claim(operation_id, step, owner, self._lease_seconds)
        if claimed is None:
            return None
        begun = begin(claimed, self._clock())
        outcome = self._outcome(begun) if begun.state.open else None
        advanced = advance(begun, outcome, self._clock()) if outcome else begun
        if not advanced.state.open:
            self._record_end(advanced)
        try:
            saved = self._operations.save(advanced)
        except LeaseLost:
            log.warning("lease lost in %s of %s; its new holder goes on", step, operation_id)
            return None
        if saved.state.open and not isinstance(outcome, Wait):
            self._nudge(saved.step, saved.id)
        return saved

    def sweep(self, limit: int = 500) -> int:
        """Publish the step of every operation that is due and has no live lease. Returns how many."""
        due = self._operations.take_due(limit)
        for operation in due:
            self._nudge(operation.step, operation.id)
        return len(due)

    def _outcome(self, operation: Operation) -> Outcome:
        step = self._steps[operation.step]
        try:
            if operation.state is OperationState.UNDOING:
                return step.undo(operation)
            return step.do(operation)
        except VaiError as error:
            return outcome_of_error(error, operation.attempts)

    def _record_end(self, operation: Operation) -> None:
        """Append before saving: an event too many is better than one lost (REQ_20)."""
        detail = f": {operation.problem.detail}" if operation.problem else "."
        residue = f" Left behind: {'; '.join(operation.residue)}" if operation.residue else ""
        self._events.append(
            Event(
                id=f"ev-{operation.id}-{operation.state}",
                at=self._clock(),
                kind=f"operation.{operation.state}",
                outcome=operation.state,
                message=f"{operation.kind} {operation.state}{detail}{residue}",
                actor=operation.requested_by,
                correlation_id=operation.correlation_id,
                tenant=operation.tenant,
                operation_id=operation.id,
                machine_id=operation.target_id,
                datacenter_id=operation.datacenter_id,
            )
        )
