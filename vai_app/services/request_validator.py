"""The request validator: judges a creation against what the datacenter is known to have, before anything is made."""

from vai_app.domain.errors import Conflict, NameTaken, NotFound
from vai_app.domain.operations import Done, Operation, Outcome, Reject, StepName
from vai_app.domain.ports.machines import MachineRepository
from vai_app.services.arguments import machine_of, spec_of
from vai_app.services.placement import Placement, Refused
from vai_app.services.steps import Step


class ValidateRequest(Step):
    """``vai.validate``: the machine is recorded, and as far as VAI knows the datacenter takes such a machine."""

    name = StepName.VALIDATE

    def __init__(self, *, placement: Placement, machines: MachineRepository) -> None:
        """Collaborators."""
        self._placement = placement
        self._machines = machines

    def do(self, operation: Operation) -> Outcome:
        """Reject what cannot be granted. Calls no hypervisor."""
        try:
            self._record(operation)
            self._placement.check(self._placement.ask_of(operation))
        except Refused as refused:
            return Reject(refused.error, refused.explanation.as_document())
        except (Conflict, NameTaken, NotFound) as error:
            return Reject(error)
        return Done()

    def _record(self, operation: Operation) -> None:
        """Store the machine. The API did, unless it died after it had stored the operation."""
        try:
            self._machines.get(operation.target_id, operation.tenant)
        except NotFound:
            self._machines.insert(machine_of(operation, spec_of(operation)))

    def undo(self, operation: Operation) -> Outcome:
        """Close the record: the creation came to nothing."""
        problem = operation.problem.detail if operation.problem else "The creation was undone."
        self._machines.record_failed(operation.target_id, problem)
        return Done()
