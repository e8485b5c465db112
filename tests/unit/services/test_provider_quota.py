"""What a hypervisor lets VAI's account have: others' machines are counted as listed, VAI's as they come and go."""

from dataclasses import replace

import pytest

from tests.builders import a_datacenter, an_active_machine, an_inventory, an_observation
from tests.fakes import FakeStore, SettableClock
from tests.unit.domain.placement.capacities import an_ask
from vai_app.domain.capacity import Room
from vai_app.domain.datacenters import ProviderQuota
from vai_app.domain.errors import QuotaExceeded
from vai_app.domain.placement.checks import CheckName, judge_datacenter
from vai_app.domain.placement.explanation import refusal
from vai_app.domain.reservations import Owner
from vai_app.domain.virtual_machines import Location, Size
from vai_app.services.capacity_review import CapacityReview
from vai_app.services.policy_manager import PolicyManager
from vai_app.services.quotas import Quotas
from vai_app.services.resource_manager import ResourceManager

ROOM = Room(cpus=2, memory_mib=1024, disk_gib=10)
OWNER = Owner("acme")


class Project:
    """A datacenter without hosts whose hypervisor lets VAI have three machines with 16 CPUs in all."""

    def __init__(self) -> None:
        self.store = FakeStore(SettableClock())
        policies = PolicyManager(
            configuration=self.store.configuration, events=self.store.events, clock=self.store.clock, refresh_seconds=0
        )
        self.capacity = ResourceManager(
            datacenters=self.store.datacenters,
            reservations=self.store.reservations,
            clock=self.store.clock,
            quotas=Quotas(policies=policies, reservations=self.store.reservations),
        )
        self.review = CapacityReview(
            reservations=self.store.reservations,
            machines=self.store.machines,
            operations=self.store.operations,
            clock=self.store.clock,
            lease_seconds=60,
        )
        self.machine = an_active_machine(observed_host=None, observed_size=Size(2, 1024, 10))
        self.store.datacenters.insert(a_datacenter(), {})

    def list(self, used: dict[str, int], *, own: bool) -> None:
        """Read quota and machines, as the watcher does; a stranger's machine is always among them."""
        quota = ProviderQuota(limit={"machines": 3, "cpus": 16}, used=used)
        inventory = replace(an_inventory(hosts=0), datastores=(), quota=quota)
        self.store.datacenters.record_reachable("dc-1", None, inventory)
        seen = [an_observation(), *([an_observation(self.machine)] if own else [])]
        self.store.clock.advance(1)
        self.review.review(self.store.datacenters.get("dc-1"), seen, self.store.clock())

    def reserve(self, machine_id: str) -> None:
        assert self.capacity.reserve(machine_id, "dc-1", Location(), ROOM, OWNER)

    def free(self) -> dict[str, int]:
        (found,) = self.capacity.snapshot(["dc-1"])
        return {each.dimension: each.free for each in found.quota}


@pytest.fixture
def project() -> Project:
    return Project()


def test_vais_own_machines_count_once_from_their_placement_to_their_end(project: Project) -> None:
    project.list({"machines": 1, "cpus": 4}, own=False)
    assert project.free() == {"machines": 2, "cpus": 12}
    project.reserve(project.machine.id)
    assert project.free() == {"machines": 1, "cpus": 10}, "before anything was listed again"
    project.list({"machines": 2, "cpus": 6}, own=True)
    assert project.free() == {"machines": 1, "cpus": 10}, "the hypervisor counts it too now"
    project.capacity.release(project.machine.id)
    assert project.free() == {"machines": 2, "cpus": 12}, "at once, without a listing"


def test_a_quota_that_is_used_up_refuses_with_its_numbers(project: Project) -> None:
    project.list({"machines": 2, "cpus": 4}, own=False)
    project.reserve("vm-1")
    (capacity,) = project.capacity.snapshot(["dc-1"])
    verdict = judge_datacenter(capacity, an_ask())
    (refused,) = (each for each in verdict.checks if not each.passed)
    assert (refused.name, refused.asked, refused.free) == (CheckName.QUOTA, 1, 0)
    assert not verdict.fits
    assert isinstance(refusal(verdict), QuotaExceeded)
    assert "0 of the 3 machines of its own quota free" in refusal(verdict).detail


def test_what_the_quota_holds_when_it_is_empty_may_be_asked_for(project: Project) -> None:
    """A request is refused at once only for what can never be: by its turn others may be gone."""
    project.list({"machines": 3, "cpus": 16}, own=False)
    empty = project.capacity.unreserved("dc-1")
    assert {each.dimension: each.free for each in empty.quota} == {"machines": 3, "cpus": 16}


def test_a_hypervisor_without_quota_is_not_counted(project: Project) -> None:
    project.store.datacenters.record_reachable("dc-1", None, an_inventory(hosts=0))
    assert project.free() == {}
