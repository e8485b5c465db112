"""Creation: exactly one machine, and it has the power that was asked for."""

from collections.abc import Mapping

from vai_app.domain.capacity import room_of
from vai_app.domain.errors import (
    CapacityShort,
    HostUnavailable,
    NameTaken,
    NotFound,
    ProviderBusy,
    QuotaExceeded,
    VaiError,
)
from vai_app.domain.hypervisor import Capability, CreateRequest, Hypervisor, NativeTask
from vai_app.domain.operations import Done, Fail, Operation, Outcome, Retreat, StepName, Wait
from vai_app.domain.placement.asks import Shortage
from vai_app.domain.placement.checks import CheckName
from vai_app.domain.ports.capacity import CapacityBook
from vai_app.domain.ports.datacenters import Hypervisors
from vai_app.domain.ports.machines import MachineRepository, UserDataRepository
from vai_app.domain.virtual_machines import MachineObservation, Making, Power, PowerAction
from vai_app.services.arguments import SHORT, candidates_of, owner_of, plain, shortages_of, spec_of
from vai_app.services.provisioning.machine_step import MachineStep, mark_of, must_stop
from vai_app.services.steps import ASKED_AT_ATTEMPT, datacenter_of, look_again

# A create that was asked for twice can meet itself: the name is taken and the machine not yet to be found.
_TWIN_LOOKS = 60
_TWIN_PAUSE_SECONDS = 1.0
_SHORT_OF: Mapping[type[VaiError], CheckName] = {
    CapacityShort: CheckName.SHORT,
    QuotaExceeded: CheckName.QUOTA,
    HostUnavailable: CheckName.STATE,
}


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
        waiting = self._before_undoing(operation)
        if waiting is not None:
            return waiting
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
    if must_stop(hypervisor, found):
        return hypervisor.request_power(found.ref, PowerAction.STOP)
    return hypervisor.request_delete(found.ref)
