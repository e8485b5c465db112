"""The request validator: judges a creation against what the datacenter is known to have, before anything is made."""

from vai_app.domain.datacenters import Datacenter
from vai_app.domain.errors import Conflict, NameTaken, NotFound
from vai_app.domain.operations import Done, Operation, Outcome, Reject, StepName
from vai_app.domain.ports import DatacenterRepository, MachineRepository
from vai_app.domain.virtual_machines import MachineSpec
from vai_app.services.arguments import spec_of
from vai_app.services.controller import machine_of
from vai_app.services.steps import Step, datacenter_of


class ValidateRequest(Step):
    """``vai.validate``: the machine is recorded and everything it names exists, as far as VAI knows."""

    name = StepName.VALIDATE

    def __init__(self, *, datacenters: DatacenterRepository, machines: MachineRepository) -> None:
        """Collaborators."""
        self._datacenters = datacenters
        self._machines = machines

    def do(self, operation: Operation) -> Outcome:
        """Reject what cannot be granted. Calls no hypervisor."""
        spec = spec_of(operation)
        datacenter = self._datacenters.get(datacenter_of(operation))
        try:
            # The API stored it already, unless it died between the operation and the machine.
            self._machines.insert(machine_of(operation, spec))
            check_against_inventory(datacenter, spec)
        except (Conflict, NameTaken, NotFound) as error:
            return Reject(error)
        return Done()

    def undo(self, operation: Operation) -> Outcome:
        """Close the record: the creation came to nothing."""
        problem = operation.problem.detail if operation.problem else "The creation was undone."
        self._machines.record_failed(operation.target_id, problem)
        return Done()


def check_against_inventory(datacenter: Datacenter, spec: MachineSpec) -> None:
    """Raise NotFound for an image or network that the datacenter lacks, Conflict when it is disabled.

    A datacenter that was never listed is given the benefit of the doubt: its driver will tell.
    """
    if not datacenter.enabled:
        message = f"Datacenter {datacenter.name} is disabled. Choose another, or ask an operator to enable it."
        raise Conflict(message)
    if datacenter.observed_at is None:
        return
    inventory = datacenter.inventory
    if spec.image is not None:
        _find(
            spec.image,
            {name for image in inventory.images for name in (image.ref, image.name)},
            "image",
            datacenter,
        )
    networks = {name for network in inventory.networks for name in (network.ref, network.name)}
    for wanted in spec.networks:
        _find(wanted, networks, "network", datacenter)


def _find(wanted: str, known: set[str], what: str, datacenter: Datacenter) -> None:
    if wanted not in known:
        message = (
            f"Datacenter {datacenter.name} has no {what} {wanted!r}. "
            f"'vai datacenter inventory {datacenter.name}' lists what it has."
        )
        raise NotFound(message)
