"""The workflow: runs an operation's current step, forward or back, under a lease.

::

    claim the lease -> run ONE idempotent step -> save by compare-and-set -> publish the next step's name

Where the next step runs on the same queue, the message and the claim are saved: the worker goes on with it under
the lease that it has. Whatever goes wrong between two of these arrows is mended by the sweeper, which publishes the
step again.
"""

import logging
from collections.abc import Mapping
from datetime import timedelta

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
    keep_claim,
    outcome_of_error,
)
from vai_app.domain.ports.clock import Clock
from vai_app.domain.ports.events import EventRepository
from vai_app.domain.ports.operations import LeaseLost, OperationRepository
from vai_app.services.lease_keeper import LeaseKeeper
from vai_app.services.nudge import Nudge
from vai_app.services.steps import Step

log = logging.getLogger(__name__)


class Workflow:
    """Runs steps."""

    def __init__(
        self,
        *,
        steps: Mapping[StepName, Step],
        queue_of: Mapping[str, str],
        operations: OperationRepository,
        events: EventRepository,
        nudge: Nudge,
        clock: Clock,
        lease_seconds: float,
    ) -> None:
        """``queue_of`` names each step's queue; ``lease_seconds`` is how long a dead worker's step rests."""
        self._steps = steps
        self._queue_of = queue_of
        self._operations = operations
        self._events = events
        self._nudge = nudge
        self._clock = clock
        self._lease_seconds = lease_seconds
        self._keeper = LeaseKeeper(operations=operations, lease_seconds=lease_seconds)

    def run_step(self, step: StepName, operation_id: str, owner: str) -> Operation | None:
        """Run the step, if it is the operation's current one and nobody else does, and those that follow on its queue.

        ``owner`` names the worker in the lease. Returns the operation as stored, ``None`` when not claimed.
        """
        operation = self._operations.claim(operation_id, step, owner, self._lease_seconds)
        while operation is not None:
            operation, goes_on = self._run(operation, owner)
            if not goes_on:
                break
        return operation

    def sweep(self, limit: int = 500) -> int:
        """Publish the step of every operation that is due and has no live lease. Returns how many."""
        due = self._operations.take_due(limit)
        for operation in due:
            self._nudge(operation.step, operation.id)
        return len(due)

    def _run(self, claimed: Operation, owner: str) -> tuple[Operation | None, bool]:
        """Run the step and save. Returns the operation as stored, and whether it is still ours to go on with."""
        begun = begin(claimed, self._clock())
        with self._keeper.keeping(begun):
            outcome = self._outcome(begun) if begun.state.open else None
        advanced = advance(begun, outcome, self._clock()) if outcome else begun
        if not advanced.state.open:
            self._record_end(advanced)
        pause = outcome.seconds if isinstance(outcome, Wait) else None
        is_next_due = advanced.state.open and not pause
        goes_on = is_next_due and pause is None and self._queue_of[advanced.step] == self._queue_of[claimed.step]
        if goes_on:
            advanced = keep_claim(advanced, owner, self._clock() + timedelta(seconds=self._lease_seconds))
        try:
            saved = self._operations.save(advanced, claimed)
        except LeaseLost:
            log.warning("lease lost in %s of %s; its new holder goes on", claimed.step, claimed.id)
            return None, False
        if is_next_due and not goes_on:
            self._nudge(saved.step, saved.id)
        return saved, goes_on

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
