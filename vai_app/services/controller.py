"""The VAI controller: turns what a principal asks into an operation, stores it and nudges its first step.

It never calls a hypervisor. What it answers is the operation; what becomes of it is the workflow's.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from vai_app.domain.datacenters import Datacenter
from vai_app.domain.errors import Conflict, NameTaken, NotFound
from vai_app.domain.hypervisor import Capability
from vai_app.domain.identifiers import new_id
from vai_app.domain.operations import (
    Done,
    Operation,
    OperationKind,
    Reject,
    advance,
    begin,
)
from vai_app.domain.placement.asks import NO_WISH, PlacementWish
from vai_app.domain.placement.batches import BatchRules
from vai_app.domain.ports.clock import Clock
from vai_app.domain.ports.datacenters import DatacenterRepository
from vai_app.domain.ports.machines import MachineRepository, SnapshotRepository, UserDataRepository
from vai_app.domain.ports.operations import Dispatcher, OperationRepository
from vai_app.domain.principals import Principal
from vai_app.domain.snapshots import MOST_SNAPSHOTS, Snapshot
from vai_app.domain.virtual_machines import (
    Location,
    MachineObservation,
    MachineSpec,
    MachineState,
    PowerAction,
    Size,
    VirtualMachine,
)
from vai_app.services.acceptance import AUTONOMOUS, CREATIONS, Acceptance, RequestContext
from vai_app.services.arguments import BatchMachine, machine_of, plain, spec_of
from vai_app.services.nudge import Nudge
from vai_app.services.policy_manager import CREATE, RESIZE, PolicyManager, ask_of, ask_of_size

_MOVES = {Capability.MIGRATE_RUNNING, Capability.MIGRATE_STOPPED, Capability.EVACUATE}


class Controller:
    """The hub of use cases."""

    def __init__(  # noqa: PLR0913 - one parameter a collaborator
        self,
        *,
        operations: OperationRepository,
        machines: MachineRepository,
        datacenters: DatacenterRepository,
        dispatcher: Dispatcher,
        nudge: Nudge,
        user_data: UserDataRepository,
        snapshots: SnapshotRepository,
        policies: PolicyManager,
        acceptance: Acceptance,
        clock: Clock,
    ) -> None:
        """Collaborators."""
        self._operations = operations
        self._machines = machines
        self._datacenters = datacenters
        self._dispatcher = dispatcher
        self._nudge = nudge
        self._user_data = user_data
        self._snapshots = snapshots
        self._policies = policies
        self._acceptance = acceptance
        self._clock = clock

    def create_machine(
        self,
        context: RequestContext,
        datacenter: str,
        spec: MachineSpec,
        labels: Mapping[str, str],
        wish: PlacementWish = NO_WISH,
        user_data: str | None = None,
    ) -> Operation:
        """Accept a machine; ``datacenter`` is an id or a name, ``user_data`` base64 where ``spec`` says there is some.

        Raises NotFound (no such datacenter, no such machine to be apart from), Conflict (disabled), NameTaken
        (within the tenant), IdempotencyKeyReused, PolicyRefused (a limit is broken: its policy and numbers).
        """
        chosen = self._datacenters.get(datacenter)
        for machine_id in (*wish.apart_from, *wish.together_with):
            self._machines.get(machine_id, context.principal.tenant)
        arguments = {
            "spec": plain(spec),
            "labels": dict(labels),
            "placement": plain(wish),
            "roles": list(context.principal.roles),
        }
        return self._create(context, context.principal.tenant, chosen, arguments, spec, user_data)

    def confirm_elsewhere(self, context: RequestContext, operation_id: str) -> Operation:
        """Accept the rejected creation again, in the datacenter that its explanation recommends.

        Asked twice, it answers the same operation. Raises NotFound, Conflict (nothing is recommended, the tenant said
        "never", the recommended datacenter is disabled by now, the user data was forgotten), NameTaken.
        """
        rejected = self._operations.get(operation_id, context.scope)
        alternative = rejected.recommended_datacenter_id
        if rejected.kind is not OperationKind.CREATE_VM or alternative is None:
            message = (
                f"Operation {rejected.id} recommends no other datacenter: only a creation that was rejected where "
                "it was asked for, may go elsewhere and fits there can be confirmed."
            )
            raise Conflict(message)
        spec = replace(spec_of(rejected), location=Location())
        arguments = {**rejected.arguments, "spec": plain(spec)}
        key = f"confirm-{rejected.id}"
        context = replace(context, idempotency_key=key)
        user_data = self._user_data.get(rejected.target_id) if spec.user_data else None
        if spec.user_data and user_data is None:
            raise Conflict("The machine's user data is not kept any more. Ask for the machine anew.")
        return self._create(context, rejected.tenant, self._datacenters.get(alternative), arguments, spec, user_data)

    def create_batch(
        self, context: RequestContext, machines: Sequence[BatchMachine], datacenters: Sequence[str], rules: BatchRules
    ) -> Operation:
        """Accept machines that are placed together, in these datacenters (ids or names) or in any.

        Raises NotFound (no such datacenter), IdempotencyKeyReused, PolicyRefused (by what one of the machines is; the
        datacenters that policies allow are placement's to find).
        """
        arguments = {
            "machines": [{"spec": plain(each.spec), "labels": dict(each.labels)} for each in machines],
            "datacenters": [self._datacenters.get(each).id for each in datacenters],
            "rules": plain(rules),
            "roles": list(context.principal.roles),
        }
        target = new_id("batch", self._clock())
        operation = self._acceptance.operation(
            context, OperationKind.CREATE_BATCH, target, None, context.principal.tenant, arguments
        )

        def check() -> None:
            for ask in {ask_of(each.spec) for each in machines}:
                self._policies.require_machine(context.principal, CREATE, ask)

        return self._acceptance.accept(operation, check)

    def delete_machine(self, context: RequestContext, machine_id: str) -> Operation:
        """Accept the removal of a machine that VAI made or adopted. Raises NotFound, Conflict, MachineBusy."""
        machine = self._machines.get(machine_id, context.scope)
        return self._accept(context, OperationKind.DELETE_VM, machine, {}, lambda: require_managed(machine, "deleted"))

    def change_power(self, context: RequestContext, machine_id: str, action: PowerAction) -> Operation:
        """Accept a power action. Raises NotFound, Conflict, MachineBusy."""
        machine = self._machines.get(machine_id, context.scope)
        arguments = {"action": action.value}
        return self._accept(
            context, OperationKind.POWER_VM, machine, arguments, lambda: _require_active(machine, "started or stopped")
        )

    def resize_machine(self, context: RequestContext, machine_id: str, size: Size) -> Operation:
        """Accept another size. Raises NotFound, Conflict, MachineBusy, PolicyRefused."""
        machine = self._machines.get(machine_id, context.scope)
        arguments = {"size": plain(size), "roles": list(context.principal.roles)}

        def check() -> None:
            _require_active(machine, "resized")
            self._policies.require_machine(context.principal, RESIZE, ask_of_size(size))

        return self._accept(context, OperationKind.RESIZE_VM, machine, arguments, check)

    def migrate_machine(
        self, context: RequestContext, machine_id: str, host: str | None, *, host_is_off: bool
    ) -> Operation:
        """Accept a move to another host of the datacenter, or to one that VAI chooses.

        ``host_is_off`` is the caller's word that the machine's dead host does not run it. Raises NotFound, Conflict.
        """
        machine = self._machines.get(machine_id, context.scope)

        def check() -> None:
            _require_active(machine, "moved")
            self._require_able(machine, _MOVES, "move machines between hosts")

        arguments = {"host": host, "host_is_off": host_is_off}
        return self._accept(context, OperationKind.MIGRATE_VM, machine, arguments, check)

    def take_snapshot(self, context: RequestContext, machine_id: str, name: str | None) -> Operation:
        """Accept a snapshot of a machine; without a name it gets its time. Raises NotFound, Conflict, NameTaken."""
        machine = self._machines.get(machine_id, context.scope)

        def check() -> None:
            _require_active(machine, "snapshotted")
            self._require_able(machine, {Capability.SNAPSHOT}, "take snapshots")
            known = self._snapshots.of_machine(machine.id)
            if len(known) >= MOST_SNAPSHOTS:
                message = f"Machine {machine.name} has {len(known)} snapshots, and may not have more. Delete one first."
                raise Conflict(message)
            if name in {each.name for each in known}:
                message = f"Machine {machine.name} has a snapshot {name!r}. Choose another name, or delete it."
                raise NameTaken(message)

        return self._accept(context, OperationKind.SNAPSHOT_VM, machine, {"name": name}, check)

    def restore_machine(self, context: RequestContext, machine_id: str, snapshot_id: str) -> Operation:
        """Accept that a machine goes back to a snapshot; what came later is lost. Raises NotFound, Conflict."""
        machine, snapshot = self._snapshot_of(context, machine_id, snapshot_id)
        arguments = {"snapshot_id": snapshot.id, "roles": list(context.principal.roles)}
        return self._accept(
            context, OperationKind.RESTORE_VM, machine, arguments, lambda: _require_active(machine, "restored")
        )

    def delete_snapshot(self, context: RequestContext, machine_id: str, snapshot_id: str) -> Operation:
        """Accept the removal of a snapshot. Raises NotFound, MachineBusy."""
        machine, snapshot = self._snapshot_of(context, machine_id, snapshot_id)
        arguments = {"snapshot_id": snapshot.id}
        return self._accept(context, OperationKind.DELETE_SNAPSHOT, machine, arguments, lambda: None)

    def adopt_machine(self, context: RequestContext, machine_id: str, tenant: str) -> Operation:
        """Accept that a machine found in a datacenter becomes the tenant's. Raises NotFound, Conflict."""
        machine = self._machines.get(machine_id, context.scope)
        adopted = replace(machine, tenant=tenant)
        return self._accept(
            context, OperationKind.ADOPT_VM, adopted, {"tenant": tenant}, lambda: _require_unmanaged(machine)
        )

    def remove_orphan(self, machine: VirtualMachine, seen: MachineObservation) -> Operation:
        """Open the removal of what a creation left behind: it bears our mark, and the record says it must not be."""
        arguments = {"provider_ref": seen.ref}
        return self._accept(self._autonomous(machine), OperationKind.DELETE_VM, machine, arguments, lambda: None)

    def remove_expired(self, machine: VirtualMachine) -> Operation:
        """Open the removal of a machine whose lifetime has passed. Raises Conflict (deleted), MachineBusy."""
        arguments = {"expired": True}
        check = partial(require_managed, machine, "removed")
        return self._accept(self._autonomous(machine), OperationKind.DELETE_VM, machine, arguments, check)

    def cancel_operation(self, context: RequestContext, operation_id: str) -> Operation:
        """Ask for an operation to be turned back at its next step. Raises NotFound, Conflict (ended, too late)."""
        operation = self._operations.get(operation_id, context.scope)
        if operation.kind not in CREATIONS and operation.state.open:
            message = f"A {operation.kind} operation cannot be turned back. Wait for its end."
            raise Conflict(message)
        cancelled = self._operations.request_cancel(operation_id, context.scope)
        self._nudge(cancelled.step, cancelled.id)
        return cancelled

    def resend_operation(self, context: RequestContext, operation_id: str) -> Operation:
        """Publish the operation's current step again. Raises NotFound, Conflict (ended)."""
        operation = self._operations.get(operation_id, context.scope)
        if not operation.state.open:
            message = f"Operation {operation.id} has ended: it {operation.state}."
            raise Conflict(message)
        self._dispatcher.publish(operation.step, operation.id)
        return operation

    def _snapshot_of(
        self, context: RequestContext, machine_id: str, snapshot_id: str
    ) -> tuple[VirtualMachine, Snapshot]:
        machine = self._machines.get(machine_id, context.scope)
        snapshot = self._snapshots.get(snapshot_id, context.scope)
        if snapshot.machine_id != machine.id:
            message = f"There is no snapshot {snapshot_id}."
            raise NotFound(message)
        return machine, snapshot

    def _require_able(self, machine: VirtualMachine, wanted: Collection[Capability], what: str) -> None:
        """Raise Conflict where the machine's datacenter is known to have none of the capabilities."""
        datacenter = self._datacenters.get(machine.datacenter_id)
        known = datacenter.inventory.capabilities
        if known is not None and not set(wanted) & set(known):
            message = (
                f"VAI cannot {what} in datacenter {datacenter.name}: {datacenter.kind} does not let it, or the account "
                "with which it is registered has no right to."
            )
            raise Conflict(message)

    def _autonomous(self, machine: VirtualMachine) -> RequestContext:
        principal = Principal(name=AUTONOMOUS, tenant=machine.tenant or AUTONOMOUS, roles=("admin",))
        return RequestContext(principal, correlation_id=new_id("cor", self._clock()))

    def _create(
        self,
        context: RequestContext,
        tenant: str,
        chosen: Datacenter,
        arguments: Mapping[str, Any],
        spec: MachineSpec,
        user_data: str | None,
    ) -> Operation:
        now = self._clock()
        operation = self._acceptance.operation(
            context, OperationKind.CREATE_VM, new_id("vm", now), chosen.id, tenant, arguments, user_data
        )

        def check() -> None:
            if not chosen.enabled:
                message = f"Datacenter {chosen.name} is disabled. Choose another, or ask an operator to enable it."
                raise Conflict(message)
            self._policies.require_machine(context.principal, CREATE, ask_of(spec, chosen))

        stored = self._acceptance.store(operation, check)
        if user_data is not None and stored.state.open:
            self._user_data.put(stored.target_id, user_data)
        if stored.id != operation.id:
            return stored
        try:
            self._machines.insert(machine_of(stored, spec))
        except NameTaken as error:
            rejected = advance(advance(begin(stored, now), Reject(error), now), Done(), now)
            self._operations.save(rejected, stored)
            raise
        self._nudge(stored.step, stored.id)
        return stored

    def _accept(
        self,
        context: RequestContext,
        kind: OperationKind,
        machine: VirtualMachine,
        arguments: Mapping[str, Any],
        check: Callable[[], None],
    ) -> Operation:
        tenant = machine.tenant or context.principal.tenant
        operation = self._acceptance.operation(context, kind, machine.id, machine.datacenter_id, tenant, arguments)
        return self._acceptance.accept(operation, check)


def require_managed(machine: VirtualMachine, done: str) -> None:
    """Raise Conflict for a machine that is deleted or a stranger's, and so cannot be ``done``."""
    if machine.state is MachineState.DELETED:
        message = f"Machine {machine.name} is deleted."
        raise Conflict(message)
    if machine.provider_ref is not None and not machine.managed:
        message = f"Machine {machine.name} was not made by VAI and cannot be {done}. Adopt it first."
        raise Conflict(message)


def _require_active(machine: VirtualMachine, done: str) -> None:
    require_managed(machine, done)
    if machine.state is not MachineState.ACTIVE:
        message = f"Machine {machine.name} is {machine.state} and cannot be {done}."
        raise Conflict(message)


def _require_unmanaged(machine: VirtualMachine) -> None:
    if machine.managed:
        message = f"Machine {machine.name} is managed by VAI already."
        raise Conflict(message)
