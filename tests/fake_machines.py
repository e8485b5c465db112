"""The machines' repository in memory; ``tests/fakes.py`` offers it."""

from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from datetime import datetime
from threading import RLock
from typing import Any

from tests.fake_lists import fits, page_of
from vai_app.domain.errors import NameTaken, NotFound
from vai_app.domain.identifiers import new_id
from vai_app.domain.lifetimes import Lifetime
from vai_app.domain.ports.machines import Changes, MachineFilter
from vai_app.domain.ports.paging import Page, PageRequest
from vai_app.domain.virtual_machines import (
    MachineObservation,
    MachineSpec,
    MachineState,
    Mark,
    Power,
    Size,
    VirtualMachine,
    drift_of,
)

_REMOVED = "The datacenter no longer shows it: it was removed behind VAI's back."
_ENDED = (MachineState.FAILED, MachineState.DELETED)


class InMemoryMachines:
    """The ``MachineRepository`` port."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._lock = RLock()
        self._stored: dict[str, VirtualMachine] = {}
        self._recorded_at: dict[str, datetime] = {}
        self._former_ref: dict[str, str | None] = {}

    def insert(self, machine: VirtualMachine) -> None:
        with self._lock:
            if machine.id in self._stored:
                return
            self._check_name(machine.tenant, machine.name)
            self._store(machine)

    def get(self, machine_id: str, tenant: str | None) -> VirtualMachine:
        found = self._stored.get(machine_id)
        if found is None or tenant not in (None, found.tenant):
            raise NotFound(f"There is no machine {machine_id}.")
        return found

    def get_all(self, machine_ids: Collection[str]) -> list[VirtualMachine]:
        return [self._stored[each] for each in sorted({*machine_ids}) if each in self._stored]

    def page(self, wanted: MachineFilter, page: PageRequest) -> Page[VirtualMachine]:
        found = [
            each
            for each in self._stored.values()
            if fits(wanted.tenant, each.tenant)
            and fits(wanted.datacenter_id, each.datacenter_id)
            and fits(wanted.state, each.state)
            and fits(wanted.power, each.observed_power)
            and fits(wanted.name, each.name)
            and each.name.startswith(wanted.name_prefix or "")
            and fits(wanted.managed, each.managed)
            and (wanted.expires_before is None or _expires_before(each, wanted.expires_before))
            and (wanted.include_deleted or wanted.state is not None or each.state is not MachineState.DELETED)
        ]
        return page_of(found, page, key=lambda each: each.id, descending=False)

    def running(self, datacenter_id: str) -> dict[str, str]:
        return {
            each.provider_ref: each.id
            for each in self._stored.values()
            if (each.datacenter_id, each.state, each.observed_power) == (datacenter_id, MachineState.ACTIVE, Power.ON)
            and each.provider_ref is not None
        }

    def record_datacenter(self, machine_id: str, datacenter_id: str) -> None:
        self._record(machine_id, datacenter_id=datacenter_id)

    def record_active(self, machine_id: str, provider_ref: str, mark: Mark) -> None:
        with self._lock:
            datacenter_id = self.get(machine_id, None).datacenter_id
            for holder in list(self._stored.values()):
                if (holder.datacenter_id, holder.provider_ref) != (datacenter_id, provider_ref):
                    continue
                if holder.id != machine_id and holder.managed:
                    self._store(replace(holder, state=MachineState.MISSING, provider_ref=None))
                elif holder.id != machine_id:
                    del self._stored[holder.id]
            self._record(
                machine_id,
                state=MachineState.ACTIVE,
                provider_ref=provider_ref,
                mark=mark,
                observed_power=Power.OFF,
                observed_at=self._clock(),
                problem=None,
            )

    def record_power(self, machine_id: str, power: Power) -> None:
        self._record(machine_id, observed_power=power, observed_at=self._clock())

    def record_size(self, machine_id: str, size: Size) -> None:
        with self._lock:
            if machine_id in self._stored:
                spec = replace(self._stored[machine_id].spec, size=size)
                self._record(machine_id, spec=spec, observed_size=size, drift=(), observed_at=self._clock())

    def record_host(self, machine_id: str, host: str) -> None:
        self._record(machine_id, observed_host=host, observed_at=self._clock())

    def record_adopted(self, machine_id: str, tenant: str, mark: Mark) -> None:
        with self._lock:
            found = self.get(machine_id, None)
            if found.tenant != tenant:
                self._check_name(tenant, found.name)
            self._record(machine_id, tenant=tenant, mark=mark, problem=None)

    def record_failed(self, machine_id: str, problem: str) -> None:
        self._close(machine_id, state=MachineState.FAILED, problem=problem)

    def record_deleted(self, machine_id: str) -> None:
        self._close(machine_id, state=MachineState.DELETED, observed_power=Power.UNKNOWN)

    def lifetimes_due(self, now: datetime, limit: int) -> list[VirtualMachine]:
        due = [
            (each.lifetime.due_at, each.id)
            for each in self._stored.values()
            if each.lifetime and each.managed and each.state not in _ENDED and each.lifetime.due_at <= now
        ]
        return [self._stored[machine_id] for _, machine_id in sorted(due)[:limit]]

    def change_lifetime(self, machine_id: str, known: Lifetime | None, new: Lifetime | None) -> bool:
        with self._lock:
            found = self._stored.get(machine_id)
            if found is None or not found.managed or found.state in _ENDED or found.lifetime != known:
                return False
            self._stored[machine_id] = replace(found, lifetime=new)
            return True

    def observe(
        self,
        datacenter_id: str,
        seen: Iterable[MachineObservation],
        started_at: datetime,
        tell: Callable[[Changes], None] | None = None,
    ) -> Changes:
        with self._lock:
            before = dict(self._stored)
            changes = self._observe(datacenter_id, list(seen), started_at)
            if tell is not None:
                after, self._stored = self._stored, before
                tell(changes)
                self._stored = after
            return changes

    def forget_strangers(self, datacenter_id: str) -> None:
        """Drop the machines that nobody adopted; ``InMemoryDatacenters.delete`` asks for it."""
        with self._lock:
            for each in list(self._stored.values()):
                if each.datacenter_id == datacenter_id and not each.managed:
                    del self._stored[each.id]

    def holds_ours(self, datacenter_id: str) -> bool:
        """Whether a managed machine is, or is to be, in the datacenter."""
        return any(
            each.datacenter_id == datacenter_id and each.managed and each.state not in _ENDED
            for each in self._stored.values()
        )

    def _observe(self, datacenter_id: str, listing: list[MachineObservation], started_at: datetime) -> Changes:
        here = {each.id: each for each in self._stored.values() if each.datacenter_id == datacenter_id}
        by_ref = {each.provider_ref: each for each in here.values() if each.provider_ref}
        changes: dict[str, list[Any]] = {"appeared": [], "returned": [], "drifted": [], "orphans": []}
        matched = {}
        for seen in listing:
            known = by_ref.get(seen.ref)
            if known is not None and not _another(known, seen):
                matched[known.id] = seen
        known_refs = {seen.ref for seen in matched.values()}
        for seen in [each for each in listing if each.ref not in known_refs]:
            maker = here.get(seen.mark.machine_id) if seen.mark else None
            if maker is not None and maker.state in _ENDED and self._may_be_orphan(maker, seen):
                if self._recorded_at[maker.id] <= started_at:
                    changes["orphans"].append(seen)
            elif maker is not None and maker.state not in _ENDED and maker.id not in matched:
                matched[maker.id] = seen
            else:
                changes["appeared"].append(self._appear(datacenter_id, seen, started_at))
        for machine_id, seen in matched.items():
            self._compare(here[machine_id], seen, started_at, changes)
        absent = [each for each in here.values() if each.id not in matched]
        missing, gone = self._miss(absent, {seen.ref for seen in listing}, started_at)
        lists = {name: tuple(values) for name, values in changes.items()}
        return Changes(seen=len(listing), missing=tuple(missing), gone_strangers=tuple(gone), **lists)

    def _may_be_orphan(self, ended: VirtualMachine, seen: MachineObservation) -> bool:
        return self._former_ref.get(ended.id) in (None, seen.ref)

    def _miss(self, absent: list[VirtualMachine], refs: set[str], started_at: datetime) -> tuple[list[str], list[str]]:
        missing, gone = [], []
        for each in absent:
            if each.provider_ref is None or self._recorded_at[each.id] > started_at:
                continue
            if not each.managed:
                del self._stored[each.id]
                gone.append(each.id)
                continue
            lost = each
            if each.state is MachineState.ACTIVE:
                lost = replace(each, state=MachineState.MISSING, observed_power=Power.UNKNOWN, problem=_REMOVED)
                missing.append(each.id)
            if each.provider_ref in refs:
                lost = replace(lost, provider_ref=None)
            if lost != each:
                self._stored[each.id] = replace(lost, observed_at=self._clock())
        return missing, gone

    def _compare(
        self,
        recorded: VirtualMachine,
        seen: MachineObservation,
        started_at: datetime,
        changes: dict[str, list[Any]],
    ) -> None:
        if recorded.state is MachineState.REQUESTED or self._recorded_at[recorded.id] > started_at:
            return
        drift = drift_of(recorded.spec, seen) if recorded.managed else ()
        shown = replace(
            recorded,
            observed_power=seen.power,
            observed_host=seen.host,
            observed_size=seen.size,
            networks=seen.networks,
            addresses=seen.addresses,
            drift=drift,
            provider_ref=seen.ref,
            name=recorded.name if recorded.managed else seen.name,
        )
        if recorded.state is MachineState.MISSING:
            shown = replace(shown, state=MachineState.ACTIVE, problem=None)
            changes["returned"].append(recorded.id)
        if drift and drift != recorded.drift:
            changes["drifted"].append(recorded.id)
        if shown != recorded:
            self._stored[recorded.id] = replace(shown, observed_at=self._clock())

    def _appear(self, datacenter_id: str, seen: MachineObservation, started_at: datetime) -> str:
        now = self._clock()
        machine = VirtualMachine(
            id=new_id("vm", now),
            name=seen.name,
            tenant=None,
            datacenter_id=datacenter_id,
            state=MachineState.ACTIVE,
            spec=MachineSpec(name=seen.name, size=seen.size),
            created_at=now,
            provider_ref=seen.ref,
            observed_power=seen.power,
            observed_host=seen.host,
            observed_size=seen.size,
            observed_at=now,
            networks=seen.networks,
            addresses=seen.addresses,
            problem="It bears VAI's mark and is not the machine that VAI made under it." if seen.mark else None,
        )
        self._stored[machine.id] = machine
        self._recorded_at[machine.id] = started_at
        return machine.id

    def _check_name(self, tenant: str | None, name: str) -> None:
        if tenant is None:
            return
        for each in self._stored.values():
            if (each.tenant, each.name) == (tenant, name) and each.state not in _ENDED:
                raise NameTaken(f"A machine named {name!r} exists already.")

    def _record(self, machine_id: str, **changes: Any) -> None:
        with self._lock:
            if machine_id in self._stored:
                self._store(replace(self._stored[machine_id], **changes))

    def _close(self, machine_id: str, **changes: Any) -> None:
        with self._lock:
            found = self._stored.get(machine_id)
            if found is not None:
                self._former_ref[machine_id] = found.provider_ref or self._former_ref.get(machine_id)
                self._store(replace(found, provider_ref=None, **changes))

    def _store(self, machine: VirtualMachine) -> None:
        self._stored[machine.id] = machine
        self._recorded_at[machine.id] = self._clock()


def _expires_before(machine: VirtualMachine, moment: datetime) -> bool:
    return machine.lifetime is not None and machine.lifetime.expires_at < moment


def _another(recorded: VirtualMachine, seen: MachineObservation) -> bool:
    """Whether the provider gave our machine's reference to a machine that bears another's mark."""
    return recorded.managed and seen.mark is not None and seen.mark.machine_id != recorded.id
