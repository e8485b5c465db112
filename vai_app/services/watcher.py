"""The watcher: one thread a datacenter follows all its open native tasks in one call and nudges what moved.

A second thread a datacenter lists it whole at intervals. Both work only while this process holds the
datacenter's lease, so that any number of watchers may run.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from threading import Event, Thread
from time import monotonic

from vai_app.domain.datacenters import Datacenter
from vai_app.domain.errors import ServiceUnavailable, VaiError
from vai_app.domain.ports.clock import LeaseRepository
from vai_app.domain.ports.datacenters import DatacenterRepository, Hypervisors
from vai_app.domain.ports.operations import OperationRepository
from vai_app.services.nudge import Nudge
from vai_app.services.reconciler import Reconciler

log = logging.getLogger(__name__)

LEASE_SECONDS = 10.0
# How soon a native task that was just requested is watched; a long poll may end earlier.
POLL_SECONDS = 0.2
TROUBLE_PAUSE_SECONDS = 2.0
LOOK_FOR_DATACENTERS_SECONDS = 1.0


@dataclass
class _Watch:
    """The threads of one datacenter."""

    stop: Event
    threads: tuple[Thread, ...]


class Watcher:
    """Watches every enabled datacenter whose lease it gets."""

    def __init__(
        self,
        *,
        owner: str,
        operations: OperationRepository,
        datacenters: DatacenterRepository,
        leases: LeaseRepository,
        hypervisors: Hypervisors,
        nudge: Nudge,
        reconciler: Reconciler,
        inventory_seconds: float,
    ) -> None:
        """``owner`` names this process in the leases; ``inventory_seconds`` is the pause between listings."""
        self._owner = owner
        self._operations = operations
        self._datacenters = datacenters
        self._leases = leases
        self._hypervisors = hypervisors
        self._nudge = nudge
        self._reconciler = reconciler
        self._inventory_seconds = inventory_seconds
        self._watches: dict[str, _Watch] = {}

    def run(self, stop: Event) -> None:
        """Watch until ``stop`` is set, taking up and dropping datacenters as they are registered or disabled."""
        while not stop.is_set():
            try:
                self._follow({dc.id: dc for dc in self._datacenters.list() if dc.enabled})
            except ServiceUnavailable as error:
                log.warning("datacenters cannot be listed now: %s", error.detail)
            stop.wait(LOOK_FOR_DATACENTERS_SECONDS)
        self._follow({})

    def watch_tasks_once(self, datacenter_id: str, timeout_seconds: float) -> int:
        """Look once at every open native task of a datacenter; returns how many had ended. Raises VaiError."""
        pending = {task.task_ref: task for task in self._operations.pending_tasks(datacenter_id)}
        if not pending:
            return 0
        hypervisor = self._hypervisors.session(datacenter_id)
        ended = hypervisor.wait_tasks(list(pending), timeout_seconds)
        for seen in ended:
            task = pending[seen.ref]
            if self._operations.record_task(task, seen):
                self._nudge(task.step, task.operation_id)
        return len(ended)

    def _follow(self, wanted: Mapping[str, Datacenter]) -> None:
        for datacenter_id in [known for known in self._watches if known not in wanted]:
            watch = self._watches.pop(datacenter_id)
            watch.stop.set()
            for thread in watch.threads:
                thread.join(timeout=LEASE_SECONDS)
        for datacenter_id in wanted:
            if datacenter_id not in self._watches:
                self._watches[datacenter_id] = self._start(datacenter_id)

    def _start(self, datacenter_id: str) -> _Watch:
        stop = Event()
        threads = tuple(
            Thread(target=loop, args=(datacenter_id, stop), name=f"{loop.__name__}-{datacenter_id}", daemon=True)
            for loop in (self._follow_tasks, self._follow_inventory)
        )
        for thread in threads:
            thread.start()
        return _Watch(stop, threads)

    def _follow_tasks(self, datacenter_id: str, stop: Event) -> None:
        def look() -> float:
            ended = self.watch_tasks_once(datacenter_id, POLL_SECONDS)
            return 0.0 if ended else POLL_SECONDS / 4

        self._while_held(f"tasks/{datacenter_id}", stop, look)

    def _follow_inventory(self, datacenter_id: str, stop: Event) -> None:
        def listing() -> float:
            self._reconciler.reconcile(datacenter_id)
            return self._inventory_seconds

        self._while_held(f"inventory/{datacenter_id}", stop, listing)

    def _while_held(self, lease: str, stop: Event, work: Callable[[], float]) -> None:
        """Repeat ``work``, which returns its pause in seconds, while the lease is ours."""
        renew_at = 0.0
        due_at = 0.0
        trouble: str | None = None
        while not stop.is_set():
            try:
                if monotonic() >= renew_at:
                    if not self._leases.hold(lease, self._owner, LEASE_SECONDS):
                        stop.wait(TROUBLE_PAUSE_SECONDS)
                        continue
                    renew_at = monotonic() + LEASE_SECONDS / 3
                if monotonic() >= due_at:
                    due_at = monotonic() + work()
                    trouble = None
            except VaiError as error:
                if error.detail != trouble:
                    log.warning("%s: %s", lease, error.detail)
                trouble = error.detail
                due_at = monotonic() + TROUBLE_PAUSE_SECONDS
            stop.wait(max(0.0, min(due_at, renew_at) - monotonic()))
        self._release(lease)

    def _release(self, lease: str) -> None:
        try:
            self._leases.release(lease, self._owner)
        except ServiceUnavailable as error:
            log.warning("%s is left to expire: %s", lease, error.detail)
