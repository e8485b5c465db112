"""Removal: the machine is stopped where that is needed, and gone with its disks."""

from contextlib import suppress

from vai_app.domain.errors import Conflict, NotFound, VaiError
from vai_app.domain.hypervisor import Hypervisor, NativeTask
from vai_app.domain.operations import Done, Operation, Outcome, StepName
from vai_app.domain.virtual_machines import PowerAction
from vai_app.services.provisioning.machine_step import MachineStep, must_stop
from vai_app.services.steps import datacenter_of


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
        return hypervisor.request_power(ref, PowerAction.STOP) if must_stop(hypervisor, seen) else None

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
