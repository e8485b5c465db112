"""A worker process that runs steps and is killed with SIGKILL before or after its n-th call to the outside.

The outside is the hypervisor and the database: everything that another process could see the worker having done.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

from vai_app.bootstrap import build_services
from vai_app.dispatch import CeleryDispatcher
from vai_app.domain.operations import StepName
from vai_app.domain.ports.datacenters import Hypervisors
from vai_app.settings import Settings

_SEEN_IN_THE_DATABASE = (
    "claim", "save", "record_datacenter", "record_active", "record_power", "record_deleted", "record_failed",
    "reserve", "release", "resize", "record_size", "put", "delete",
)  # fmt: skip


@dataclass
class Death:
    """Where the worker dies: at its ``call``-th call, before it or after. ``call`` 0 is never."""

    call: int = 0
    after: bool = False
    calls: int = 0

    def around(self, function: Any, *arguments: Any, **named: Any) -> Any:
        """Call, and die where it is due."""
        self.calls += 1
        if self.calls == self.call and not self.after:
            os.kill(os.getpid(), signal.SIGKILL)
        answer = function(*arguments, **named)
        if self.calls == self.call:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer


class MortalHypervisor:
    """Passes everything on; every call goes through ``death``."""

    def __init__(self, real: Any, death: Death) -> None:
        self._real, self._death = real, death
        self.capabilities = real.capabilities

    def __getattr__(self, name: str) -> Any:
        return partial(self._death.around, getattr(self._real, name))


class SilentDispatcher(CeleryDispatcher):
    """Publishes nothing: the test is the sweeper."""

    def __init__(self) -> None:
        """Connect to nothing."""

    def publish(self, step: StepName, operation_id: str) -> None:
        """Say nothing."""

    def close(self) -> None:
        """Hold nothing."""


def work(settings: Settings, death: Death, orders: Connection) -> None:
    """Run the steps that come through the pipe, each answered when it has ended, until ``None`` comes."""
    services = build_services(settings, SilentDispatcher())
    for part in vars(services).values():
        for name in _SEEN_IN_THE_DATABASE:
            if hasattr(part, name):
                setattr(part, name, partial(death.around, getattr(part, name)))
    _make_mortal(services.hypervisors, death)
    while (order := orders.recv()) is not None:
        step, operation_id = order
        services.workflow.run_step(step, operation_id, f"mortal/{os.getpid()}")
        orders.send("done")
    services.close()


def _make_mortal(hypervisors: Hypervisors, death: Death) -> None:
    use = hypervisors.use

    @contextmanager
    def use_mortal(datacenter_id: str) -> Iterator[Any]:
        with use(datacenter_id) as hypervisor:
            yield MortalHypervisor(hypervisor, death)

    hypervisors.use = use_mortal  # type: ignore[method-assign]
