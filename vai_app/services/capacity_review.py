"""The review of reservations after each complete listing: what others use, and what is not as it was promised."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from vai_app.domain.capacity import Room
from vai_app.domain.datacenters import Datacenter
from vai_app.domain.errors import NotFound
from vai_app.domain.ports.capacity import ReservationRepository
from vai_app.domain.ports.clock import Clock
from vai_app.domain.ports.machines import MachineRepository
from vai_app.domain.ports.operations import OperationRepository
from vai_app.domain.reservations import Reservation, datastore_account, host_account, quota_account, total_of
from vai_app.domain.virtual_machines import MachineObservation, MachineState, Power, VirtualMachine
from vai_app.services.resource_manager import accounts_of, seen_in

_ENDED = (MachineState.FAILED, MachineState.DELETED)


@dataclass(frozen=True, slots=True)
class Correction:
    """What was corrected: an event's kind and sentence. ``machine`` is ``None`` where no record is left."""

    kind: str
    sentence: str
    machine: VirtualMachine | None


class CapacityReview:
    """Brings a datacenter's accounts and reservations in line with one complete listing."""

    def __init__(
        self,
        *,
        reservations: ReservationRepository,
        machines: MachineRepository,
        operations: OperationRepository,
        clock: Clock,
        lease_seconds: float,
    ) -> None:
        """``lease_seconds`` is how long a batch may hold room for a machine that has no record yet."""
        self._reservations = reservations
        self._machines = machines
        self._operations = operations
        self._clock = clock
        self._lease = timedelta(seconds=lease_seconds)

    def review(
        self, datacenter: Datacenter, listing: Sequence[MachineObservation], started_at: datetime
    ) -> list[Correction]:
        """Return what was corrected. ``datacenter`` bears the inventory that was read with the listing."""
        held = {each.machine_id: each for each in self._reservations.of_datacenter(datacenter.id)}
        rows = {seen.mark.machine_id: seen for seen in listing if seen.mark is not None}
        suspects = [each for each in held if each not in rows]
        suspects += [each for each, seen in rows.items() if _truth(datacenter, held.get(each), seen) != held.get(each)]
        suspects += [each for each in rows if each not in held]
        busy = self._operations.open_on(suspects) if suspects else {}
        corrections = []
        for machine_id in suspects:
            known = held.get(machine_id)
            if machine_id in busy or (known is not None and known.since >= started_at):
                continue
            corrections += self._correct(datacenter, machine_id, known, rows.get(machine_id))
        counted = {each.machine_id: each for each in self._reservations.of_datacenter(datacenter.id)}
        self._reservations.open_accounts(accounts_of(datacenter, _used(datacenter, listing, counted)))
        for tenant in self._reservations.tenants_with_accounts():
            # A process that did not know of a new policy yet may have reserved without counting.
            self._reservations.count_tenant(tenant)
        return corrections

    def _correct(
        self, datacenter: Datacenter, machine_id: str, known: Reservation | None, seen: MachineObservation | None
    ) -> list[Correction]:
        machine = self._record(machine_id)
        if seen is None:
            if not self._is_over(known, machine) or not self._reservations.release(machine_id):
                return []
            name = machine.name if machine else machine_id
            sentence = f"Machine {name} came to nothing: its reservation was released."
            return [Correction("reservation.reclaimed", sentence, machine)]
        if machine is None or machine.tenant is None or machine.state in _ENDED:
            return []
        true = self._as_seen(datacenter, machine, known, seen)
        if not self._reservations.correct(true, known):
            return []
        if known is None:
            sentence = f"Machine {machine.name} had no reservation and has one now."
            return [Correction("reservation.found", sentence, machine)]
        told = []
        if known.host != true.host:
            told.append(f"runs on host {true.host} and not on {known.host}")
        if (known.room.cpus, known.room.memory_mib) != (true.room.cpus, true.room.memory_mib):
            told.append(f"takes {true.room.cpus} CPUs and {true.room.memory_mib} MiB")
        sentence = f"Machine {machine.name} {' and '.join(told)}: its reservation was corrected."
        return [Correction("reservation.corrected", sentence, machine)] if told else []

    def _as_seen(
        self, datacenter: Datacenter, machine: VirtualMachine, known: Reservation | None, seen: MachineObservation
    ) -> Reservation:
        """Return the reservation that the machine should have, all its accounts open."""
        tenant = known.tenant if known else machine.tenant or ""
        first = Reservation(machine.id, datacenter.id, tenant, _room_of(seen, None), self._clock())
        true = replace(_truth(datacenter, known or first, seen) or first, since=self._clock())
        opened = {each.id for each in self._reservations.accounts(datacenter.id)}
        missing = [each for each in accounts_of(datacenter) if each.id not in opened]
        self._reservations.open_accounts(missing)
        return seen_in(true, datacenter)

    def _is_over(self, known: Reservation | None, machine: VirtualMachine | None) -> bool:
        """Whether nothing of the machine can exist or come to exist."""
        if machine is None:
            return known is not None and known.since + self._lease < self._clock()
        return machine.state in _ENDED

    def _record(self, machine_id: str) -> VirtualMachine | None:
        try:
            return self._machines.get(machine_id, None)
        except NotFound:
            return None


def _truth(datacenter: Datacenter, known: Reservation | None, seen: MachineObservation) -> Reservation | None:
    """Return a reservation as the listing has it."""
    if known is None:
        return None
    host = _host_of(datacenter, seen) or known.host
    return replace(known, host=host, room=_room_of(seen, known.room))


def _used(
    datacenter: Datacenter, listing: Collection[MachineObservation], counted: Mapping[str, Reservation]
) -> dict[str, dict[str, int]]:
    """Return what machines take that have no reservation. Of a mark that was copied, one machine has it."""
    used: dict[str, dict[str, int]] = {}
    ours: set[str] = set()
    for seen in listing:
        machine_id = seen.mark.machine_id if seen.mark else None
        if machine_id is not None and machine_id in counted and machine_id not in ours:
            ours.add(machine_id)
            continue
        host = _host_of(datacenter, seen)
        if host is not None and seen.power is not Power.OFF:
            found = used.setdefault(host_account(datacenter.id, host), {"cpus": 0, "memory_mib": 0})
            found["cpus"] += seen.size.cpus
            found["memory_mib"] += seen.size.memory_mib
    for store in datacenter.inventory.datastores:
        own = sum(counted[each].room.disk_gib for each in ours if counted[each].datastore == store.ref)
        others = max(0, store.capacity_gib - store.free_gib - own)
        used[datastore_account(datacenter.id, store.ref)] = {"disk_gib": others}
    quota = datacenter.inventory.quota
    if quota is not None:
        totals = [total_of(counted[each].room) for each in ours]
        used[quota_account(datacenter.id)] = {
            name: max(0, taken - sum(total[name] for total in totals)) for name, taken in quota.used.items()
        }
    return used


def _host_of(datacenter: Datacenter, seen: MachineObservation) -> str | None:
    host = datacenter.inventory.host(seen.host) if seen.host is not None else None
    return host.ref if host else None


def _room_of(seen: MachineObservation, known: Room | None) -> Room:
    disk_gib = seen.size.disk_gib or (known.disk_gib if known else 0)
    return Room(seen.size.cpus, seen.size.memory_mib, disk_gib)
