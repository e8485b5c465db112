"""Lifetimes: renews them, and follows them to the warning and the removal."""

import logging
from dataclasses import replace
from datetime import datetime

from vai_app.domain.errors import Conflict, VaiError
from vai_app.domain.events import Event
from vai_app.domain.identifiers import derived_id, new_id
from vai_app.domain.lifetimes import Lifetime, Phase
from vai_app.domain.policies import MachineAsk
from vai_app.domain.ports.clock import Clock
from vai_app.domain.ports.events import EventRepository
from vai_app.domain.ports.machines import MachineRepository
from vai_app.domain.virtual_machines import MachineState, VirtualMachine
from vai_app.services.acceptance import AUTONOMOUS, RequestContext
from vai_app.services.controller import Controller, require_managed
from vai_app.services.policy_manager import RENEW, PolicyManager

log = logging.getLogger(__name__)

_MOST_AT_ONCE = 500
_MOST_TRIES = 10


class Lifetimes:
    """Decides by one compare-and-set whether a machine was renewed in time."""

    def __init__(
        self,
        *,
        machines: MachineRepository,
        events: EventRepository,
        controller: Controller,
        policies: PolicyManager,
        clock: Clock,
    ) -> None:
        """Collaborators."""
        self._machines = machines
        self._events = events
        self._controller = controller
        self._policies = policies
        self._clock = clock

    def renew(self, context: RequestContext, machine_id: str, hours: int | None) -> VirtualMachine:
        """Give a machine ``hours`` from now; none is as long as policies allow whoever asks, or for ever.

        Raises NotFound, PolicyRefused, Conflict (failed or deleted, a stranger's, about to be removed already, or
        changed by others all the time).
        """
        self._policies.require_machine(context.principal, RENEW, MachineAsk(lifetime_hours=hours or 0))
        terms = self._policies.lifetime_terms(context.principal)
        for _ in range(_MOST_TRIES):
            machine = self._machines.get(machine_id, context.scope)
            require_managed(machine, "renewed")
            if machine.state is MachineState.FAILED:
                message = f"Machine {machine.name} was never made and cannot be renewed."
                raise Conflict(message)
            if machine.lifetime is not None and machine.lifetime.phase is Phase.PASSED:
                message = f"Machine {machine.name} expired at {_told(machine.lifetime)} and is being removed."
                raise Conflict(message)
            renewed = terms.begin(self._clock(), hours)
            if self._machines.change_lifetime(machine.id, machine.lifetime, renewed):
                kept = f"is kept until {_told(renewed)}" if renewed else "is kept until somebody deletes it"
                self._tell(machine, "renewed", f"Machine {machine.name} {kept}.", by=context)
                return replace(machine, lifetime=renewed)
        raise Conflict("The machine's lifetime is being changed by others. Ask again.")

    def follow(self) -> int:
        """Do what is due: tell that machines expire, and remove those that did. Returns how many were due."""
        now = self._clock()
        due = self._machines.lifetimes_due(now, _MOST_AT_ONCE)
        for machine in due:
            if machine.lifetime is not None:
                self._follow(machine, machine.lifetime, now)
        return len(due)

    def _follow(self, machine: VirtualMachine, known: Lifetime, now: datetime) -> None:
        followed = known.followed(now)
        # The warning is stored first: told twice under one id is told once, and a crash in between loses nothing.
        if followed.phase is Phase.WARNED:
            self._warn(machine, known)
        if not self._machines.change_lifetime(machine.id, known, followed) or followed.phase is not Phase.PASSED:
            return
        try:
            self._controller.remove_expired(machine)
        except VaiError as error:
            log.info("%s expired, and its removal waits: %s", machine.name, error.detail)

    def _warn(self, machine: VirtualMachine, lifetime: Lifetime) -> None:
        told = (
            f"Machine {machine.name} expires at {_told(lifetime)} and is then deleted. "
            f"'vai vm renew {machine.name}' keeps it."
        )
        self._tell(machine, "expiring", told, once=int(lifetime.expires_at.timestamp()))

    def _tell(
        self,
        machine: VirtualMachine,
        what: str,
        message: str,
        *,
        by: RequestContext | None = None,
        once: int | None = None,
    ) -> None:
        now = self._clock()
        self._events.append(
            Event(
                id=new_id("ev", now) if once is None else derived_id("ev", machine.id, once),
                at=now,
                kind=f"machine.{what}",
                outcome="succeeded" if by else "observed",
                message=message,
                actor=by.principal.name if by else AUTONOMOUS,
                correlation_id=by.correlation_id if by else new_id("cor", now),
                tenant=machine.tenant,
                machine_id=machine.id,
                datacenter_id=machine.datacenter_id,
            )
        )


def _told(lifetime: Lifetime) -> str:
    return lifetime.expires_at.isoformat(timespec="seconds")
