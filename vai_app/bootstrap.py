"""Bootstrap: the only place that chooses implementations and joins them."""

import os
import socket
from dataclasses import dataclass
from datetime import UTC, datetime

from vai_app.access.factory import token_clients
from vai_app.dispatch import QUEUE_OF, CeleryDispatcher
from vai_app.domain.errors import ServiceUnavailable
from vai_app.domain.operations import StepName
from vai_app.domain.ports.access import TokenRepository
from vai_app.domain.ports.capacity import CapacityBook, Permissions
from vai_app.domain.ports.clock import LeaseRepository
from vai_app.domain.ports.datacenters import DatacenterRepository, Hypervisors
from vai_app.domain.ports.events import EventRepository
from vai_app.domain.ports.machines import MachineRepository, SnapshotRepository, UserDataRepository
from vai_app.domain.ports.operations import OperationRepository
from vai_app.domain.ports.statistics import StatisticsRepository
from vai_app.drivers.pool import HypervisorPool
from vai_app.services.acceptance import Acceptance
from vai_app.services.access import AccessService
from vai_app.services.batches import AwaitBatch, BatchPlacement, PlaceBatch
from vai_app.services.capacity_review import CapacityReview
from vai_app.services.controller import Controller
from vai_app.services.datacenter_registry import DatacenterRegistry
from vai_app.services.lifetimes import Lifetimes
from vai_app.services.nudge import Nudge
from vai_app.services.placement import PlaceMachine, Placement
from vai_app.services.policy_manager import PolicyManager
from vai_app.services.provisioning.changes import AdoptMachine, ChangePower, ResizeMachine
from vai_app.services.provisioning.creation import CreateMachine, StartMachine
from vai_app.services.provisioning.migration import MigrateMachine
from vai_app.services.provisioning.removal import DeleteMachine, StopMachine
from vai_app.services.provisioning.snapshots import DeleteSnapshots, RegainPower, RestoreMachine, TakeSnapshot
from vai_app.services.quotas import PoliciesAndQuotas, Quotas
from vai_app.services.reconciler import Reconciler
from vai_app.services.refusals import RefusalLog
from vai_app.services.request_validator import ValidateRequest
from vai_app.services.resource_manager import ResourceManager
from vai_app.services.stats_collector import StatsCollector
from vai_app.services.steps import Step
from vai_app.services.watcher import Watcher
from vai_app.services.workflow import Workflow
from vai_app.settings import Settings
from vai_app.solver import LazySolver
from vai_app.store import Store, open_store
from vai_app.telemetry.scrubbing import learn


@dataclass(frozen=True)
class Services:
    """Everything that a doorway (API, task, message, command) may call."""

    settings: Settings
    controller: Controller
    placement: Placement
    capacity: ResourceManager
    datacenter_registry: DatacenterRegistry
    access: AccessService
    policies: PolicyManager
    workflow: Workflow
    reconciler: Reconciler
    lifetimes: Lifetimes
    stats_collector: StatsCollector
    watcher: Watcher
    operations: OperationRepository
    machines: MachineRepository
    snapshots: SnapshotRepository
    statistics: StatisticsRepository
    datacenters: DatacenterRepository
    events: EventRepository
    tokens: TokenRepository
    leases: LeaseRepository
    refusals: RefusalLog
    hypervisors: Hypervisors
    store: Store
    dispatcher: CeleryDispatcher

    def readiness(self) -> dict[str, str]:
        """Return, for each part that a request needs, ``ok`` or a sentence that says what is wrong."""
        found = {}
        for part, check in (("database", self.store.ping), ("broker", self.dispatcher.ping)):
            try:
                check()
                found[part] = "ok"
            except ServiceUnavailable as error:
                found[part] = error.detail
        return found

    def close(self) -> None:
        """Write what is still to be written, and close every connection."""
        self.refusals.close()
        self.access.close()
        self.hypervisors.close()
        self.dispatcher.close()
        self.store.close()


def build_services(settings: Settings, dispatcher: CeleryDispatcher | None = None) -> Services:
    """Join the real implementations; ``dispatcher`` replaces the one of this process's Celery configuration.

    Connects to nothing until the first use.
    """
    learn(settings.secrets())
    store = open_store(
        settings.mongodb_url.get_secret_value(),
        settings.mongodb_database,
        settings.read_secret_key,
        clock=utc_now,
    )
    dispatcher = dispatcher or CeleryDispatcher()
    nudge = Nudge(store.operations, dispatcher)
    hypervisors = HypervisorPool(datacenters=store.datacenters, share=settings.datacenter_share)
    policies = PolicyManager(configuration=store.configuration, events=store.events, clock=utc_now)
    quotas = Quotas(policies=policies, reservations=store.reservations)
    capacity = ResourceManager(
        datacenters=store.datacenters, reservations=store.reservations, clock=utc_now, quotas=quotas
    )
    permissions = PoliciesAndQuotas(policies=policies, quotas=quotas)
    placement = build_placement(store.datacenters, store.machines, capacity, permissions)
    controller = Controller(
        operations=store.operations,
        machines=store.machines,
        datacenters=store.datacenters,
        dispatcher=dispatcher,
        nudge=nudge,
        user_data=store.user_data,
        snapshots=store.snapshots,
        policies=policies,
        acceptance=Acceptance(
            operations=store.operations,
            policies=policies,
            nudge=nudge,
            clock=utc_now,
            deadline_seconds=settings.operation_deadline_seconds,
        ),
        clock=utc_now,
    )
    reconciler = Reconciler(
        hypervisors=hypervisors,
        datacenters=store.datacenters,
        machines=store.machines,
        operations=store.operations,
        events=store.events,
        controller=controller,
        review=CapacityReview(
            reservations=store.reservations,
            machines=store.machines,
            operations=store.operations,
            clock=utc_now,
            lease_seconds=settings.operation_deadline_seconds,
        ),
        clock=utc_now,
    )
    batches = BatchPlacement(
        placement=placement, capacity=capacity, solver=LazySolver(), solver_seconds=settings.solver_seconds
    )
    steps = build_steps(placement, capacity, store.machines, hypervisors, store.user_data, store.snapshots)
    steps[StepName.PLACE_BATCH] = PlaceBatch(
        batches=batches, capacity=capacity, operations=store.operations, nudge=nudge, clock=utc_now
    )
    steps[StepName.AWAIT_BATCH] = AwaitBatch(operations=store.operations)
    return Services(
        settings=settings,
        controller=controller,
        placement=placement,
        capacity=capacity,
        datacenter_registry=DatacenterRegistry(
            datacenters=store.datacenters, hypervisors=hypervisors, events=store.events, clock=utc_now
        ),
        access=AccessService(
            clients=token_clients(settings, store.tokens),
            tokens=store.tokens,
            events=store.events,
            clock=utc_now,
            cache_seconds=settings.access_cache_seconds,
        ),
        policies=policies,
        workflow=Workflow(
            steps=steps,
            queue_of=QUEUE_OF,
            operations=store.operations,
            events=store.events,
            nudge=nudge,
            clock=utc_now,
            lease_seconds=settings.lease_seconds,
        ),
        reconciler=reconciler,
        lifetimes=Lifetimes(
            machines=store.machines, events=store.events, controller=controller, policies=policies, clock=utc_now
        ),
        stats_collector=StatsCollector(
            statistics=store.statistics,
            machines=store.machines,
            datacenters=store.datacenters,
            leases=store.leases,
            hypervisors=hypervisors,
            clock=utc_now,
        ),
        watcher=Watcher(
            owner=f"{socket.gethostname()}/{os.getpid()}",
            operations=store.operations,
            datacenters=store.datacenters,
            leases=store.leases,
            hypervisors=hypervisors,
            nudge=nudge,
            reconciler=reconciler,
            inventory_seconds=settings.inventory_seconds,
        ),
        operations=store.operations,
        machines=store.machines,
        snapshots=store.snapshots,
        statistics=store.statistics,
        datacenters=store.datacenters,
        events=store.events,
        tokens=store.tokens,
        leases=store.leases,
        refusals=RefusalLog(events=store.events, clock=utc_now),
        hypervisors=hypervisors,
        store=store,
        dispatcher=dispatcher,
    )


def build_placement(
    datacenters: DatacenterRepository, machines: MachineRepository, capacity: CapacityBook, permissions: Permissions
) -> Placement:
    """Return the placement over a book of capacity."""
    return Placement(datacenters=datacenters, machines=machines, capacity=capacity, permissions=permissions)


def build_steps(
    placement: Placement,
    capacity: CapacityBook,
    machines: MachineRepository,
    hypervisors: Hypervisors,
    user_data: UserDataRepository,
    snapshots: SnapshotRepository,
) -> dict[StepName, Step]:
    """Return the steps that work on one machine, by name."""
    steps: list[Step] = [
        ValidateRequest(placement=placement, machines=machines),
        PlaceMachine(placement=placement, capacity=capacity, machines=machines),
        CreateMachine(hypervisors=hypervisors, machines=machines, capacity=capacity, user_data=user_data),
        *(
            kind(hypervisors=hypervisors, machines=machines, capacity=capacity)
            for kind in (
                StartMachine,
                StopMachine,
                DeleteMachine,
                ChangePower,
                ResizeMachine,
                MigrateMachine,
                AdoptMachine,
                RegainPower,
            )
        ),
        *(
            kind(hypervisors=hypervisors, machines=machines, capacity=capacity, snapshots=snapshots)
            for kind in (TakeSnapshot, RestoreMachine, DeleteSnapshots)
        ),
    ]
    return {step.name: step for step in steps}


def utc_now() -> datetime:
    """Return this moment, UTC-aware, in the milliseconds that the database keeps."""
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)
