"""The reconciler: brings the records in line with what hypervisors show, and removes only what VAI itself left."""

import logging
from dataclasses import replace
from datetime import timedelta
from functools import partial

from vai_app.domain.datacenters import Datacenter
from vai_app.domain.errors import MachineBusy, ProviderBusy, ProviderError, VaiError
from vai_app.domain.events import Event
from vai_app.domain.identifiers import new_id
from vai_app.domain.ports.clock import Clock
from vai_app.domain.ports.datacenters import DatacenterRepository, Hypervisors
from vai_app.domain.ports.events import EventRepository
from vai_app.domain.ports.machines import Changes, MachineRepository
from vai_app.domain.ports.operations import OperationRepository
from vai_app.domain.virtual_machines import MachineObservation, MachineState, VirtualMachine
from vai_app.services.acceptance import AUTONOMOUS
from vai_app.services.capacity_review import CapacityReview
from vai_app.services.controller import Controller

log = logging.getLogger(__name__)


class Reconciler:
    """Compares one datacenter with its records."""

    def __init__(
        self,
        *,
        hypervisors: Hypervisors,
        datacenters: DatacenterRepository,
        machines: MachineRepository,
        operations: OperationRepository,
        events: EventRepository,
        controller: Controller,
        review: CapacityReview,
        clock: Clock,
    ) -> None:
        """Collaborators."""
        self._hypervisors = hypervisors
        self._datacenters = datacenters
        self._machines = machines
        self._operations = operations
        self._events = events
        self._controller = controller
        self._capacity_review = review
        self._clock = clock

    def reconcile(self, datacenter_id: str) -> Changes:
        """List the datacenter once, whole, and record what it shows. Raises VaiError when it cannot be listed."""
        datacenter = self._datacenters.get(datacenter_id)
        started_at = self._clock()
        try:
            with self._hypervisors.use(datacenter.id) as hypervisor:
                able = tuple(sorted(hypervisor.observe_capabilities()))
                inventory = replace(hypervisor.observe_inventory(), capabilities=able)
                listing = list(hypervisor.list_machines())
        except VaiError as error:
            unreachable = isinstance(error, ProviderError) and not isinstance(error, ProviderBusy)
            if unreachable and self._datacenters.record_unreachable(datacenter.id, error.detail):
                self._tell(datacenter, "datacenter.unreachable", error.detail)
            raise
        if self._datacenters.record_reachable(datacenter.id, None, inventory):
            self._tell(datacenter, "datacenter.reachable", f"Datacenter {datacenter.name} answers.")
        changes = self._machines.observe(datacenter.id, listing, started_at, partial(self._report, datacenter))
        for found in self._capacity_review.review(replace(datacenter, inventory=inventory), listing, started_at):
            self._tell(datacenter, found.kind, found.sentence, found.machine)
        for seen in changes.orphans:
            self._remove(seen)
        return changes

    def archive_events(self, retention: timedelta) -> int:
        """Move events older than ``retention`` to the archive. Returns how many."""
        return self._events.archive(self._clock() - retention)

    def _remove(self, seen: MachineObservation) -> None:
        if seen.mark is None:
            return
        machine = self._machines.get(seen.mark.machine_id, None)
        try:
            self._controller.remove_orphan(machine, seen)
        except MachineBusy:
            log.info("the orphan %s is being worked on", seen.name)

    def _report(self, datacenter: Datacenter, changes: Changes) -> None:
        # A machine that an operation is just removing is missing for a moment, and that is no news.
        busy = self._operations.open_on(changes.missing) if changes.missing else {}
        for kind, ids, sentence in (
            ("machine.missing", changes.missing, "was removed behind VAI's back"),
            ("machine.returned", changes.returned, "is back"),
            ("machine.drifted", changes.drifted, "was changed behind VAI's back"),
        ):
            self._events.append(
                *(
                    self._event(datacenter, kind, f"Machine {each.name} {sentence}.", each)
                    for each in (self._machines.get_all(ids) if ids else ())
                    if each.id not in busy and each.state is not MachineState.DELETED
                )
            )

    def _tell(self, datacenter: Datacenter, kind: str, message: str, machine: VirtualMachine | None = None) -> None:
        self._events.append(self._event(datacenter, kind, message, machine))

    def _event(self, datacenter: Datacenter, kind: str, message: str, machine: VirtualMachine | None) -> Event:
        now = self._clock()
        return Event(
            id=new_id("ev", now),
            at=now,
            kind=kind,
            outcome="observed",
            message=message,
            actor=AUTONOMOUS,
            correlation_id=new_id("cor", now),
            tenant=machine.tenant if machine else None,
            machine_id=machine.id if machine else None,
            datacenter_id=datacenter.id,
        )
