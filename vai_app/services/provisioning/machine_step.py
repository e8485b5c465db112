"""What steps on one machine have in common."""

from vai_app.domain.errors import Conflict, NotFound
from vai_app.domain.hypervisor import Capability, Hypervisor
from vai_app.domain.operations import Operation
from vai_app.domain.ports.capacity import CapacityBook
from vai_app.domain.ports.datacenters import Hypervisors
from vai_app.domain.ports.machines import MachineRepository
from vai_app.domain.virtual_machines import MachineObservation, Mark, Power
from vai_app.services.steps import NativeStep


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


def mark_of(operation: Operation) -> Mark:
    """Return the mark that the operation writes into its machine."""
    return Mark(machine_id=operation.target_id, token=operation.id)


def require_capability(hypervisor: Hypervisor, capability: Capability) -> None:
    """Raise Conflict where the driver, or its account, cannot do what is to be asked."""
    if capability not in hypervisor.observe_capabilities():
        message = f"The datacenter, or the account that VAI has there, lacks the capability {capability}."
        raise Conflict(message)


def must_stop(hypervisor: Hypervisor, seen: MachineObservation) -> bool:
    """Whether the machine cannot be removed as it is."""
    return seen.power is not Power.OFF and Capability.DELETES_RUNNING not in hypervisor.capabilities
