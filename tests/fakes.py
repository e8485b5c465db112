"""Fakes: every port of ``vai_app/domain/ports`` in memory, held to the same contract suite as the real ones."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime, timedelta
from threading import RLock

from tests.fake_lists import fits, page_of
from tests.fake_machines import InMemoryMachines
from tests.fake_reservations import InMemoryReservations
from vai_app.domain.datacenters import About, Connection, Datacenter, Inventory, Reachability
from vai_app.domain.errors import (
    Conflict,
    IdempotencyKeyReused,
    MachineBusy,
    NameTaken,
    NotFound,
    PreconditionFailed,
    ServiceUnavailable,
    VaiError,
)
from vai_app.domain.events import Event
from vai_app.domain.hypervisor import Hypervisor, TaskObservation, TaskState
from vai_app.domain.operations import REPUBLISH_SECONDS, Operation, OperationState, StepName, problem_of
from vai_app.domain.policies import ConfigurationDocument, ConfigurationKind
from vai_app.domain.ports.datacenters import DatacenterChange
from vai_app.domain.ports.events import EventFilter
from vai_app.domain.ports.operations import LeaseLost, OperationFilter, PendingTask
from vai_app.domain.ports.paging import Page, PageRequest
from vai_app.domain.ports.statistics import SampleFilter
from vai_app.domain.principals import ApiToken
from vai_app.domain.snapshots import Snapshot
from vai_app.domain.statistics import Sample


class SettableClock:
    """A clock that stands still until it is moved."""

    def __init__(self, now: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> datetime:
        """Move on and return the new time."""
        self.now += timedelta(seconds=seconds)
        return self.now


class RecordingDispatcher:
    """Keeps what was published; set ``away`` to be a broker that cannot be reached."""

    def __init__(self) -> None:
        self.published: list[tuple[StepName, str]] = []
        self.away = False

    def publish(self, step: StepName, operation_id: str) -> None:
        if self.away:
            raise ServiceUnavailable("The broker cannot be reached. Check VAI_BROKER_URL.")
        self.published.append((step, operation_id))

    def take(self) -> list[tuple[StepName, str]]:
        """Return what was published since the last call, oldest first."""
        taken, self.published = self.published, []
        return taken


class InMemoryOperations:
    """The ``OperationRepository`` port."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._lock = RLock()
        self._stored: dict[str, Operation] = {}

    def insert(self, operation: Operation) -> Operation:
        with self._lock:
            earlier = self.repeated(operation)
            if earlier is not None:
                return earlier
            if self.open_on([operation.target_id]):
                raise MachineBusy(f"Machine {operation.target_id} has an open operation.")
            self._stored[operation.id] = operation
            return operation

    def repeated(self, operation: Operation) -> Operation | None:
        with self._lock:
            for earlier in self._stored.values():
                if operation.idempotency_key is not None and _key(earlier) == _key(operation):
                    if earlier.payload_digest != operation.payload_digest:
                        raise IdempotencyKeyReused(f"The idempotency key belongs to operation {earlier.id}.")
                    return earlier
            return None

    def get(self, operation_id: str, tenant: str | None) -> Operation:
        found = self._stored.get(operation_id)
        if found is None or tenant not in (None, found.tenant):
            raise NotFound(f"There is no operation {operation_id}.")
        return found

    def page(self, wanted: OperationFilter, page: PageRequest) -> Page[Operation]:
        found = [
            each
            for each in self._stored.values()
            if fits(wanted.tenant, each.tenant)
            and fits(wanted.state, each.state)
            and fits(wanted.kind, each.kind)
            and fits(wanted.target_id, each.target_id)
            and fits(wanted.datacenter_id, each.datacenter_id)
            and fits(wanted.open, each.state.open)
        ]
        return page_of(found, page, key=lambda each: each.id, descending=True)

    def open_on(self, target_ids: Collection[str]) -> Mapping[str, Operation]:
        with self._lock:
            open_ones = [each for each in self._stored.values() if each.state.open]
        return {each.target_id: each for each in open_ones if each.target_id in target_ids}

    def claim(self, operation_id: str, step: StepName, owner: str, lease_seconds: float) -> Operation | None:
        with self._lock:
            found = self._stored.get(operation_id)
            if found is None or not found.state.open or found.step is not step or self._leased(found):
                return None
            until = self._clock() + timedelta(seconds=lease_seconds)
            claimed = replace(
                found,
                lease_owner=owner,
                lease_until=until,
                due_at=until,
                version=found.version + 1,
                attempts=found.attempts + 1,
            )
            self._stored[operation_id] = claimed
            return claimed

    def renew(self, claimed: Operation, lease_seconds: float) -> bool:
        with self._lock:
            found = self._stored.get(claimed.id)
            now = self._clock()
            if claimed.lease_owner is None or found is None or found.deadline <= now:
                return False
            if (found.version, found.lease_owner) != (claimed.version, claimed.lease_owner):
                return False
            until = now + timedelta(seconds=lease_seconds)
            self._stored[claimed.id] = replace(found, lease_until=until, due_at=until)
            return True

    def save(self, operation: Operation, claimed: Operation) -> Operation:
        with self._lock:
            found = self._stored.get(claimed.id)
            if found is None or found.version != claimed.version:
                raise LeaseLost(operation.id)
            saved = replace(operation, version=operation.version + 1, cancel_requested=found.cancel_requested)
            if saved.state is OperationState.RUNNING and found.cancel_requested and not operation.cancel_requested:
                saved = replace(saved, due_at=self._clock())
            self._stored[operation.id] = saved
            return saved

    def record_task(self, pending: PendingTask, seen: TaskObservation) -> bool:
        with self._lock:
            found = self._stored.get(pending.operation_id)
            if found is None or not found.state.open or self._leased(found) or found.native_task is None:
                return False
            awaited = found.native_task
            if awaited.ref != pending.task_ref or awaited.state is not TaskState.RUNNING:
                return False
            ended = replace(
                awaited,
                state=seen.state,
                machine_ref=seen.machine_ref or awaited.machine_ref,
                problem=problem_of(seen.error, pending.step) if seen.error else None,
            )
            due_at = self._clock() + timedelta(seconds=REPUBLISH_SECONDS)
            self._stored[found.id] = replace(found, native_task=ended, due_at=due_at, version=found.version + 1)
            return True

    def pending_tasks(self, datacenter_id: str) -> Sequence[PendingTask]:
        with self._lock:
            return [
                PendingTask(each.id, each.step, each.native_task.ref)
                for each in self._stored.values()
                if each.state.open
                and each.datacenter_id == datacenter_id
                and each.native_task is not None
                and each.native_task.state is TaskState.RUNNING
            ]

    def take_due(self, limit: int) -> Sequence[Operation]:
        with self._lock:
            now = self._clock()
            due = [each for each in self._stored.values() if each.state.open and each.due_at <= now]
            free = sorted((each for each in due if not self._leased(each)), key=lambda each: each.due_at)[:limit]
            for each in free:
                self._stored[each.id] = replace(each, due_at=now + timedelta(seconds=REPUBLISH_SECONDS))
            return free

    def make_due(self, operation_id: str) -> None:
        with self._lock:
            found = self._stored.get(operation_id)
            if found is not None and found.state.open and not self._leased(found):
                self._stored[operation_id] = replace(found, due_at=self._clock())

    def request_cancel(self, operation_id: str, tenant: str | None) -> Operation:
        with self._lock:
            found = self.get(operation_id, tenant)
            if not found.state.open:
                raise Conflict(f"Operation {operation_id} has ended: it is {found.state}.")
            self._stored[operation_id] = replace(found, cancel_requested=True, due_at=self._clock())
            return self._stored[operation_id]

    def clear_residue(self, operation_id: str) -> None:
        with self._lock:
            if operation_id in self._stored:
                self._stored[operation_id] = replace(self._stored[operation_id], residue=())

    def _leased(self, operation: Operation) -> bool:
        return operation.lease_until is not None and operation.lease_until > self._clock()


class InMemoryDatacenters:
    """The ``DatacenterRepository`` port."""

    def __init__(self, clock: Callable[[], datetime], machines: InMemoryMachines) -> None:
        self._clock = clock
        self._machines = machines
        self._lock = RLock()
        self._stored: dict[str, Datacenter] = {}
        self._credentials: dict[str, dict[str, str]] = {}

    def insert(self, datacenter: Datacenter, credentials: Mapping[str, str]) -> None:
        with self._lock:
            self._check_name(datacenter.name, datacenter.id)
            self._stored[datacenter.id] = datacenter
            self._credentials[datacenter.id] = dict(credentials)

    def get(self, datacenter_id: str) -> Datacenter:
        for each in list(self._stored.values()):
            if datacenter_id in (each.id, each.name):
                return each
        raise NotFound(f"There is no datacenter {datacenter_id!r}.")

    def list(self) -> Sequence[Datacenter]:
        return sorted(self._stored.values(), key=lambda each: each.name)

    def connection(self, datacenter_id: str) -> Connection:
        found = self.get(datacenter_id)
        shared = {each.name for each in fields(Connection)} & {each.name for each in fields(Datacenter)}
        return Connection(
            datacenter_id=found.id,
            credentials=self._credentials[found.id],
            **{name: getattr(found, name) for name in shared},
        )

    def change(self, datacenter_id: str, change: DatacenterChange, revision: int) -> Datacenter:
        with self._lock:
            found = self._current(datacenter_id, revision)
            wanted = {each.name: getattr(change, each.name) for each in fields(change)}
            changes = {name: value for name, value in wanted.items() if value is not None}
            credentials = changes.pop("credentials", None)
            self._check_name(changes.get("name", found.name), found.id)
            if credentials is not None:
                self._credentials[found.id] = dict(credentials)
            self._stored[found.id] = replace(found, revision=revision + 1, **changes)
            return self._stored[found.id]

    def delete(self, datacenter_id: str, revision: int) -> None:
        with self._lock:
            found = self._current(datacenter_id, revision)
            if self._machines.holds_ours(found.id):
                raise Conflict("The datacenter holds machines that VAI manages. Delete them first.")
            self._machines.forget_strangers(found.id)
            del self._stored[found.id]
            del self._credentials[found.id]

    def record_reachable(self, datacenter_id: str, about: About | None, inventory: Inventory | None) -> bool:
        with self._lock:
            found = self._stored.get(datacenter_id)
            if found is None:
                return False
            shown = replace(found, reachability=Reachability.REACHABLE, problem=None, about=about or found.about)
            if inventory is not None:
                shown = replace(shown, inventory=inventory, observed_at=self._clock())
            self._stored[datacenter_id] = shown
            return found.reachability is not Reachability.REACHABLE

    def record_unreachable(self, datacenter_id: str, problem: str) -> bool:
        with self._lock:
            found = self._stored.get(datacenter_id)
            if found is None:
                return False
            self._stored[datacenter_id] = replace(found, reachability=Reachability.UNREACHABLE, problem=problem)
            return found.reachability is not Reachability.UNREACHABLE

    def record_collected(self, datacenter_id: str, problem: str | None) -> None:
        with self._lock:
            found = self._stored.get(datacenter_id)
            if found is not None:
                at = self._clock() if problem is None else found.collected_at
                self._stored[datacenter_id] = replace(found, collected_at=at, collection_problem=problem)

    def _current(self, datacenter_id: str, revision: int) -> Datacenter:
        if datacenter_id not in self._stored:
            raise NotFound(f"There is no datacenter {datacenter_id!r}.")
        found = self._stored[datacenter_id]
        if found.revision != revision:
            raise PreconditionFailed(f"The datacenter's revision is {found.revision} now.")
        return found

    def _check_name(self, name: str, but_id: str) -> None:
        if any(each.name == name and each.id != but_id for each in self._stored.values()):
            raise NameTaken(f"A datacenter named {name!r} is registered.")


class InMemoryEvents:
    """The ``EventRepository`` port; ``archived`` holds what was moved to the archive."""

    def __init__(self) -> None:
        self._lock = RLock()
        self.stored: dict[str, Event] = {}
        self.archived: dict[str, Event] = {}

    def append(self, *events: Event) -> None:
        with self._lock:
            for each in events:
                self.stored.setdefault(each.id, each)

    def page(self, wanted: EventFilter, page: PageRequest) -> Page[Event]:
        found = [
            each
            for each in list(self.stored.values())
            if fits(wanted.tenant, each.tenant)
            and fits(wanted.kind, each.kind)
            and fits(wanted.operation_id, each.operation_id)
            and fits(wanted.machine_id, each.machine_id)
            and fits(wanted.datacenter_id, each.datacenter_id)
            and (wanted.since is None or each.at >= wanted.since)
            and (wanted.until is None or each.at < wanted.until)
        ]
        return page_of(found, page, key=lambda each: f"{each.at.isoformat()} {each.id}", descending=True)

    def archive(self, before: datetime) -> int:
        with self._lock:
            old = {name: each for name, each in self.stored.items() if each.at < before}
            self.archived |= old
            for name in old:
                del self.stored[name]
            return len(old)


class InMemoryTokens:
    """The ``TokenRepository`` port."""

    def __init__(self) -> None:
        self._stored: dict[str, ApiToken] = {}

    def insert(self, token: ApiToken) -> None:
        if self.find(token.digest) is None:
            self._stored[token.id] = token

    def find(self, digest: str) -> ApiToken | None:
        return next((each for each in list(self._stored.values()) if each.digest == digest), None)

    def list(self) -> Sequence[ApiToken]:
        return sorted(self._stored.values(), key=lambda each: each.id)

    def delete(self, token_id: str) -> None:
        if self._stored.pop(token_id, None) is None:
            raise NotFound(f"There is no token {token_id}.")


class InMemoryConfiguration:
    """The ``ConfigurationRepository`` port."""

    def __init__(self) -> None:
        self._lock = RLock()
        self._stored: dict[tuple[str, str], list[ConfigurationDocument]] = {}

    def newest(self) -> Sequence[ConfigurationDocument]:
        with self._lock:
            return [revisions[-1] for _, revisions in sorted(self._stored.items())]

    def store(self, document: ConfigurationDocument) -> None:
        with self._lock:
            revisions = self._stored.setdefault((document.kind, document.name), [])
            if any(each.revision == document.revision for each in revisions):
                raise PreconditionFailed(f"The {document.kind} {document.name} has changed meanwhile.")
            revisions.append(document)

    def history(self, kind: ConfigurationKind, name: str) -> Sequence[ConfigurationDocument]:
        with self._lock:
            return list(reversed(self._stored.get((kind, name), [])))


class InMemoryLeases:
    """The ``LeaseRepository`` port."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._lock = RLock()
        self._held: dict[str, tuple[str, datetime]] = {}

    def hold(self, name: str, owner: str, seconds: float) -> bool:
        with self._lock:
            now = self._clock()
            holder, until = self._held.get(name, (owner, now))
            if holder != owner and until > now:
                return False
            self._held[name] = (owner, now + timedelta(seconds=seconds))
            return True

    def release(self, name: str, owner: str) -> None:
        with self._lock:
            if self._held.get(name, ("", None))[0] == owner:
                del self._held[name]


class FakeHypervisors:
    """The ``Hypervisors`` port: lends what it was given; an entry in ``trouble`` is raised instead of lending."""

    def __init__(self, hypervisors: Mapping[str, Hypervisor] | None = None) -> None:
        self.hypervisors = dict(hypervisors or {})
        self.trouble: dict[str, VaiError] = {}
        self.about = About(product="fake", version="1", account="vai")
        self.tried: list[Connection] = []
        self.closed = False

    @contextmanager
    def use(self, datacenter_id: str) -> Iterator[Hypervisor]:
        yield self.session(datacenter_id)

    def session(self, datacenter_id: str) -> Hypervisor:
        if datacenter_id in self.trouble:
            raise self.trouble[datacenter_id]
        if datacenter_id not in self.hypervisors:
            raise NotFound(f"There is no datacenter {datacenter_id!r}.")
        return self.hypervisors[datacenter_id]

    def check_connection(self, connection: Connection) -> None:
        """Find nothing wrong with the settings."""

    def try_connection(self, connection: Connection) -> About:
        """Accept every connection; trouble may be set for the endpoint too, since a new datacenter's id is unknown."""
        self.tried.append(connection)
        for name in (connection.datacenter_id, connection.endpoint):
            if name in self.trouble:
                raise self.trouble[name]
        return self.about

    def close(self) -> None:
        self.closed = True


class InMemoryUserData:
    """The ``UserDataRepository`` port."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._kept: dict[str, tuple[datetime, str]] = {}

    def put(self, machine_id: str, user_data: str) -> None:
        self._kept[machine_id] = (self._clock() + timedelta(days=1), user_data)

    def get(self, machine_id: str) -> str | None:
        until, user_data = self._kept.get(machine_id, (self._clock(), None))
        return user_data if self._clock() < until else None

    def delete(self, machine_id: str) -> None:
        self._kept.pop(machine_id, None)

    def seal_all_anew(self) -> int:
        return 0


class InMemorySnapshots:
    """The ``SnapshotRepository`` port."""

    def __init__(self) -> None:
        self._kept: dict[str, Snapshot] = {}

    def put(self, snapshot: Snapshot) -> None:
        self._kept[snapshot.id] = snapshot

    def get(self, snapshot_id: str, tenant: str | None) -> Snapshot:
        found = self._kept.get(snapshot_id)
        if found is None or tenant not in (None, found.tenant):
            message = f"There is no snapshot {snapshot_id}."
            raise NotFound(message)
        return found

    def of_machine(self, machine_id: str) -> Sequence[Snapshot]:
        return [each for _, each in sorted(self._kept.items()) if each.machine_id == machine_id]

    def delete(self, snapshot_id: str) -> None:
        self._kept.pop(snapshot_id, None)


class InMemoryStatistics:
    """The ``StatisticsRepository`` port."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._kept: dict[str, tuple[datetime, Sample]] = {}

    def append(self, samples: Sequence[Sample], keep_until: datetime) -> None:
        for sample in samples:
            self._kept.setdefault(sample.id, (keep_until, sample))

    def newest_totals(self, datacenter_id: str, since: datetime) -> Mapping[str, Sample]:
        found = [each for each in self._all() if each.datacenter_id == datacenter_id and each.at >= since]
        return {each.machine_id: each for each in found if each.totals}

    def page(self, wanted: SampleFilter, page: PageRequest) -> Page[Sample]:
        found = [
            each
            for each in self._all()
            if each.machine_id == wanted.machine_id
            and (wanted.since is None or each.at >= wanted.since)
            and (wanted.until is None or each.at < wanted.until)
        ]
        return page_of(found, page, key=lambda each: f"{each.at.isoformat()} {each.id}", descending=True)

    def _all(self) -> list[Sample]:
        now = self._clock()
        return sorted((sample for until, sample in self._kept.values() if until > now), key=lambda each: each.at)


@dataclass(frozen=True)
class FakeStore:
    """All repositories in memory, by the names that ``vai_app.store.Store`` gives them."""

    clock: SettableClock = field(default_factory=SettableClock)
    operations: InMemoryOperations = field(init=False)
    machines: InMemoryMachines = field(init=False)
    datacenters: InMemoryDatacenters = field(init=False)
    events: InMemoryEvents = field(init=False)
    tokens: InMemoryTokens = field(init=False)
    configuration: InMemoryConfiguration = field(init=False)
    leases: InMemoryLeases = field(init=False)
    reservations: InMemoryReservations = field(init=False)
    user_data: InMemoryUserData = field(init=False)
    snapshots: InMemorySnapshots = field(init=False)
    statistics: InMemoryStatistics = field(init=False)

    def __post_init__(self) -> None:
        machines = InMemoryMachines(self.clock)
        parts = {
            "operations": InMemoryOperations(self.clock),
            "machines": machines,
            "datacenters": InMemoryDatacenters(self.clock, machines),
            "events": InMemoryEvents(),
            "tokens": InMemoryTokens(),
            "configuration": InMemoryConfiguration(),
            "leases": InMemoryLeases(self.clock),
            "reservations": InMemoryReservations(self.clock),
            "user_data": InMemoryUserData(self.clock),
            "snapshots": InMemorySnapshots(),
            "statistics": InMemoryStatistics(self.clock),
        }
        for name, part in parts.items():
            object.__setattr__(self, name, part)

    def prepare(self) -> None:
        """Nothing is to be made."""

    def ping(self) -> None:
        """Memory always answers."""

    def close(self) -> None:
        """Nothing is to be closed."""


def _key(operation: Operation) -> tuple[str, str | None]:
    return (operation.tenant, operation.idempotency_key)
