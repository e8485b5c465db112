"""Changes: a machine's power, size and owner."""

from dataclasses import replace

from vai_app.domain.hypervisor import Hypervisor, NativeTask
from vai_app.domain.operations import Done, Operation, Outcome, StepName, Wait
from vai_app.services.arguments import action_of, owner_of, size_of
from vai_app.services.provisioning.machine_step import MachineStep, mark_of


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
