"""What a step is: one idempotent piece of an operation, forward and back.

A step may be run again at any moment: after a worker died in it, after its message came twice, after a
restart. It asks what is there before it asks for more. It never waits; it returns ``Wait``.
"""

from abc import ABC, abstractmethod
from typing import ClassVar

from vai_app.domain.errors import NotFound, VaiError, error_from
from vai_app.domain.hypervisor import Hypervisor, NativeTask, TaskObservation, TaskState
from vai_app.domain.operations import AwaitedTask, Done, Operation, Outcome, StepName, Wait, outcome_of_error
from vai_app.domain.ports.datacenters import Hypervisors

# The watcher sees a native task's end at once. This is how soon a step looks itself, should there be no watcher.
_LOOK_AGAIN_SECONDS = 15.0
_LONGEST_LOOK_AGAIN_SECONDS = 60.0
ASKED_AT_ATTEMPT = "asked_at_attempt"


class Step(ABC):
    """One step of a plan."""

    name: ClassVar[StepName]

    @abstractmethod
    def do(self, operation: Operation) -> Outcome:
        """Bring the world one promise further. Raises VaiError; a retryable one is waited out."""

    def undo(self, operation: Operation) -> Outcome:  # noqa: ARG002 - the default has nothing to take back
        """Take back what ``do`` did, whole or half."""
        return Done()


class NativeStep(Step):
    """A step that asks the hypervisor for a task and finishes when that task has ended."""

    def __init__(self, *, hypervisors: Hypervisors) -> None:
        """``hypervisors`` lends the one of the operation's datacenter."""
        self._hypervisors = hypervisors

    def do(self, operation: Operation) -> Outcome:
        """Request once, then follow the native task to its end."""
        awaited = operation.native_task
        if awaited is None:
            return self._ask(operation)
        if awaited.state is TaskState.RUNNING:
            return self._look(operation, awaited)
        if awaited.state is TaskState.SUCCEEDED:
            return self.finish(operation, awaited.machine_ref)
        return self.recover(operation, error_of(awaited))

    @abstractmethod
    def request(self, operation: Operation, hypervisor: Hypervisor) -> NativeTask | None:
        """Ask; ``None`` says that there is nothing to do, because it is done."""

    @abstractmethod
    def finish(self, operation: Operation, machine_ref: str | None) -> Outcome:
        """Record what the native task made true; ``machine_ref`` is ``None`` where nothing had to be asked for."""

    def recover(self, operation: Operation, error: VaiError) -> Outcome:
        """Answer a request or a native task that failed: ask again later, or give up."""
        outcome = outcome_of_error(error, operation.attempts)
        if isinstance(outcome, Wait):
            return Wait(seconds=outcome.seconds, because=error, forget_task=True)
        return outcome

    def _before_undoing(self, operation: Operation) -> Outcome | None:
        """Return what comes before anything is taken back: a task that still runs, or a removal that failed."""
        if self._is_under_way(operation):
            return Wait(look_again(operation))
        awaited = operation.native_task
        if awaited is not None and awaited.state is TaskState.FAILED and awaited.undoing:
            return NativeStep.recover(self, operation, error_of(awaited))
        return None

    def _is_under_way(self, operation: Operation) -> bool:
        """Whether the native task that is awaited still runs, by a look of our own."""
        awaited = operation.native_task
        if awaited is None or awaited.state is not TaskState.RUNNING:
            return False
        with self._hypervisors.use(datacenter_of(operation)) as hypervisor:
            return not hypervisor.wait_tasks([awaited.ref], timeout_seconds=0)

    def _ask(self, operation: Operation) -> Outcome:
        ended: list[TaskObservation] = []
        try:
            with self._hypervisors.use(datacenter_of(operation)) as hypervisor:
                task = self.request(operation, hypervisor)
                if task is not None and task.brief:
                    ended = _looked_at(hypervisor, task.ref)
        except VaiError as error:
            return self.recover(operation, error)
        if task is None:
            return self.finish(operation, None)
        if ended:
            return self._end(operation, ended[0], task.machine_ref)
        return Wait(look_again(operation), native_task=task, memo={ASKED_AT_ATTEMPT: operation.attempts})

    def _look(self, operation: Operation, awaited: AwaitedTask) -> Outcome:
        with self._hypervisors.use(datacenter_of(operation)) as hypervisor:
            ended = hypervisor.wait_tasks([awaited.ref], timeout_seconds=0)
        if not ended:
            return Wait(look_again(operation))
        return self._end(operation, ended[0], awaited.machine_ref)

    def _end(self, operation: Operation, seen: TaskObservation, machine_ref: str | None) -> Outcome:
        if seen.state is TaskState.SUCCEEDED:
            return self.finish(operation, seen.machine_ref or machine_ref)
        return self.recover(operation, seen.error or _forgotten(seen.ref))


def look_again(operation: Operation) -> float:
    """Return after how many seconds a step looks itself at what it waits for: less and less often."""
    return min(_LONGEST_LOOK_AGAIN_SECONDS, _LOOK_AGAIN_SECONDS * max(1, operation.attempts))


def datacenter_of(operation: Operation) -> str:
    """Return the datacenter that the operation works in."""
    if operation.datacenter_id is None:
        message = f"Operation {operation.id} has no datacenter yet."
        raise NotFound(message)
    return operation.datacenter_id


def error_of(awaited: AwaitedTask) -> VaiError:
    """Return why a native task failed."""
    if awaited.problem is None:
        return _forgotten(awaited.ref)
    return error_from(awaited.problem.problem, awaited.problem.detail)


def _looked_at(hypervisor: Hypervisor, ref: str) -> list[TaskObservation]:
    """Return the task's end if it can be seen; what was asked for is not lost because this look failed."""
    try:
        return hypervisor.wait_tasks([ref], timeout_seconds=0)
    except VaiError:
        return []


def _forgotten(ref: str) -> VaiError:
    return NotFound(f"The datacenter no longer knows its task {ref}.")
