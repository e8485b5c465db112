"""Migration: a machine is on another host of its datacenter."""

from vai_app.domain.errors import NotFound
from vai_app.domain.hypervisor import Capability, Hypervisor, NativeTask
from vai_app.domain.operations import Done, Operation, Outcome, StepName, Wait
from vai_app.domain.placement.moves import target_of_move
from vai_app.domain.virtual_machines import Power
from vai_app.services.arguments import owner_of
from vai_app.services.provisioning.machine_step import MachineStep, require_capability
from vai_app.services.steps import datacenter_of

_TARGET = "target"


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
        waiting = self._before_undoing(operation)
        if waiting is not None:
            return waiting
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
