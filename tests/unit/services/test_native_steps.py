"""Native steps: what is asked of a hypervisor once, and followed to its end by whoever sees it first."""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from tests.builders import an_operation
from tests.fakes import FakeHypervisors
from vai_app.domain.errors import CapacityShort, ProviderUnavailable, VaiError
from vai_app.domain.hypervisor import Hypervisor, NativeTask, TaskObservation, TaskState
from vai_app.domain.operations import Done, Fail, Operation, Outcome, StepName, Wait
from vai_app.services.steps import NativeStep

TASK = "task-1"


@dataclass
class Provider:
    """A hypervisor of one native task."""

    seen: list[TaskObservation] | VaiError = field(default_factory=list)
    looks: int = 0

    def wait_tasks(self, refs: Collection[str], timeout_seconds: float) -> list[TaskObservation]:
        assert (list(refs), timeout_seconds) == ([TASK], 0)
        self.looks += 1
        if isinstance(self.seen, VaiError):
            raise self.seen
        return self.seen


class Asking(NativeStep):
    """Asks for ``task`` and answers with the machine's reference."""

    name = StepName.CREATE_VM

    def __init__(self, provider: Provider, task: NativeTask | None) -> None:
        super().__init__(hypervisors=FakeHypervisors({"dc-1": cast("Hypervisor", provider)}))
        self._task = task

    def request(self, operation: Operation, hypervisor: Hypervisor) -> NativeTask | None:  # noqa: ARG002 - scripted
        return self._task

    def finish(self, operation: Operation, machine_ref: str | None) -> Outcome:  # noqa: ARG002 - scripted
        return Done({"machine_ref": machine_ref})


def outcome(provider: Provider, task: NativeTask | None) -> Outcome:
    return Asking(provider, task).do(an_operation(datacenter_id="dc-1"))


def test_a_brief_task_that_has_ended_is_finished_without_waiting() -> None:
    provider = Provider([TaskObservation(TASK, TaskState.SUCCEEDED, machine_ref="vm-7")])
    assert outcome(provider, NativeTask(TASK, brief=True)) == Done({"machine_ref": "vm-7"})


def test_the_machine_that_a_brief_task_was_asked_for_is_known_where_its_end_does_not_name_it() -> None:
    provider = Provider([TaskObservation(TASK, TaskState.SUCCEEDED)])
    assert outcome(provider, NativeTask(TASK, machine_ref="vm-7", brief=True)) == Done({"machine_ref": "vm-7"})


def test_a_brief_task_that_has_failed_is_told_at_once() -> None:
    error = CapacityShort("No room.")
    assert outcome(Provider([TaskObservation(TASK, TaskState.FAILED, error=error)]), NativeTask(TASK, brief=True)) == (
        Fail(error)
    )


@pytest.mark.parametrize("seen", [[], ProviderUnavailable("The answer was lost.")], ids=["still runs", "look failed"])
def test_a_brief_task_whose_end_is_not_seen_is_waited_for(seen: Any) -> None:
    task = NativeTask(TASK, brief=True)
    waiting = outcome(Provider(seen), task)
    assert isinstance(waiting, Wait)
    assert waiting.native_task == task


def test_any_other_task_is_not_looked_at_when_it_is_asked_for() -> None:
    provider = Provider([TaskObservation(TASK, TaskState.SUCCEEDED)])
    assert isinstance(outcome(provider, NativeTask(TASK)), Wait)
    assert provider.looks == 0


def test_what_needs_no_asking_is_finished() -> None:
    assert outcome(Provider(), None) == Done({"machine_ref": None})
