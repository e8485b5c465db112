"""Provisioning: the steps that make, start, stop, resize, adopt and remove machines at a hypervisor."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace

from vai_app.domain.capacity import room_of
from vai_app.domain.errors import (
    CapacityShort,
    Conflict,
    HostUnavailable,
    NameTaken,
    NotFound,
    ProviderBusy,
    QuotaExceeded,
    VaiError,
)
from vai_app.domain.hypervisor import Capability, CreateRequest, Hypervisor, NativeTask, TaskState
from vai_app.domain.operations import Done, Fail, Operation, Outcome, Retreat, StepName, Wait
from vai_app.domain.placement.asks import Shortage
from vai_app.domain.placement.checks import CheckName
from vai_app.domain.placement.moves import target_of_move
from vai_app.domain.ports.capacity import CapacityBook
from vai_app.domain.ports.datacenters import Hypervisors
from vai_app.domain.ports.machines import MachineRepository, UserDataRepository
from vai_app.domain.virtual_machines import MachineObservation, Making, Mark, Power, PowerAction
from vai_app.services.arguments import SHORT, action_of, candidates_of, owner_of, plain, shortages_of, size_of, spec_of
from vai_app.services.steps import ASKED_AT_ATTEMPT, NativeStep, datacenter_of, error_of, look_again

# A create that was asked for twice can meet itself: the name is taken and the machine not yet to be found.
_TWIN_LOOKS = 60
_TWIN_PAUSE_SECONDS = 1.0
_TARGET = "target"
_SHORT_OF: Mapping[type[VaiError], CheckName] = {
    CapacityShort: CheckName.SHORT,
    QuotaExceeded: CheckName.QUOTA,
    HostUnavailable: CheckName.STATE,
}


class MachineStep(NativeStep):
    """A native step on the operation's machine."""

    def __init__(self, *, hypervisors: Hypervisors, machines: MachineRepository, capacity: CapacityBook) -> None:
        """Collaborators."""
        super().__init__(hypervisors=hypervisors)
        self._machines = machines
        self._capacity = capacity

    def _provider_ref(self, operation: Operation) -> str | None:
        """Return the machine at the provider: made by this operation, named by it, or recorded before it."""
        ref = operation.memo.get("provider_ref") or operation.arguments.get("provider_ref")
        if ref is not None:
            return str(ref)
        return self._machines.get(operation.target_id, None).provider_ref

    def _existing_ref(self, operation: Operation) -> str:
        ref = self._provider_ref(operation)
        if ref is None:
            message = "The machine does not exist at its datacenter."
            raise NotFound(message)
        return ref


class CreateMachine(MachineStep):
    """``vai.create_vm``: exactly one machine bears the operation's token."""

    name = StepName.CREATE_VM

    def __init__(
        self,
        *,
        hypervisors: Hypervisors,
        machines: MachineRepository,
        capacity: CapacityBook,
        user_data: UserDataRepository,
    ) -> None:
        """Collaborators."""
        super().__init__(hypervisors=hypervisors, machines=machines, capacity=capacity)
        self._user_data = user_data

    def request(self, operation: Operation, hypervisor: Hypervisor) -> NativeTask | None:
        """Ask for the machine; a repeated attempt looks for it first."""
        if operation.attempts > 1 and _is_made(hypervisor, operation.id):
            return None
        spec = spec_of(operation)
        location = candidates_of(operation)[operation.memo.get("candidate", 0)]
        user_data = self._user_data.get(operation.target_id) if spec.user_data else None
        if spec.user_data and user_data is None:
            raise NotFound("The machine's user data is not kept any more. Ask for the machine anew.")
        return hypervisor.request_create(CreateRequest(spec, mark_of(operation), location, user_data, operation.tenant))

    def finish(self, operation: Operation, machine_ref: str | None) -> Outcome:
        """Record the machine as existing."""
        if machine_ref is None:
            found = self._find(operation)
            if found is None:
                return Wait(seconds=_TWIN_PAUSE_SECONDS, forget_task=True)
            machine_ref = found.ref
        self._machines.record_active(operation.target_id, machine_ref, mark_of(operation))
        if spec_of(operation).user_data:
            self._user_data.delete(operation.target_id)
        return Done({"provider_ref": machine_ref})

    def recover(self, operation: Operation, error: VaiError) -> Outcome:
        """Adopt what an earlier attempt made, try the next host, or give up."""
        if isinstance(error, NameTaken):
            return self._after_name_taken(operation, error)
        if isinstance(error, CapacityShort | HostUnavailable):
            following = self._next_candidate(operation)
            if following is not None:
                return Wait(seconds=0, memo={"candidate": following}, because=error, forget_task=True)
        check = _SHORT_OF.get(type(error))
        if check is not None and "seat" not in operation.arguments:
            # Placement judges again, knowing this: it goes elsewhere, or the tenant is told where it could.
            shortage = Shortage(datacenter_of(operation), check, error.detail.rstrip("."))
            known = shortages_of(operation)
            return Retreat(StepName.PLACE, error, {SHORT: plain([*known, shortage])})
        return super().recover(operation, error)

    def undo(self, operation: Operation) -> Outcome:
        """Remove the machine, whether it was made, is being made or was never asked for."""
        if self._is_under_way(operation):
            return Wait(look_again(operation))
        awaited = operation.native_task
        if awaited is not None and awaited.state is TaskState.FAILED and awaited.undoing:
            return super().recover(operation, error_of(awaited))
        with self._hypervisors.use(datacenter_of(operation)) as hypervisor:
            found = hypervisor.find_by_token(operation.id)
            task = _request_removal(hypervisor, found) if found else None
        return Wait(look_again(operation), native_task=task) if task else Done()

    def _next_candidate(self, operation: Operation) -> int | None:
        """Return the next candidate that has room, where the machine's reservation is now."""
        locations, room = candidates_of(operation), room_of(spec_of(operation).size)
        for number in range(operation.memo.get("candidate", 0) + 1, len(locations)):
            place = (datacenter_of(operation), locations[number])
            if self._capacity.reserve(operation.target_id, *place, room, owner_of(operation)):
                return number
        return None

    def _after_name_taken(self, operation: Operation, error: VaiError) -> Outcome:
        found = self._find(operation)
        if found is not None:
            return self.finish(operation, found.ref)
        looks = operation.memo.get("twin_looks", 0)
        asked_once = operation.memo.get(ASKED_AT_ATTEMPT, operation.attempts) == 1
        if asked_once or looks >= _TWIN_LOOKS:
            return Fail(error)
        return Wait(seconds=_TWIN_PAUSE_SECONDS, memo={"twin_looks": looks + 1}, because=error, forget_task=True)

    def _find(self, operation: Operation) -> MachineObservation | None:
        with self._hypervisors.use(datacenter_of(operation)) as hypervisor:
            return hypervisor.find_by_token(operation.id)


class StartMachine(MachineStep):
    """``vai.start_vm``: the new machine runs, if that was asked for."""

    name = StepName.START_VM

    def request(self, operation: Operation, hypervisor: Hypervisor) -> NativeTask | None:
        """Ask for the power that was asked for, unless the new machine has it already."""
        if spec_of(operation).power_on:
            return hypervisor.request_power(self._existing_ref(operation), PowerAction.START)
        if Capability.CREATES_RUNNING in hypervisor.capabilities:
            return hypervisor.request_power(self._existing_ref(operation), PowerAction.STOP)
        return None

    def finish(self, operation: Operation, machine_ref: str | None) -> Outcome:  # noqa: ARG002 - known already
        """Record the power."""
        power = Power.ON if spec_of(operation).power_on else Power.OFF
        self._machines.record_power(operation.target_id, power)
        return Done()


class StopMachine(MachineStep):
    """``vai.stop_vm``: the machine that is to be removed is ours, and does not run where that would be in the way."""

    name = StepName.STOP_VM

    def request(self, operation: Operation, hypervisor: Hypervisor) -> NativeTask | None:
        """Ask for power off, after a look that proves the machine to be ours."""
        ref = self._provider_ref(operation)
        if ref is None:
            return None
        try:
            seen = hypervisor.observe_machine(ref)
        except NotFound:
            return None
        if seen.mark is None or seen.mark.machine_id != operation.target_id:
            message = f"{seen.name} does not bear this machine's mark and is left alone. Adopt it to manage it."
            raise Conflict(message)
        return hypervisor.request_power(ref, PowerAction.STOP) if _must_stop(hypervisor, seen) else None

    def finish(self, operation: Operation, machine_ref: str | None) -> Outcome:
        """Remember whether it ran, and which machine was stopped."""
        known = {"provider_ref": machine_ref} if machine_ref is not None else {}
        return Done({"was_on": machine_ref is not None or operation.native_task is not None, **known})

    def undo(self, operation: Operation) -> Outcome:
        """Start the machine again if it ran and is still there."""
        ref = self._provider_ref(operation)
        was_on = operation.memo.get("was_on") or operation.native_task is not None
        if ref is not None and was_on:
            with self._hypervisors.use(datacenter_of(operation)) as hypervisor, suppress(NotFound):
                hypervisor.request_power(ref, PowerAction.START)
        return Done()


class DeleteMachine(MachineStep):
    """``vai.delete_vm``: the machine and its disks are gone."""

    name = StepName.DELETE_VM

    def request(self, operation: Operation, hypervisor: Hypervisor) -> NativeTask | None:
        """Ask for the removal."""
        ref = self._provider_ref(operation)
        return hypervisor.request_delete(ref) if ref is not None else None

    def finish(self, operation: Operation, machine_ref: str | None) -> Outcome:  # noqa: ARG002 - it is gone
        """Close the record."""
        self._capacity.release(operation.target_id)
        self._machines.record_deleted(operation.target_id)
        return Done()

    def recover(self, operation: Operation, error: VaiError) -> Outcome:
        """A machine that is not there is a machine deleted."""
        if isinstance(error, NotFound):
            return self.finish(operation, None)
        return super().recover(operation, error)


class ChangePower(MachineStep):
    """``vai.change_power``: the machine has the power that was asked for."""

    name = StepName.CHANGE_POWER

    def request(self, operation: Operation, hypervisor: Hypervisor) -> NativeTask | None:
        """Ask for the action."""
        return hypervisor.request_power(self._existing_ref(operation), action_of(operation))

    def finish(self, operation: Operation, machine_ref: str | None) -> Outcome:  # noqa: ARG002 - known already
        """Record the power."""
        self._machines.record_power(operation.target_id, action_of(operation).target)
        return Done()


class ResizeMachine(MachineStep):
    """``vai.resize_vm``: the machine has the size that was asked for."""

    name = StepName.RESIZE_VM

    def request(self, operation: Operation, hypervisor: Hypervisor) -> NativeTask | None:
        """Ask for the size."""
        ref = self._existing_ref(operation)
        self._capacity.resize(operation.target_id, size_of(operation), owner_of(operation), done=False)
        return hypervisor.request_resize(ref, size_of(operation))

    def finish(self, operation: Operation, machine_ref: str | None) -> Outcome:
        """Ask again for what is left; then record the size. A disk that was left as it is keeps its known size."""
        if machine_ref is not None:
            return Wait(seconds=0, forget_task=True)
        size = size_of(operation)
        if size.disk_gib == 0:
            machine = self._machines.get(operation.target_id, None)
            size = replace(size, disk_gib=(machine.observed_size or machine.spec.size).disk_gib)
        self._machines.record_size(operation.target_id, size)
        self._capacity.resize(operation.target_id, size, owner_of(operation), done=True)
        return Done()

    def undo(self, operation: Operation) -> Outcome:
        """Reserve what the machine still takes; the next listing corrects what the datacenter did nevertheless."""
        machine = self._machines.get(operation.target_id, None)
        self._capacity.resize(operation.target_id, machine.spec.size, owner_of(operation), done=True)
        return Done()


class MigrateMachine(MachineStep):
    """``vai.migrate_vm``: the machine is on another host of its datacenter."""

    name = StepName.MIGRATE_VM

    def do(self, operation: Operation) -> Outcome:
        """Choose the host and hold its room; ask only when that is written down, so that it is asked for once."""
        if _TARGET not in operation.memo:
            target = self._chosen(operation)
            self._capacity.move(operation.target_id, target, owner_of(operation), done=False)
            return Wait(seconds=0, memo={_TARGET: target})
        return super().do(operation)

    def request(self, operation: Operation, hypervisor: Hypervisor) -> NativeTask | None:
        """Ask for the move, if it can be done with the power that the machine and its host have."""
        ref, target = self._existing_ref(operation), operation.memo[_TARGET]
        if operation.arguments["host_is_off"]:
            require_capability(hypervisor, Capability.EVACUATE)
            return hypervisor.request_evacuate(ref, target)
        is_off = hypervisor.observe_machine(ref).power is Power.OFF
        require_capability(hypervisor, Capability.MIGRATE_STOPPED if is_off else Capability.MIGRATE_RUNNING)
        return hypervisor.request_migrate(ref, target)

    def finish(self, operation: Operation, machine_ref: str | None) -> Outcome:  # noqa: ARG002 - known already
        """Record the host."""
        host = operation.memo[_TARGET]
        self._machines.record_host(operation.target_id, host)
        self._capacity.move(operation.target_id, host, owner_of(operation), done=True)
        return Done()

    def undo(self, operation: Operation) -> Outcome:
        """Hold room where the machine is, wherever the datacenter brought it."""
        if self._is_under_way(operation):
            return Wait(look_again(operation))
        with self._hypervisors.use(datacenter_of(operation)) as hypervisor:
            try:
                host = hypervisor.observe_machine(self._existing_ref(operation)).host
            except NotFound:
                return Done()
        if host is not None:
            self._capacity.move(operation.target_id, host, owner_of(operation), done=True)
        return Done()

    def _chosen(self, operation: Operation) -> str:
        """Return the host to move to, by reference. Raises NotFound, HostUnavailable, CapacityShort, Conflict."""
        with self._hypervisors.use(datacenter_of(operation)) as hypervisor:
            seen = hypervisor.observe_machine(self._existing_ref(operation))
        here = self._capacity.snapshot([datacenter_of(operation)])[0]
        asked, is_off = operation.arguments["host"], operation.arguments["host_is_off"]
        return target_of_move(here, seen, asked, is_source_off=is_off, seed=operation.id).ref


class AdoptMachine(MachineStep):
    """``vai.adopt_vm``: a stranger's machine bears our mark and belongs to a tenant."""

    name = StepName.ADOPT_VM

    def request(self, operation: Operation, hypervisor: Hypervisor) -> NativeTask | None:
        """Ask for the mark to be written."""
        return hypervisor.request_mark(self._existing_ref(operation), mark_of(operation))

    def finish(self, operation: Operation, machine_ref: str | None) -> Outcome:  # noqa: ARG002 - known already
        """Record the machine as ours."""
        self._machines.record_adopted(operation.target_id, operation.arguments["tenant"], mark_of(operation))
        return Done()


def mark_of(operation: Operation) -> Mark:
    """Return the mark that the operation writes into its machine."""
    return Mark(machine_id=operation.target_id, token=operation.id)


def _is_made(hypervisor: Hypervisor, token: str) -> bool:
    """Whether an earlier attempt made the machine. Raises ProviderBusy while it is being made, or removed."""
    found = hypervisor.find_by_token(token)
    if found is None:
        return False
    if found.making is Making.UNDER_WAY:
        message = f"The datacenter is still making {found.name}, which was asked for before."
        raise ProviderBusy(message)
    if found.making is Making.FAILED:
        hypervisor.request_delete(found.ref)
        message = f"What the datacenter failed to make of {found.name} is being removed."
        raise ProviderBusy(message)
    return True


def _request_removal(hypervisor: Hypervisor, found: MachineObservation) -> NativeTask | None:
    if found.making is Making.UNDER_WAY:
        message = f"The datacenter is still making {found.name}; it is removed when it is made."
        raise ProviderBusy(message)
    if _must_stop(hypervisor, found):
        return hypervisor.request_power(found.ref, PowerAction.STOP)
    return hypervisor.request_delete(found.ref)


def _must_stop(hypervisor: Hypervisor, seen: MachineObservation) -> bool:
    """Whether the machine cannot be removed as it is."""
    return seen.power is not Power.OFF and Capability.DELETES_RUNNING not in hypervisor.capabilities


def require_capability(hypervisor: Hypervisor, capability: Capability) -> None:
    """Raise Conflict where the driver, or its account, cannot do what is to be asked."""
    if capability not in hypervisor.observe_capabilities():
        message = f"The datacenter, or the account that VAI has there, lacks the capability {capability}."
        raise Conflict(message)
