"""Ports: what the services need from outside, as protocols. ``store``, ``dispatch`` and ``drivers`` provide them."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, Protocol, TypeVar

from vai_app.domain.capacity import DatacenterCapacity, Room
from vai_app.domain.consumption import Held
from vai_app.domain.datacenters import About, Connection, Datacenter, Inventory, PlacementSettings
from vai_app.domain.events import Event
from vai_app.domain.hypervisor import Hypervisor, TaskObservation
from vai_app.domain.lifetimes import Lifetime
from vai_app.domain.operations import Operation, OperationKind, OperationState, StepName
from vai_app.domain.placement.asks import PlacementAsk
from vai_app.domain.placement.checks import Check
from vai_app.domain.policies import ConfigurationDocument, ConfigurationKind
from vai_app.domain.principals import ApiToken, Confirmation
from vai_app.domain.reservations import Account, Amounts, Owner, Reservation
from vai_app.domain.snapshots import Snapshot
from vai_app.domain.statistics import Sample, StatisticsSettings
from vai_app.domain.virtual_machines import (
    Location,
    MachineObservation,
    MachineState,
    Mark,
    Power,
    Size,
    VirtualMachine,
)

T = TypeVar("T")
PAGE_SIZE = 50
LARGEST_PAGE = 500


class Clock(Protocol):
    """Tells the time, UTC-aware."""

    def __call__(self) -> datetime:
        """Return this moment."""
        ...


class Dispatcher(Protocol):
    """Publishes the names of steps. A lost message is harmless: the sweeper publishes again."""

    def publish(self, step: StepName, operation_id: str) -> None:
        """Nudge: ask some worker to run the step. Raises ServiceUnavailable when the broker is away."""
        ...


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a list; ``next_token`` is ``None`` on the last."""

    items: Sequence[T]
    next_token: str | None


@dataclass(frozen=True, slots=True)
class PageRequest:
    """Which page. ``token`` is opaque and comes from the page before."""

    size: int = PAGE_SIZE
    token: str | None = None


@dataclass(frozen=True, slots=True)
class OperationFilter:
    """Which operations; ``tenant`` ``None`` means every tenant's and is for administrators."""

    tenant: str | None
    state: OperationState | None = None
    kind: OperationKind | None = None
    target_id: str | None = None
    datacenter_id: str | None = None
    open: bool | None = None


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
class EventFilter:
    """Which events, newest first; ``tenant`` ``None`` means all and is for administrators."""

    tenant: str | None
    kind: str | None = None
    operation_id: str | None = None
    machine_id: str | None = None
    datacenter_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class PendingTask:
    """An open operation that waits for a native task."""

    operation_id: str
    step: StepName
    task_ref: str


class OperationRepository(Protocol):
    """Operations, changed only by compare-and-set on their version."""

    def insert(self, operation: Operation) -> Operation:
        """Store a new operation and return it, or the one stored before under the same idempotency key.

        Raises MachineBusy when the target has an open operation, IdempotencyKeyReused when the tenant used
        the key with another payload.
        """
        ...

    def repeated(self, operation: Operation) -> Operation | None:
        """Return the operation stored before under the same idempotency key. Raises IdempotencyKeyReused."""
        ...

    def get(self, operation_id: str, tenant: str | None) -> Operation:
        """Raises NotFound, also for another tenant's operation."""
        ...

    def page(self, wanted: OperationFilter, page: PageRequest) -> Page[Operation]:
        """Newest first."""
        ...

    def open_on(self, target_ids: Collection[str]) -> Mapping[str, Operation]:
        """Return the open operation of each target that has one, by target id; one query."""
        ...

    def claim(self, operation_id: str, step: StepName, owner: str, lease_seconds: float) -> Operation | None:
        """Take the lease and count the attempt; ``None`` when it is not the current step, not open, or leased."""
        ...

    def renew(self, claimed: Operation, lease_seconds: float) -> bool:
        """Let a claim last ``lease_seconds`` from now.

        ``False`` when the version moved on, nobody holds it, or the operation's deadline has passed.
        """
        ...

    def save(self, operation: Operation, claimed: Operation) -> Operation:
        """Store what its holder made of the operation that was claimed. Raises LeaseLost when the version moved on."""
        ...

    def record_task(self, pending: PendingTask, seen: TaskObservation) -> bool:
        """Write the end of an awaited native task; ``False`` when the operation no longer waits for it."""
        ...

    def pending_tasks(self, datacenter_id: str) -> Sequence[PendingTask]:
        """Return what the datacenter's watcher must look at; one indexed query."""
        ...

    def take_due(self, limit: int) -> Sequence[Operation]:
        """Return open operations without a live lease whose ``due_at`` has passed, each postponed at once.

        An operation is handed to one caller only, and to the next after ``REPUBLISH_SECONDS``.
        """
        ...

    def make_due(self, operation_id: str) -> None:
        """Let the next ``take_due`` hand it out, unless it has ended or somebody holds its lease."""
        ...

    def request_cancel(self, operation_id: str, tenant: str | None) -> Operation:
        """Set the wish to cancel and make the operation due. Raises NotFound; Conflict when it has ended."""
        ...

    def clear_residue(self, operation_id: str) -> None:
        """Record that what a failed undo left is gone."""
        ...


class LeaseLost(Exception):
    """The operation's version moved on: another worker holds it now, this one must not write."""


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
        tell: Callable[["Changes"], None] | None = None,
    ) -> "Changes":
        """Bring all machines of a datacenter up to date with one complete listing that began at ``started_at``.

        Strangers' machines are inserted without tenant; ours that are not in the listing become MISSING (if
        they existed before it began), ours that are back become ACTIVE; bulk writes, only what changed.
        ``tell`` is called before anything is written: who sees a change finds it told, and a change whose
        telling fails is found, and told, again.
        """
        ...


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


@dataclass(frozen=True, slots=True)
class DatacenterChange:
    """A change of a datacenter's configuration; ``None`` leaves a property as it is."""

    name: str | None = None
    endpoint: str | None = None
    enabled: bool | None = None
    credentials: Mapping[str, str] | None = None
    verify_tls: bool | None = None
    ca_certificate: str | None = None
    call_timeout_seconds: float | None = None
    options: Mapping[str, object] | None = None
    placement: PlacementSettings | None = None
    statistics: StatisticsSettings | None = None


class DatacenterRepository(Protocol):
    """Datacenters; credentials go in and come out only through ``connection``."""

    def insert(self, datacenter: Datacenter, credentials: Mapping[str, str]) -> None:
        """Raises NameTaken."""
        ...

    def get(self, datacenter_id: str) -> Datacenter:
        """By id or by name. Raises NotFound."""
        ...

    def list(self) -> Sequence[Datacenter]:
        """Every datacenter, in order of name."""
        ...

    def connection(self, datacenter_id: str) -> Connection:
        """Return how to reach it, credentials decrypted. Raises NotFound."""
        ...

    def change(self, datacenter_id: str, change: DatacenterChange, revision: int) -> Datacenter:
        """Store a change based on ``revision``. Raises NotFound, PreconditionFailed, NameTaken."""
        ...

    def delete(self, datacenter_id: str, revision: int) -> None:
        """Forget the datacenter and its strangers' machines. Raises PreconditionFailed, Conflict (ours left)."""
        ...

    def record_reachable(self, datacenter_id: str, about: About | None, inventory: Inventory | None) -> bool:
        """Store what was observed; ``True`` when it was not reachable before."""
        ...

    def record_unreachable(self, datacenter_id: str, problem: str) -> bool:
        """Store why not; ``True`` when it was reachable (or unknown) before."""
        ...

    def record_collected(self, datacenter_id: str, problem: str | None) -> None:
        """Store that its statistics were read now, or why they were not."""
        ...


class CapacityBook(Protocol):
    """What every datacenter may give, and the reservations against it. ``services.resource_manager`` keeps it."""

    def snapshot(self, datacenter_ids: Collection[str] | None = None) -> Sequence[DatacenterCapacity]:
        """Return these datacenters, or all in order of name, as they are known now. Raises NotFound."""
        ...

    def unreserved(self, datacenter_id: str) -> DatacenterCapacity:
        """Return a datacenter as if nothing were reserved in it: much cheaper where room does not count.

        Raises NotFound.
        """
        ...

    def reserve(self, machine_id: str, datacenter_id: str, location: Location, room: Room, owner: Owner) -> bool:
        """Reserve room for an owner's machine, atomically; ``False`` when it is no longer there.

        A machine has one reservation: a second call for it replaces the first, or changes nothing and is ``False``.
        Raises QuotaExceeded, which no other place would help.
        """
        ...

    def resize(self, machine_id: str, size: Size, owner: Owner, *, done: bool) -> None:
        """Reserve what a machine takes while it changes to a size (the larger of both), or when it is ``done``.

        Raises CapacityShort and QuotaExceeded, unless ``done``.
        """
        ...

    def move(self, machine_id: str, host: str, owner: Owner, *, done: bool) -> None:
        """Reserve at a host, by reference, what a machine holds at another; when ``done``, whatever room there is.

        Raises CapacityShort, unless ``done``.
        """
        ...

    def release(self, machine_id: str) -> None:
        """Give back what is reserved for a machine; does nothing the second time."""
        ...


class ReservationRepository(Protocol):
    """Reservations and the accounts that they count in; every call is atomic over all of them."""

    def get(self, machine_id: str) -> Reservation | None:
        """Return a machine's reservation."""
        ...

    def of_datacenter(self, datacenter_id: str) -> Sequence[Reservation]:
        """Return all reservations in a datacenter."""
        ...

    def total_in(self, datacenter_id: str) -> Amounts:
        """Return the sum of all reservations in a datacenter, every dimension."""
        ...

    def accounts(self, datacenter_id: str) -> Sequence[Account]:
        """Return the accounts of a datacenter's hosts and datastores, and of its hypervisor's quota."""
        ...

    def account(self, account_id: str) -> Account | None:
        """Return one account."""
        ...

    def take(self, wanted: Reservation, quota: Amounts | None) -> str | None:
        """Put this reservation in the place of the machine's own, if all accounts have room for what it adds.

        Returns the account that lacks room, and has then changed nothing. ``quota`` limits the tenant's account;
        ``None`` says that nobody limits the tenant, and its account need not know. Raises AccountMissing.
        """
        ...

    def correct(self, true: Reservation, known: Reservation | None) -> bool:
        """Write a reservation as the hypervisor has it, room or not, if it still is as ``known``.

        Raises AccountMissing.
        """
        ...

    def release(self, machine_id: str) -> bool:
        """Give back a machine's reservation; ``False`` when it has none."""
        ...

    def held_between(
        self, since: datetime, until: datetime, *, tenant: str | None, datacenter_id: str | None
    ) -> Iterable[Held]:
        """Return what was held at some time between, by a tenant or by all, in a datacenter or in all.

        Whatever was reserved once is in it, however often it changed and whatever became of the machine.
        """
        ...

    def open_accounts(self, accounts: Sequence[Account]) -> None:
        """Set limits and what others use, opening accounts where missing; what is reserved stays."""
        ...

    def count_tenant(self, tenant: str) -> Account:
        """Open a tenant's account, and count in it what was reserved while nobody limited the tenant."""
        ...

    def tenants_with_accounts(self) -> Sequence[str]:
        """Return the tenants whose accounts are open: those that were limited once."""
        ...


class Permissions(Protocol):
    """What policies and quotas say of a machine in a datacenter."""

    def judge(self, ask: PlacementAsk, datacenter: Datacenter) -> Sequence[Check]:
        """Return the checks of policy and quota, each with its name and numbers; none where nothing is limited."""
        ...


class EventRepository(Protocol):
    """The event log."""

    def append(self, *events: Event) -> None:
        """Store events at once; storing the same id again does nothing."""
        ...

    def page(self, wanted: EventFilter, page: PageRequest) -> Page[Event]:
        """Newest first."""
        ...

    def archive(self, before: datetime) -> int:
        """Move older events to the archive and return how many; repeatable after any interruption."""
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


@dataclass(frozen=True, slots=True)
class SampleFilter:
    """Samples of one machine, from ``since`` on and before ``until``. Whoever asks has seen that it is the tenant's."""

    machine_id: str
    since: datetime | None = None
    until: datetime | None = None


class StatisticsRepository(Protocol):
    """Samples of what machines used, each kept until its time."""

    def append(self, samples: Sequence[Sample], keep_until: datetime) -> None:
        """Store samples at once; storing the same id again does nothing."""
        ...

    def newest_totals(self, datacenter_id: str, since: datetime) -> Mapping[str, Sample]:
        """Return the newest sample with totals of each machine that has one since, by the machine's id."""
        ...

    def page(self, wanted: SampleFilter, page: PageRequest) -> Page[Sample]:
        """Newest first."""
        ...


class TokenRepository(Protocol):
    """Embedded tokens, found by digest."""

    def insert(self, token: ApiToken) -> None:
        """Store a token."""
        ...

    def find(self, digest: str) -> ApiToken | None:
        """Return the token whose secret has this SHA-256 digest."""
        ...

    def list(self) -> Sequence[ApiToken]:
        """Every token, oldest first."""
        ...

    def delete(self, token_id: str) -> None:
        """Revoke a token. Raises NotFound."""
        ...


class TokenClient(Protocol):
    """One access service that confirms tokens."""

    def confirm(self, secret: str) -> Confirmation | None:
        """Return whose token it is; ``None`` where the service knows no such token. Raises ServiceUnavailable."""
        ...

    def close(self) -> None:
        """Close the connections."""
        ...


class ConfigurationRepository(Protocol):
    """Roles, policies and tenants, each a row of revisions that never change."""

    def newest(self) -> Sequence[ConfigurationDocument]:
        """Return the newest revision of everything that was ever stored, removals too."""
        ...

    def store(self, document: ConfigurationDocument) -> None:
        """Store the next revision. Raises PreconditionFailed when there is one with its number."""
        ...

    def history(self, kind: ConfigurationKind, name: str) -> Sequence[ConfigurationDocument]:
        """Return every revision, newest first; none where the name was never used."""
        ...


class LeaseRepository(Protocol):
    """Leases by name: at most one holder at a time, lost when not renewed."""

    def hold(self, name: str, owner: str, seconds: float) -> bool:
        """Take or renew the lease; ``False`` while another owner has it."""
        ...

    def release(self, name: str, owner: str) -> None:
        """Give it back, if it is the owner's."""
        ...


class Hypervisors(Protocol):
    """Every registered datacenter's hypervisor, one session each in this process, behind its share and breaker."""

    def use(self, datacenter_id: str) -> AbstractContextManager[Hypervisor]:
        """Lend the hypervisor for a few calls.

        Raises NotFound, Conflict (disabled), ProviderBusy (the datacenter's share of this process is in use),
        ProviderUnavailable (the circuit breaker is open: no call was made).
        """
        ...

    def session(self, datacenter_id: str) -> Hypervisor:
        """Return the hypervisor without share and breaker, for a long poll of the datacenter's one watcher."""
        ...

    def check_connection(self, connection: Connection) -> None:
        """Call nobody. Raises InvalidRequest for a kind that has no driver and settings that the driver cannot use."""
        ...

    def try_connection(self, connection: Connection) -> About:
        """Verify a connection that is not registered yet, and close it."""
        ...

    def close(self) -> None:
        """Close every session."""
        ...
