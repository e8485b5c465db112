"""The workflow: one step at a time under a lease, whatever is delivered twice, late or to two workers."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

import pytest

from tests.builders import an_operation
from tests.fakes import FakeStore, RecordingDispatcher, SettableClock
from vai_app.domain.errors import CapacityShort, ProviderUnavailable
from vai_app.domain.operations import Done, Operation, OperationState, Outcome, Reject, StepName, Wait
from vai_app.services.nudge import Nudge
from vai_app.services.steps import Step
from vai_app.services.workflow import Workflow

PLAN = (StepName.VALIDATE, StepName.PLACE, StepName.CREATE_VM)
QUEUES = {StepName.VALIDATE: "requests", StepName.PLACE: "requests", StepName.CREATE_VM: "provision"}
LEASE_SECONDS = 60.0


@dataclass
class ScriptedStep(Step):
    """Answers what the test wrote down; raises what is an error."""

    step: StepName
    answers: list[Outcome | Exception] = field(default_factory=list)
    undone: int = 0
    meanwhile: Callable[[], None] | None = None
    name: ClassVar[StepName]

    def do(self, operation: Operation) -> Outcome:  # noqa: ARG002 - the script decides
        if self.meanwhile is not None:
            self.meanwhile()
        answer = self.answers.pop(0) if self.answers else Done()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def undo(self, operation: Operation) -> Outcome:  # noqa: ARG002 - the script decides
        self.undone += 1
        return Done()


class Bench:
    """A workflow over fakes."""

    def __init__(self) -> None:
        self.clock = SettableClock()
        self.store = FakeStore(self.clock)
        self.dispatcher = RecordingDispatcher()
        self.steps = {step: ScriptedStep(step) for step in PLAN}
        self.workflow = Workflow(
            steps=self.steps,
            queue_of=QUEUES,
            operations=self.store.operations,
            events=self.store.events,
            nudge=Nudge(self.store.operations, self.dispatcher),
            clock=self.clock,
            lease_seconds=LEASE_SECONDS,
        )
        self.operation = self.store.operations.insert(an_operation(plan=PLAN))

    def run(self, step: StepName, owner: str = "worker-1") -> Operation | None:
        return self.workflow.run_step(step, self.operation.id, owner)

    def stored(self) -> Operation:
        return self.store.operations.get(self.operation.id, None)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_steps_of_one_queue_follow_each_other_without_a_message(bench: Bench) -> None:
    bench.run(StepName.VALIDATE)
    assert [line.step for line in bench.stored().history] == [StepName.VALIDATE, StepName.PLACE]
    assert bench.dispatcher.published == [(StepName.CREATE_VM, bench.operation.id)]
    assert bench.stored().lease_owner is None


def test_a_step_on_another_queue_is_published_and_not_run(bench: Bench) -> None:
    bench.run(StepName.VALIDATE)
    assert bench.stored().step is StepName.CREATE_VM
    assert bench.stored().attempts == 0


def test_a_worker_that_goes_on_counts_the_attempt_of_the_next_step(bench: Bench) -> None:
    seen = []
    bench.steps[StepName.PLACE].meanwhile = lambda: seen.append(bench.stored())
    bench.run(StepName.VALIDATE)
    assert [(each.step, each.attempts, each.lease_owner) for each in seen] == [(StepName.PLACE, 1, "worker-1")]
    assert seen[0].due_at == seen[0].lease_until


def test_a_worker_that_dies_between_two_steps_of_one_queue_leaves_the_second_to_the_sweeper(bench: Bench) -> None:
    class Killed(BaseException):
        pass

    def die() -> None:
        raise Killed

    bench.steps[StepName.PLACE].meanwhile = die
    with pytest.raises(Killed):
        bench.run(StepName.VALIDATE)
    bench.steps[StepName.PLACE].meanwhile = None
    assert bench.workflow.sweep() == 0
    bench.clock.advance(LEASE_SECONDS)
    assert bench.workflow.sweep() == 1
    assert bench.dispatcher.take() == [(StepName.PLACE, bench.operation.id)]
    bench.run(StepName.PLACE, "worker-2")
    assert bench.stored().step is StepName.CREATE_VM


def test_a_message_delivered_twice_runs_the_step_once(bench: Bench) -> None:
    assert bench.run(StepName.VALIDATE) is not None
    before = bench.stored()
    assert bench.run(StepName.VALIDATE) is None
    assert bench.stored() == before


def test_a_second_worker_does_nothing_while_the_first_holds_the_lease(bench: Bench) -> None:
    answers = []
    bench.steps[StepName.VALIDATE].meanwhile = lambda: answers.append(bench.run(StepName.VALIDATE, "worker-2"))
    bench.run(StepName.VALIDATE)
    assert answers == [None]


def test_a_worker_whose_lease_ran_out_cannot_overwrite_the_new_holder(bench: Bench) -> None:
    def overtaken() -> None:
        bench.steps[StepName.VALIDATE].meanwhile = None
        bench.clock.advance(LEASE_SECONDS)
        bench.run(StepName.VALIDATE, "worker-2")

    bench.steps[StepName.VALIDATE].meanwhile = overtaken
    bench.steps[StepName.VALIDATE].answers = [Done(), Reject(CapacityShort("no room"))]
    assert bench.run(StepName.VALIDATE) is None
    assert bench.stored().state is OperationState.RUNNING
    assert [line.event for line in bench.stored().history] == ["done", "done"]


def test_trouble_that_passes_is_waited_out_and_told(bench: Bench) -> None:
    bench.steps[StepName.VALIDATE].answers = [ProviderUnavailable("vCenter is away.")]
    bench.run(StepName.VALIDATE)
    assert bench.stored().waiting_for is not None
    assert bench.dispatcher.published == []
    bench.clock.advance(1)
    assert bench.workflow.sweep() == 1


def test_a_rejected_operation_undoes_every_step_that_began(bench: Bench) -> None:
    bench.steps[StepName.PLACE].answers = [Reject(CapacityShort("no room"))]
    ended = bench.run(StepName.VALIDATE)
    assert ended is not None
    assert ended.state is OperationState.REJECTED
    assert {step: each.undone for step, each in bench.steps.items()} == {
        StepName.VALIDATE: 1,
        StepName.PLACE: 1,
        StepName.CREATE_VM: 0,
    }


def test_a_cancelled_operation_is_turned_back_between_two_steps_of_one_queue(bench: Bench) -> None:
    bench.steps[StepName.VALIDATE].meanwhile = lambda: bench.store.operations.request_cancel(bench.operation.id, None)
    ended = bench.run(StepName.VALIDATE)
    assert ended is not None
    assert ended.state is OperationState.CANCELLED
    assert bench.steps[StepName.CREATE_VM].undone == 0


def test_a_step_that_waits_gives_the_lease_back(bench: Bench) -> None:
    bench.steps[StepName.VALIDATE].answers = [Wait(seconds=5)]
    bench.run(StepName.VALIDATE)
    assert (bench.stored().lease_owner, bench.dispatcher.published) == (None, [])


def test_a_step_that_has_only_written_something_down_is_asked_again_at_once(bench: Bench) -> None:
    bench.steps[StepName.VALIDATE].answers = [Wait(seconds=0, memo={"chosen": "esx1"})]
    bench.run(StepName.VALIDATE)
    assert (bench.stored().step, dict(bench.stored().memo)) == (StepName.VALIDATE, {"chosen": "esx1"})
    assert bench.dispatcher.published == [(StepName.VALIDATE, bench.operation.id)]
    bench.run(StepName.VALIDATE)
    first = bench.stored().history[0]
    assert (first.step, first.attempts) == (StepName.VALIDATE, 2)  # it looks for what it may have asked before


def test_the_end_is_told_in_an_event(bench: Bench) -> None:
    bench.run(StepName.VALIDATE)
    bench.run(StepName.CREATE_VM)
    assert [event.kind for event in bench.store.events.stored.values()] == ["operation.succeeded"]
