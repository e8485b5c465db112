"""Snapshots: taken, restored to and removed. Only those that VAI took."""

from collections.abc import Sequence
from contextlib import suppress

from vai_app.domain.errors import Conflict, NotFound, ProviderBusy
from vai_app.domain.hypervisor import Capability, Hypervisor, NativeTask
from vai_app.domain.identifiers import derived_id
from vai_app.domain.operations import Done, Operation, Outcome, StepName, Wait
from vai_app.domain.ports.capacity import CapacityBook
from vai_app.domain.ports.datacenters import Hypervisors
from vai_app.domain.ports.machines import MachineRepository, SnapshotRepository
from vai_app.domain.snapshots import Snapshot, SnapshotObservation
from vai_app.domain.virtual_machines import Making, Power, PowerAction
from vai_app.services.arguments import owner_of, snapshot_id_of, snapshot_name_of
from vai_app.services.provisioning.machine_step import MachineStep, mark_of, require_capability
from vai_app.services.steps import datacenter_of, look_again

_RAN = "ran"


class SnapshotStep(MachineStep):
    """A step on the snapshots of the operation's machine."""

    def __init__(
        self,
        *,
        hypervisors: Hypervisors,
        machines: MachineRepository,
        capacity: CapacityBook,
        snapshots: SnapshotRepository,
    ) -> None:
        """Collaborators."""
        super().__init__(hypervisors=hypervisors, machines=machines, capacity=capacity)
        self._snapshots = snapshots

    def _named(self, operation: Operation) -> Snapshot:
        return self._snapshots.get(snapshot_id_of(operation), operation.tenant)


class TakeSnapshot(SnapshotStep):
    """``vai.take_snapshot``: exactly one snapshot bears the operation's token."""

    name = StepName.TAKE_SNAPSHOT

    def request(self, operation: Operation, hypervisor: Hypervisor) -> NativeTask | None:
        """Ask for the snapshot; a repeated attempt looks for it first."""
        require_capability(hypervisor, Capability.SNAPSHOT)
        ref = self._existing_ref(operation)
        if operation.attempts > 1 and _is_taken(hypervisor, ref, operation.id):
            return None
        return hypervisor.request_snapshot(ref, snapshot_name_of(operation), mark_of(operation))

    def finish(self, operation: Operation, machine_ref: str | None) -> Outcome:  # noqa: ARG002 - known already
        """Record the snapshot, which was seen."""
        ref = self._existing_ref(operation)
        with self._hypervisors.use(datacenter_of(operation)) as hypervisor:
            found = _find(hypervisor, ref, operation.id)
        if found is None:
            message = "The snapshot was taken, and somebody else has removed it since."
            raise NotFound(message)
        machine = self._machines.get(operation.target_id, None)
        taken = Snapshot(
            id=_id_of_new(operation),
            machine_id=machine.id,
            tenant=operation.tenant,
            datacenter_id=datacenter_of(operation),
            name=snapshot_name_of(operation),
            machine_ref=ref,
            provider_ref=found.ref,
            mark=mark_of(operation),
            size=machine.observed_size or machine.spec.size,
            taken_at=found.taken_at,
        )
        self._snapshots.put(taken)
        return Done()

    def undo(self, operation: Operation) -> Outcome:
        """Remove the snapshot, whether it was taken, is being taken or was never asked for."""
        waiting = self._before_undoing(operation)
        if waiting is not None:
            return waiting
        self._snapshots.delete(_id_of_new(operation))
        ref = self._provider_ref(operation)
        if ref is None:
            return Done()
        with self._hypervisors.use(datacenter_of(operation)) as hypervisor:
            found = _find(hypervisor, ref, operation.id)
            task = hypervisor.request_delete_snapshot(ref, found.ref) if found else None
        return Wait(look_again(operation), native_task=task) if task else Done()


class RestoreMachine(SnapshotStep):
    """``vai.restore_vm``: the machine's disks are as they were in the snapshot. That cannot be taken back."""

    name = StepName.RESTORE_VM

    def do(self, operation: Operation) -> Outcome:
        """Look first, and ask when it is written down whether the machine ran."""
        return super().do(operation) if _RAN in operation.memo else self._prepare(operation)

    def request(self, operation: Operation, hypervisor: Hypervisor) -> NativeTask | None:
        """Ask for the restoration, if the snapshot is there and VAI's."""
        ref, snapshot = self._existing_ref(operation), self._named(operation)
        if _ours(hypervisor.list_snapshots(ref), snapshot) is None:
            message = f"Snapshot {snapshot.name} was removed from its datacenter by somebody else. Delete it here too."
            raise NotFound(message)
        return hypervisor.request_restore(ref, snapshot.provider_ref)

    def finish(self, operation: Operation, machine_ref: str | None) -> Outcome:  # noqa: ARG002 - known already
        """Record what the machine has become."""
        self._record(operation)
        return Done()

    def undo(self, operation: Operation) -> Outcome:
        """Record what the machine has become, and let it run again if it ran."""
        waiting = self._before_undoing(operation)
        if waiting is not None:
            return waiting
        with suppress(NotFound):
            self._record(operation)
            if operation.memo.get(_RAN):
                with self._hypervisors.use(datacenter_of(operation)) as hypervisor:
                    hypervisor.request_power(self._existing_ref(operation), PowerAction.START)
        return Done()

    def _prepare(self, operation: Operation) -> Outcome:
        """Hold room for the size that comes back, where one does."""
        with self._hypervisors.use(datacenter_of(operation)) as hypervisor:
            require_capability(hypervisor, Capability.SNAPSHOT)
            seen = hypervisor.observe_machine(self._existing_ref(operation))
            restores_size = Capability.RESTORES_SIZE in hypervisor.capabilities
        if restores_size:
            size = self._named(operation).size
            self._capacity.resize(operation.target_id, size, owner_of(operation), done=False)
        return Wait(seconds=0, memo={_RAN: seen.power is Power.ON})

    def _record(self, operation: Operation) -> None:
        with self._hypervisors.use(datacenter_of(operation)) as hypervisor:
            seen = hypervisor.observe_machine(self._existing_ref(operation))
            restores_size = Capability.RESTORES_SIZE in hypervisor.capabilities
        self._machines.record_power(operation.target_id, seen.power)
        if restores_size:
            self._machines.record_size(operation.target_id, seen.size)
            self._capacity.resize(operation.target_id, seen.size, owner_of(operation), done=True)


class RegainPower(MachineStep):
    """``vai.regain_power``: the machine runs if it ran before, and is off if it did not."""

    name = StepName.REGAIN_POWER

    def request(self, operation: Operation, hypervisor: Hypervisor) -> NativeTask | None:
        """Ask for the power, unless the machine has it."""
        action = PowerAction.START if operation.memo[_RAN] else PowerAction.STOP
        return hypervisor.request_power(self._existing_ref(operation), action)

    def finish(self, operation: Operation, machine_ref: str | None) -> Outcome:  # noqa: ARG002 - known already
        """Record the power."""
        self._machines.record_power(operation.target_id, Power.ON if operation.memo[_RAN] else Power.OFF)
        return Done()


class DeleteSnapshots(SnapshotStep):
    """``vai.delete_snapshots``: the snapshot that was named is gone, or all of a machine that is deleted."""

    name = StepName.DELETE_SNAPSHOTS

    def do(self, operation: Operation) -> Outcome:
        """Call nobody where nothing is left."""
        return super().do(operation) if self._left(operation) else Done()

    def request(self, operation: Operation, hypervisor: Hypervisor) -> NativeTask | None:
        """Ask for the first that is there to be removed, and forget those that are not. The machine may be gone."""
        left = self._left(operation)
        there = hypervisor.list_snapshots(left[0].machine_ref)
        for snapshot in left:
            seen = _ours(there, snapshot)
            task = hypervisor.request_delete_snapshot(snapshot.machine_ref, seen.ref) if seen else None
            if task is not None:
                return task
            self._snapshots.delete(snapshot.id)
        return None

    def finish(self, operation: Operation, machine_ref: str | None) -> Outcome:  # noqa: ARG002 - known already
        """Go on with those that are left; the one that was removed is not there any more."""
        return Wait(seconds=0, forget_task=True) if self._left(operation) else Done()

    def _left(self, operation: Operation) -> Sequence[Snapshot]:
        known = self._snapshots.of_machine(operation.target_id)
        named = operation.arguments.get("snapshot_id")
        return known if named is None else [each for each in known if each.id == named]


def _id_of_new(operation: Operation) -> str:
    return derived_id("snap", operation.id, 0)


def _find(hypervisor: Hypervisor, ref: str, token: str) -> SnapshotObservation | None:
    return next((each for each in hypervisor.list_snapshots(ref) if each.mark and each.mark.token == token), None)


def _is_taken(hypervisor: Hypervisor, ref: str, token: str) -> bool:
    """Whether an earlier attempt took the snapshot. Raises ProviderBusy while it is being taken, or removed."""
    found = _find(hypervisor, ref, token)
    if found is None:
        return False
    if found.making is Making.UNDER_WAY:
        message = "The datacenter is still taking the snapshot, which was asked for before."
        raise ProviderBusy(message)
    if found.making is Making.FAILED:
        hypervisor.request_delete_snapshot(ref, found.ref)
        message = "What the datacenter failed to make of the snapshot is being removed."
        raise ProviderBusy(message)
    return True


def _ours(there: Sequence[SnapshotObservation], snapshot: Snapshot) -> SnapshotObservation | None:
    """Return what is shown of a recorded snapshot. Raises Conflict for one that does not bear its mark."""
    seen = next((each for each in there if each.ref == snapshot.provider_ref), None)
    if seen is not None and seen.mark != snapshot.mark:
        message = f"{seen.name} does not bear the mark of snapshot {snapshot.id} and is left alone."
        raise Conflict(message)
    return seen
