"""Lifetimes that are renewed and followed at once: one of them wins, and the machine is not removed twice."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from tests.builders import NOW, an_active_machine, an_admin
from tests.fakes import FakeStore, RecordingDispatcher, SettableClock
from vai_app.domain.errors import Conflict
from vai_app.domain.lifetimes import Lifetime, Phase
from vai_app.domain.operations import Operation
from vai_app.domain.ports.events import EventFilter
from vai_app.domain.ports.operations import OperationFilter
from vai_app.domain.ports.paging import PageRequest
from vai_app.domain.virtual_machines import VirtualMachine
from vai_app.services.acceptance import Acceptance, RequestContext
from vai_app.services.controller import Controller
from vai_app.services.lifetimes import Lifetimes
from vai_app.services.nudge import Nudge
from vai_app.services.policy_manager import PolicyManager

ROOT = RequestContext(an_admin(), "cor-1")
EXPIRED = Lifetime(expires_at=NOW, due_at=NOW, phase=Phase.WARNED)


class Site:
    """One machine, and what happens to it at the worst moment: after something was read, before it is written."""

    def __init__(self, lifetime: Lifetime) -> None:
        clock = SettableClock(NOW)
        self.store = FakeStore(clock)
        self.machine: VirtualMachine = an_active_machine(lifetime=lifetime)
        self.store.machines.insert(self.machine)
        policies = PolicyManager(configuration=self.store.configuration, events=self.store.events, clock=clock)
        nudge = Nudge(self.store.operations, RecordingDispatcher())
        controller = Controller(
            operations=self.store.operations,
            machines=self.store.machines,
            datacenters=self.store.datacenters,
            dispatcher=RecordingDispatcher(),
            nudge=nudge,
            user_data=self.store.user_data,
            snapshots=self.store.snapshots,
            policies=policies,
            acceptance=Acceptance(
                operations=self.store.operations, policies=policies, nudge=nudge, clock=clock, deadline_seconds=60
            ),
            clock=clock,
        )
        self.lifetimes = Lifetimes(
            machines=self.store.machines,
            events=self.store.events,
            controller=controller,
            policies=policies,
            clock=clock,
        )

    def renew(self) -> VirtualMachine:
        return self.lifetimes.renew(ROOT, self.machine.id, 10)

    def after(self, method: str, happens: Callable[[], object]) -> None:
        """Let something happen once, right after the machines' repository has answered a call."""
        original = getattr(self.store.machines, method)

        def call(*given: Any) -> Any:
            found = original(*given)
            setattr(self.store.machines, method, original)
            happens()
            return found

        setattr(self.store.machines, method, call)

    def removals(self) -> list[Operation]:
        return list(self.store.operations.page(OperationFilter(None), PageRequest()).items)

    def told(self, kind: str) -> int:
        return len(self.store.events.page(EventFilter(None, kind=kind), PageRequest()).items)


def test_a_machine_that_is_renewed_while_the_sweep_looks_is_kept() -> None:
    site = Site(EXPIRED)
    site.after("lifetimes_due", site.renew)
    site.lifetimes.follow()
    assert site.removals() == []
    kept = site.store.machines.get(site.machine.id, None).lifetime
    assert kept is not None
    assert (kept.phase, kept.expires_at) == (Phase.RUNNING, NOW + timedelta(hours=10))


def test_a_renewal_that_comes_too_late_is_told_so_and_the_machine_removed_once() -> None:
    site = Site(EXPIRED)
    site.after("get", site.lifetimes.follow)
    with pytest.raises(Conflict, match="is being removed"):
        site.renew()
    assert len(site.removals()) == 1
    assert site.told("machine.renewed") == 0


def test_a_renewal_that_others_always_forestall_ends() -> None:
    site = Site(EXPIRED)
    asked: list[object] = []
    site.store.machines.change_lifetime = lambda *given: asked.append(given)  # type: ignore[method-assign,assignment,return-value]
    with pytest.raises(Conflict, match="Ask again"):
        site.renew()
    assert 1 < len(asked) < 100


def test_two_sweeps_at_once_open_one_removal() -> None:
    site = Site(EXPIRED)
    site.after("lifetimes_due", site.lifetimes.follow)
    site.lifetimes.follow()
    assert len(site.removals()) == 1


def test_two_sweeps_at_once_tell_the_end_once() -> None:
    site = Site(Lifetime(expires_at=NOW + timedelta(hours=1), due_at=NOW))
    site.after("lifetimes_due", site.lifetimes.follow)
    site.lifetimes.follow()
    assert site.told("machine.expiring") == 1
    assert site.removals() == []
