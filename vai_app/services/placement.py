"""Placement: chooses cluster, host and datastore for a machine inside its datacenter, and keeps runners-up."""

from dataclasses import asdict

from vai_app.domain.errors import VaiError
from vai_app.domain.operations import Done, Operation, Outcome, Reject, StepName
from vai_app.domain.placement import choose_locations
from vai_app.domain.ports import DatacenterRepository
from vai_app.services.arguments import spec_of
from vai_app.services.steps import Step, datacenter_of


class PlaceMachine(Step):
    """``vai.place``: the operation knows where its machine is to be made."""

    name = StepName.PLACE

    def __init__(self, *, datacenters: DatacenterRepository) -> None:
        """Collaborators."""
        self._datacenters = datacenters

    def do(self, operation: Operation) -> Outcome:
        """Choose from the inventory as last observed. Calls no hypervisor."""
        inventory = self._datacenters.get(datacenter_of(operation)).inventory
        try:
            locations = choose_locations(inventory, spec_of(operation), seed=operation.id)
        except VaiError as error:
            return Reject(error)
        return Done({"locations": [asdict(location) for location in locations]})
