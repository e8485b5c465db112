"""Machines, and what is kept of each beside its record."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from vai_app.domain.lifetimes import Lifetime
from vai_app.domain.ports.paging import Page, PageRequest
from vai_app.domain.snapshots import Snapshot
from vai_app.domain.virtual_machines import MachineObservation, MachineState, Mark, Power, Size, VirtualMachine


@dataclass(frozen=True, slots=True)
class MachineFilter:
    """Which machines; ``tenant`` ``None`` means every machine, unadopted ones too, and is for administrators."""

    tenant: str | None
    datacenter_id: str | None = None
    state: MachineState | None = None
    power: Power | None = None
    name: str | None = None  # exact
    name_prefix: str | None = None
    managed: bool | None = None
    expires_before: datetime | None = None
    include_deleted: bool = False


@dataclass(frozen=True, slots=True)
class Changes:
    """What a complete listing changed in the records, as machine ids; ``orphans`` bear our mark without a record."""

    seen: int = 0
    appeared: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    returned: tuple[str, ...] = ()
    drifted: tuple[str, ...] = ()
    gone_strangers: tuple[str, ...] = ()
    orphans: tuple[MachineObservation, ...] = ()


class MachineRepository(Protocol):
    """Machines. ``record_*`` writes what VAI knows, ``observe`` what hypervisors show; they never mix."""

    def insert(self, machine: VirtualMachine) -> None:
        """Store a new machine; storing the same id again does nothing. Raises NameTaken within the tenant."""
        ...

    def get(self, machine_id: str, tenant: str | None) -> VirtualMachine:
        """Raises NotFound, also for another tenant's machine."""
        ...

    def get_all(self, machine_ids: Collection[str]) -> Sequence[VirtualMachine]:
        """Return those of these that exist, of any tenant, in order of id."""
        ...

    def page(self, wanted: MachineFilter, page: PageRequest) -> Page[VirtualMachine]:
        """In order of id."""
        ...

    def running(self, datacenter_id: str) -> Mapping[str, str]:
        """Return the ids of the machines that run there by last word, ours and strangers', by their references."""
        ...

    def record_datacenter(self, machine_id: str, datacenter_id: str) -> None:
        """Placement chose."""
        ...

    def record_active(self, machine_id: str, provider_ref: str, mark: Mark) -> None:
        """The machine exists at the provider, powered off."""
        ...

    def record_power(self, machine_id: str, power: Power) -> None:
        """An operation of ours changed the power and saw it succeed."""
        ...

    def record_size(self, machine_id: str, size: Size) -> None:
        """An operation of ours changed the size and saw it succeed."""
        ...

    def record_host(self, machine_id: str, host: str) -> None:
        """An operation of ours moved the machine to a host, by reference, and saw it succeed."""
        ...

    def record_adopted(self, machine_id: str, tenant: str, mark: Mark) -> None:
        """A stranger's machine became ours."""
        ...

    def record_failed(self, machine_id: str, problem: str) -> None:
        """The creation failed; the name is free again."""
        ...

    def record_deleted(self, machine_id: str) -> None:
        """The machine is gone because VAI removed it; the name is free again."""
        ...

    def lifetimes_due(self, now: datetime, limit: int) -> Sequence[VirtualMachine]:
        """Return machines about whose lifetime something is to be done, the longest overdue first."""
        ...

    def change_lifetime(self, machine_id: str, known: Lifetime | None, new: Lifetime | None) -> bool:
        """Write a lifetime in place of the one that is known; ``False`` when it changed, or the machine has ended."""
        ...

    def observe(
        self,
        datacenter_id: str,
        seen: Iterable[MachineObservation],
        started_at: datetime,
        tell: Callable[[Changes], None] | None = None,
    ) -> Changes:
        """Bring all machines of a datacenter up to date with one complete listing that began at ``started_at``.

        Strangers' machines are inserted without tenant; ours that are not in the listing become MISSING (if
        they existed before it began), ours that are back become ACTIVE; bulk writes, only what changed.
        ``tell`` is called before anything is written: who sees a change finds it told, and a change whose
        telling fails is found, and told, again.
        """
        ...


class UserDataRepository(Protocol):
    """What new machines are to read at their first start. Sealed, and kept a day at most: it may hold secrets."""

    def put(self, machine_id: str, user_data: str) -> None:
        """Keep it; once more is as good as once."""
        ...

    def get(self, machine_id: str) -> str | None:
        """Return it, ``None`` when it is not kept, or no longer."""
        ...

    def delete(self, machine_id: str) -> None:
        """Forget it; does nothing the second time."""
        ...

    def seal_all_anew(self) -> int:
        """Seal with the newest key what is sealed with another. Returns how many were; may be interrupted."""
        ...


class SnapshotRepository(Protocol):
    """The snapshots that VAI took and has not removed."""

    def put(self, snapshot: Snapshot) -> None:
        """Record a snapshot; once more is as good as once."""
        ...

    def get(self, snapshot_id: str, tenant: str | None) -> Snapshot:
        """Return one snapshot of the tenant, of any for ``None``. Raises NotFound."""
        ...

    def of_machine(self, machine_id: str) -> Sequence[Snapshot]:
        """Return a machine's snapshots, oldest first. Whoever asks has seen that the machine is the tenant's."""
        ...

    def delete(self, snapshot_id: str) -> None:
        """Forget a snapshot; does nothing the second time."""
        ...
