"""What is answered: one dataclass an object, its JSON written and its schema documented from the same types."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from vai_app.domain.capacity import DatacenterCapacity, Room
from vai_app.domain.datacenters import Datacenter, Host, HostState, Image, PlacementSettings, Reachability
from vai_app.domain.events import Event
from vai_app.domain.operations import Operation, OperationKind, OperationState, Problem, StepName
from vai_app.domain.statistics import StatisticsSettings
from vai_app.domain.virtual_machines import MachineState, Power, Size, VirtualMachine


@dataclass(slots=True)
class Reference:
    """An object by id and name."""

    id: str
    name: str


@dataclass(slots=True)
class SizeView:
    """A size."""

    cpus: int
    memory_mib: int
    disk_gib: int


@dataclass(slots=True)
class RunningOperation:
    """The operation that is working on a machine."""

    id: str
    kind: OperationKind
    state: OperationState
    step: StepName


@dataclass(slots=True)
class Observed:
    """What the hypervisor showed last."""

    power: Power
    host: str | None
    size: SizeView | None
    networks: Sequence[str]
    addresses: Sequence[str]
    at: datetime | None


@dataclass(slots=True)
class MachineView:
    """A machine: recorded state, running operation and observation, apart."""

    id: str
    name: str
    tenant: str | None
    datacenter: Reference
    state: MachineState
    managed: bool
    size: SizeView
    image: str | None
    networks: Sequence[str]
    operation: RunningOperation | None
    observed: Observed
    drift: Sequence[str]
    problem: str | None
    provider_ref: str | None
    labels: Mapping[str, str]
    created_at: datetime
    expires_at: datetime | None


@dataclass(slots=True)
class StepView:
    """One line of an operation's history."""

    step: StepName
    event: str
    at: datetime
    attempts: int
    detail: str | None


@dataclass(slots=True)
class ProblemView:
    """Why an operation did not succeed, or what it waits for."""

    type: str
    title: str
    detail: str
    step: StepName | None


@dataclass(slots=True)
class OperationView:
    """One change of the world.

    A batch has ``operations``, one for each machine that has a place, and the names of those ``unplaced``; each of
    its creations has the batch's id. What is a machine's id elsewhere is the batch's own for the batch.
    """

    id: str
    kind: OperationKind
    state: OperationState
    tenant: str
    requested_by: str
    correlation_id: str
    machine_id: str
    datacenter_id: str | None
    batch_id: str | None
    operations: Sequence[str]
    unplaced: Sequence[str]
    plan: Sequence[StepName]
    step: StepName | None
    attempts: int
    problem: ProblemView | None
    waiting_for: ProblemView | None
    recommended_datacenter_id: str | None
    residue: Sequence[str]
    history: Sequence[StepView]
    cancel_requested: bool
    created_at: datetime
    deadline: datetime
    finished_at: datetime | None


@dataclass(slots=True)
class DatacenterView:
    """A datacenter, without its credentials."""

    id: str
    name: str
    kind: str
    endpoint: str
    enabled: bool
    verify_tls: bool
    call_timeout_seconds: float
    options: Mapping[str, Any]
    placement: PlacementSettings
    statistics: StatisticsSettings
    reachability: Reachability
    problem: str | None
    product: str | None
    revision: int
    created_at: datetime
    observed_at: datetime | None
    collected_at: datetime | None
    collection_problem: str | None


@dataclass(slots=True)
class HostView:
    """A host."""

    ref: str
    name: str
    datacenter: Reference
    cluster: str | None
    state: HostState
    power: Power
    cpus: int
    memory_mib: int
    used_cpus: int
    used_memory_mib: int


@dataclass(slots=True)
class ImageView:
    """An image or template."""

    ref: str
    name: str
    datacenter: Reference
    size_gib: int


@dataclass(slots=True)
class RoomView:
    """An amount of what machines take."""

    cpus: int
    memory_mib: int


@dataclass(slots=True)
class HostCapacityView:
    """What one host may give out, by its allocation ratios, and who has it.

    ``used`` is of machines that are not VAI's, ``reserved`` of those that VAI made, makes or adopted.
    """

    ref: str
    name: str
    state: HostState
    allocatable: RoomView
    used: RoomView
    reserved: RoomView
    free: RoomView


@dataclass(slots=True)
class DatastoreCapacityView:
    """What one datastore may be promised, in GiB, and to whom."""

    ref: str
    name: str
    allocatable_gib: int
    used_gib: int
    reserved_gib: int
    free_gib: int


@dataclass(slots=True)
class QuotaCapacityView:
    """One dimension of what the hypervisor lets VAI's account have in all, in MiB for memory."""

    dimension: str  # machines, cpus, memory_mib
    allocatable: int
    used: int
    reserved: int
    free: int


@dataclass(slots=True)
class CapacityView:
    """The sums over the hosts that are up, and over the accessible datastores; each by itself; and the quota."""

    hosts: int
    hosts_up: int
    cpus: int
    used_cpus: int
    memory_mib: int
    used_memory_mib: int
    disk_gib: int
    free_disk_gib: int
    by_host: Sequence[HostCapacityView]
    by_datastore: Sequence[DatastoreCapacityView]
    quota: Sequence[QuotaCapacityView]
    observed_at: datetime | None


@dataclass(slots=True)
class EventView:
    """An event."""

    id: str
    at: datetime
    kind: str
    outcome: str
    message: str
    actor: str
    correlation_id: str
    tenant: str | None
    operation_id: str | None
    machine_id: str | None
    datacenter_id: str | None


@dataclass(slots=True)
class MachinePage:
    """A page of machines."""

    items: Sequence[MachineView]
    next_page_token: str | None


@dataclass(slots=True)
class OperationPage:
    """A page of operations."""

    items: Sequence[OperationView]
    next_page_token: str | None


@dataclass(slots=True)
class EventPage:
    """A page of events."""

    items: Sequence[EventView]
    next_page_token: str | None


@dataclass(slots=True)
class DatacenterList:
    """Every datacenter."""

    items: Sequence[DatacenterView]


@dataclass(slots=True)
class HostList:
    """Hosts."""

    items: Sequence[HostView]


@dataclass(slots=True)
class ImageList:
    """Images."""

    items: Sequence[ImageView]


@dataclass(slots=True)
class FieldError:
    """What is wrong with one field."""

    field: str
    message: str


@dataclass(slots=True)
class ProblemDetails:
    """An RFC 9457 problem."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    correlation_id: str
    errors: Sequence[FieldError] = field(default=())


@dataclass(slots=True)
class Health:
    """Whether the process, or everything it needs, is well; parts by name."""

    status: str
    parts: Mapping[str, str]


def size_view(size: Size) -> SizeView:
    """Return a size as it is shown."""
    return SizeView(size.cpus, size.memory_mib, size.disk_gib)


def machine_view(machine: VirtualMachine, name_of: Callable[[str], str], operation: Operation | None) -> MachineView:
    """Return a machine as it is shown; ``name_of`` names datacenters."""
    seen = machine.observed_size
    return MachineView(
        id=machine.id,
        name=machine.name,
        tenant=machine.tenant,
        datacenter=Reference(machine.datacenter_id, name_of(machine.datacenter_id)),
        state=machine.state,
        managed=machine.managed,
        size=size_view(machine.spec.size),
        image=machine.spec.image,
        networks=machine.spec.networks,
        operation=RunningOperation(operation.id, operation.kind, operation.state, operation.step)
        if operation
        else None,
        observed=Observed(
            power=machine.observed_power,
            host=machine.observed_host,
            size=size_view(seen) if seen else None,
            networks=machine.networks,
            addresses=machine.addresses,
            at=machine.observed_at,
        ),
        drift=machine.drift,
        problem=machine.problem,
        provider_ref=machine.provider_ref,
        labels=machine.labels,
        created_at=machine.created_at,
        expires_at=machine.lifetime.expires_at if machine.lifetime else None,
    )


def operation_view(operation: Operation) -> OperationView:
    """Return an operation as it is shown."""
    return OperationView(
        id=operation.id,
        kind=operation.kind,
        state=operation.state,
        tenant=operation.tenant,
        requested_by=operation.requested_by,
        correlation_id=operation.correlation_id,
        machine_id=operation.target_id,
        datacenter_id=operation.datacenter_id,
        batch_id=operation.arguments.get("batch"),
        operations=operation.memo.get("operations", ()),
        unplaced=operation.memo.get("unplaced", ()),
        plan=operation.plan,
        step=operation.step if operation.state.open else None,
        attempts=operation.attempts,
        problem=_problem_view(operation.problem),
        waiting_for=_problem_view(operation.waiting_for),
        recommended_datacenter_id=operation.recommended_datacenter_id,
        residue=operation.residue,
        history=[StepView(each.step, each.event, each.at, each.attempts, each.detail) for each in operation.history],
        cancel_requested=operation.cancel_requested,
        created_at=operation.created_at,
        deadline=operation.deadline,
        finished_at=operation.finished_at,
    )


def datacenter_view(datacenter: Datacenter) -> DatacenterView:
    """Return a datacenter as it is shown."""
    about = datacenter.about
    return DatacenterView(
        id=datacenter.id,
        name=datacenter.name,
        kind=datacenter.kind,
        endpoint=datacenter.endpoint,
        enabled=datacenter.enabled,
        verify_tls=datacenter.verify_tls,
        call_timeout_seconds=datacenter.call_timeout_seconds,
        options=datacenter.options,
        placement=datacenter.placement,
        statistics=datacenter.statistics,
        reachability=datacenter.reachability,
        problem=datacenter.problem,
        product=f"{about.product} {about.version}" if about else None,
        revision=datacenter.revision,
        created_at=datacenter.created_at,
        observed_at=datacenter.observed_at,
        collected_at=datacenter.collected_at,
        collection_problem=datacenter.collection_problem,
    )


def host_view(host: Host, datacenter: Reference) -> HostView:
    """Return a host as it is shown."""
    return HostView(
        ref=host.ref,
        name=host.name,
        datacenter=datacenter,
        cluster=host.cluster,
        state=host.state,
        power=host.power,
        cpus=host.cpus,
        memory_mib=host.memory_mib,
        used_cpus=host.used_cpus,
        used_memory_mib=host.used_memory_mib,
    )


def image_view(image: Image, datacenter: Reference) -> ImageView:
    """Return an image as it is shown."""
    return ImageView(image.ref, image.name, datacenter, image.size_gib)


def capacity_view(capacity: DatacenterCapacity) -> CapacityView:
    """Return what a datacenter has, and who has it."""
    inventory = capacity.datacenter.inventory
    up = [host for host in inventory.hosts if host.state is HostState.UP]
    stores = [store for store in inventory.datastores if store.accessible]
    return CapacityView(
        hosts=len(inventory.hosts),
        hosts_up=len(up),
        cpus=sum(host.cpus for host in up),
        used_cpus=sum(host.used_cpus for host in up),
        memory_mib=sum(host.memory_mib for host in up),
        used_memory_mib=sum(host.used_memory_mib for host in up),
        disk_gib=sum(store.capacity_gib for store in stores),
        free_disk_gib=sum(store.free_gib for store in stores),
        by_host=[
            HostCapacityView(
                ref=each.host.ref,
                name=each.host.name,
                state=each.host.state,
                allocatable=_room_view(each.allocatable),
                used=_room_view(each.used),
                reserved=_room_view(each.reserved),
                free=_room_view(each.free),
            )
            for each in capacity.hosts
        ],
        by_datastore=[
            DatastoreCapacityView(
                ref=each.datastore.ref,
                name=each.datastore.name,
                allocatable_gib=each.allocatable_gib,
                used_gib=each.used_gib,
                reserved_gib=each.reserved_gib,
                free_gib=each.free_gib,
            )
            for each in capacity.datastores
        ],
        quota=[
            QuotaCapacityView(each.dimension, each.allocatable, each.used, each.reserved, each.free)
            for each in capacity.quota
        ],
        observed_at=capacity.datacenter.observed_at,
    )


def event_view(event: Event) -> EventView:
    """Return an event as it is shown."""
    return EventView(
        id=event.id,
        at=event.at,
        kind=event.kind,
        outcome=event.outcome,
        message=event.message,
        actor=event.actor,
        correlation_id=event.correlation_id,
        tenant=event.tenant,
        operation_id=event.operation_id,
        machine_id=event.machine_id,
        datacenter_id=event.datacenter_id,
    )


def _problem_view(problem: Problem | None) -> ProblemView | None:
    if problem is None:
        return None
    return ProblemView(f"/problems/{problem.problem}", problem.title, problem.detail, problem.step)


def _room_view(room: Room) -> RoomView:
    return RoomView(room.cpus, room.memory_mib)


def _running(operation: Operation) -> RunningOperation:
    return RunningOperation(operation.id, operation.kind, operation.state, operation.step)
