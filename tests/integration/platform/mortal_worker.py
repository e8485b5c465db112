"""A worker process that runs steps and is killed with SIGKILL before or after its n-th call to the outside.

The outside is the hypervisor and the database: everything that another process could see the worker having done.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from vai_app.bootstrap import build_placement, build_steps, utc_now
from vai_app.dispatch import QUEUE_OF
from vai_app.domain.operations import StepName
from vai_app.domain.ports import Dispatcher, Hypervisors
from vai_app.drivers.pool import HypervisorPool
from vai_app.services.nudge import Nudge
from vai_app.services.observed_capacity import ObservedCapacity
from vai_app.services.workflow import Workflow
from vai_app.settings import Settings
from vai_app.store import open_store

LEASE_SECONDS = 0.4
_SEEN_OUTSIDE = (
    "request_create", "request_power", "request_delete", "find_by_token", "observe_machine", "wait_tasks",
    "claim", "save", "record_active", "record_power", "record_deleted", "record_datacenter",
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


class Mortal:
    """Passes everything on; the calls that others can see go through ``death``."""

    def __init__(self, real: Any, death: Death) -> None:
        self._real, self._death = real, death

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._real, name)
        if name not in _SEEN_OUTSIDE:
            return found
        return lambda *arguments, **named: self._death.around(found, *arguments, **named)


class MortalHypervisors:
    """The ``Hypervisors`` port over mortal hypervisors."""

    def __init__(self, real: Hypervisors, death: Death) -> None:
        self._real, self._death = real, death

    @contextmanager
    def use(self, datacenter_id: str) -> Iterator[Any]:
        with self._real.use(datacenter_id) as hypervisor:
            yield Mortal(hypervisor, self._death)


class Silent(Dispatcher):
    """Publishes nothing: the test is the sweeper."""

    def publish(self, step: StepName, operation_id: str) -> None:
        pass


def work(settings: Settings, death: Death, orders: Connection) -> None:
    """Run the steps that come through the pipe, each answered when it has ended, until ``None`` comes."""
    store = open_store(
        settings.mongodb_url.get_secret_value(), settings.mongodb_database, settings.read_secret_key(), utc_now
    )
    hypervisors = HypervisorPool(datacenters=store.datacenters, share=settings.datacenter_share)
    operations: Any = Mortal(store.operations, death)
    machines: Any = Mortal(store.machines, death)
    mortal: Any = MortalHypervisors(hypervisors, death)
    capacity = ObservedCapacity(datacenters=store.datacenters)
    placement = build_placement(store.datacenters, machines, capacity)
    workflow = Workflow(
        steps=build_steps(placement, capacity, machines, mortal),
        queue_of=QUEUE_OF,
        operations=operations,
        events=store.events,
        nudge=Nudge(store.operations, Silent()),
        clock=utc_now,
        lease_seconds=LEASE_SECONDS,
    )
    while (order := orders.recv()) is not None:
        step, operation_id = order
        workflow.run_step(step, operation_id, f"mortal/{os.getpid()}")
        orders.send("done")
    hypervisors.close()
    store.close()
