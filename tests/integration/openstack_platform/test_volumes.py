"""Machines that boot from volumes of a real Cinder, seen by python-openstackclient."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.contracts_drivers.site import a_mark
from tests.lab.openstack.cloud import Account, Cloud
from tests.lab.openstack.content import IMAGE
from tests.lab.openstack.witness import Witness
from tests.lab.process import wait_until
from vai_app.domain.datacenters import Connection
from vai_app.domain.errors import Conflict, QuotaExceeded
from vai_app.domain.hypervisor import CreateRequest, NativeTask, TaskObservation
from vai_app.domain.virtual_machines import Location, MachineSpec, PowerAction, Size
from vai_app.drivers.openstack import OpenStackHypervisor

pytestmark = pytest.mark.spec(27)

_SECONDS = 120.0
_NETWORK = "lab-net"
_SMALL = Size(cpus=1, memory_mib=512, disk_gib=7)  # no flavor has such a disk


@dataclass
class Site:
    """One project whose machines boot from volumes."""

    cloud: Cloud
    account: Account
    hypervisor: OpenStackHypervisor
    witness: Witness

    def create(self, name: str, size: Size = _SMALL) -> TaskObservation:
        """Ask for a machine; how that ended."""
        spec = MachineSpec(name, size, image=IMAGE, networks=(_NETWORK,))
        return self.end(self.hypervisor.request_create(CreateRequest(spec, a_mark(), Location())))

    def end(self, task: NativeTask | None) -> TaskObservation:
        """Follow a task to its end."""
        assert task is not None
        ends_at = time.monotonic() + _SECONDS
        while time.monotonic() < ends_at:
            for ended in self.hypervisor.wait_tasks([task.ref], 5.0):
                return ended
        raise AssertionError(f"{task.ref} did not end")

    def limit(self, **quota: int) -> None:
        """Limit the project's volumes."""
        with self.cloud.admin.connect() as admin:
            identity: Any = admin.identity
            project = identity.find_project(self.account.project, ignore_missing=False)
            admin.block_storage.update_quota_set(project, **quota)

    def volumes(self) -> list[dict[str, Any]]:
        """Return what the independent client sees."""
        found: list[dict[str, Any]] = self.witness.ask("volume", "list")
        return found

    def remove(self, ref: str) -> None:
        """Delete a machine, and see that nothing of it is left."""
        assert self.end(self.hypervisor.request_delete(ref)).error is None
        wait_until(lambda: not self.volumes(), seconds=_SECONDS, what="the volume is gone with its server")
        assert self.witness.project().nothing


@pytest.fixture
def site(openstack_cloud: Cloud, tmp_path: Path) -> Iterator[Site]:
    account = openstack_cloud.new_project()
    credentials = {"username": account.username, "password": account.password, "project": account.project}
    options = {"region": account.region, "boot_from_volume": True}
    hypervisor = OpenStackHypervisor(Connection("dc-1", "openstack", account.auth_url, credentials, options=options))
    hypervisor.verify()
    yield Site(openstack_cloud, account, hypervisor, Witness(openstack_cloud, tmp_path, account))
    hypervisor.close()


def test_the_witness_sees_a_volume_of_the_size_that_was_asked_for_and_none_after_deletion(site: Site) -> None:
    made = site.create("web")
    assert made.error is None, made.error
    ref = str(made.machine_ref)
    (volume,) = site.volumes()
    assert (volume["Size"], volume["Status"]) == (7, "in-use")
    assert ref in str(volume["Attached to"])
    assert site.hypervisor.observe_machine(ref).size == _SMALL
    assert [each.size for each in site.hypervisor.list_machines()] == [_SMALL]

    with pytest.raises(Conflict, match="boots from a volume"):
        site.hypervisor.request_snapshot(ref, "gold", a_mark())
    assert site.end(site.hypervisor.request_power(ref, PowerAction.STOP)).error is None
    larger = Size(1, 512, 9)
    assert site.end(site.hypervisor.request_resize(ref, larger)).error is None
    assert site.hypervisor.request_resize(ref, larger) is None
    assert [each["Size"] for each in site.volumes()] == [9]
    assert site.witness.images() == []
    site.remove(ref)


def test_a_disk_without_a_size_is_as_large_as_the_image(site: Site) -> None:
    ref = str(site.create("web", Size(1, 512, 0)).machine_ref)
    assert [each["Size"] for each in site.volumes()] == [1]
    site.remove(ref)


def test_a_disk_grows_no_further_than_the_quota_and_stays_as_it_was(site: Site) -> None:
    ref = str(site.create("web").machine_ref)
    assert site.end(site.hypervisor.request_power(ref, PowerAction.STOP)).error is None
    site.limit(gigabytes=8)
    with pytest.raises(QuotaExceeded):
        site.hypervisor.request_resize(ref, Size(1, 512, 9))
    assert site.hypervisor.observe_machine(ref).size == _SMALL
    site.remove(ref)


def test_a_quota_of_volumes_is_told_as_such_and_nothing_is_left(site: Site) -> None:
    site.limit(volumes=0)
    failed = site.create("web")
    assert isinstance(failed.error, QuotaExceeded), failed.error
    (left,) = site.hypervisor.list_machines()  # in error, for VAI to remove
    site.remove(left.ref)
