"""One task for each step of a plan. A second delivery finds the step leased or done, and does nothing."""

import os
import socket
from threading import get_ident

from celery import Task, shared_task

from vai_app.celery_app import services
from vai_app.domain.errors import ServiceUnavailable
from vai_app.domain.operations import StepName


class VaiTask(Task):
    """What all our tasks share. A part of VAI that is away is no traceback: the sweeper publishes again."""

    throws = (ServiceUnavailable,)


def _doorway(step: StepName) -> Task:
    @shared_task(base=VaiTask, name=step.value)
    def run(operation_id: str, **_: object) -> None:
        owner = f"{socket.gethostname()}/{os.getpid()}/{get_ident()}"
        services().workflow.run_step(step, operation_id, owner)

    return run


STEP_TASKS = {step: _doorway(step) for step in StepName}
