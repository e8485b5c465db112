"""Tenants whose machines are in projects of their own, in one datacenter on a real OpenStack."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.contracts_drivers.site import a_mark
from tests.lab.openstack.cloud import Account, Cloud
from tests.lab.openstack.content import IMAGE
from tests.lab.openstack.witness import Witness
from tests.lab.process import wait_until
from vai_app.domain.datacenters import Connection
from vai_app.domain.errors import InvalidRequest, ProviderAuthenticationFailed
from vai_app.domain.hypervisor import Capability, CreateRequest, Hypervisor, NativeTask, TaskState
from vai_app.domain.virtual_machines import Location, MachineSpec, Power, PowerAction, Size
from vai_app.drivers.openstack import OpenStackHypervisor, connect

pytestmark = pytest.mark.spec(27)

_SECONDS = 120.0
_NETWORK = "lab-net"
_TINY = Size(cpus=1, memory_mib=512, disk_gib=1)


def _connection(account: Account, projects: dict[str, str]) -> Connection:
    credentials = {"username": account.username, "password": account.password, "project": account.project}
    options = {"region": account.region, "projects": projects}
    return Connection("dc-1", "openstack", account.auth_url, credentials, options=options)


@dataclass
class Site:
    """One account in two projects: its own, and one that is mapped to the tenant ``brand``."""

    connection: Connection
    hypervisor: Hypervisor
    own: Witness
    mapped: Witness

    def create(self, tenant: str) -> str:
        """Make a machine for a tenant; its reference."""
        spec = MachineSpec(f"{tenant}-web", _TINY, image=IMAGE, networks=(_NETWORK,))
        mark = a_mark()
        task = self.hypervisor.request_create(CreateRequest(spec, mark, Location(), tenant=tenant))
        self.end(task)
        found = self.hypervisor.find_by_token(mark.token)
        assert found is not None
        assert found.mark == mark
        return found.ref

    def end(self, task: NativeTask | None) -> None:
        """Follow a task as another process does: it knows nothing of who has the server."""
        assert task is not None
        watcher, ended = connect(self.connection), []

        def has_ended() -> bool:
            ended.extend(watcher.wait_tasks([task.ref], 1.0))
            return bool(ended)

        wait_until(has_ended, seconds=_SECONDS, what=f"{task.ref} has ended")
        watcher.close()
        assert ended[0].state is TaskState.SUCCEEDED, ended[0].error


@pytest.fixture
def site(openstack_cloud: Cloud, tmp_path: Path) -> Iterator[Site]:
    own, mapped = openstack_cloud.new_project(), openstack_cloud.new_project()
    openstack_cloud.let_into(own, mapped.project)
    folders = (tmp_path / "own", tmp_path / "mapped")
    for folder in folders:
        folder.mkdir()
    connection = _connection(own, {"brand": mapped.project})
    hypervisor = connect(connection)
    witnesses = [Witness(openstack_cloud, *each) for each in zip(folders, (own, mapped), strict=True)]
    yield Site(connection, hypervisor, *witnesses)
    hypervisor.close()


def _names(witness: Witness) -> list[str]:
    return [server["Name"] for server in witness.project().servers]


def test_each_tenants_machine_is_in_its_project_and_obeys_from_there(site: Site) -> None:
    about = site.hypervisor.verify()
    assert about.account.count(" in ") == 2
    refs = {tenant: site.create(tenant) for tenant in ("acme", "brand")}
    assert (_names(site.own), _names(site.mapped)) == (["acme-web"], ["brand-web"])
    assert {seen.ref for seen in site.hypervisor.list_machines()} == set(refs.values())
    inventory = site.hypervisor.observe_inventory()
    assert inventory.quota is None
    assert [each.name for each in inventory.networks].count(_NETWORK) == 1

    other = connect(site.connection)  # a process that has seen none of this
    for ref in refs.values():
        site.end(other.request_power(ref, PowerAction.STOP))
        assert other.observe_machine(ref).power is Power.OFF
    for ref in refs.values():
        site.end(other.request_delete(ref))
    other.close()
    assert site.own.project().nothing
    assert site.mapped.project().nothing
    assert site.hypervisor.request_delete(refs["brand"]) is None


def test_snapshots_are_in_the_machines_project_and_found_there_when_it_is_gone(site: Site) -> None:
    ref, mark = site.create("brand"), a_mark()
    site.end(connect(site.connection).request_snapshot(ref, "gold", mark))
    assert ([image["Name"] for image in site.mapped.images()], site.own.images()) == (["gold"], [])
    other = connect(site.connection)
    (snapshot,) = other.list_snapshots(ref)
    site.end(other.request_restore(ref, snapshot.ref))
    site.end(other.request_delete(ref))
    other.close()
    other = connect(site.connection)  # a process that has not seen the machine
    assert other.list_snapshots(ref) == [snapshot]
    assert other.request_delete_snapshot(ref, snapshot.ref) is None
    assert other.list_snapshots(ref) == site.mapped.images() == []
    other.close()


def test_a_project_that_may_not_be_entered_is_refused_when_it_is_verified(openstack_cloud: Cloud) -> None:
    account, foreign = openstack_cloud.new_project(), openstack_cloud.new_project()
    hypervisor = connect(_connection(account, {"brand": foreign.project}))
    with pytest.raises(ProviderAuthenticationFailed):
        hypervisor.verify()
    hypervisor.close()


def test_an_application_credential_cannot_be_mapped(openstack_cloud: Cloud) -> None:
    account = openstack_cloud.demo
    secret = {"application_credential_id": "id", "application_credential_secret": "secret"}
    with pytest.raises(InvalidRequest, match="one project only") as refused:
        connect(Connection("dc-1", "openstack", account.auth_url, secret, options={"projects": {"brand": "shop"}}))
    assert refused.value.errors[0]["field"] == "options.projects"


def test_what_an_account_may_do_is_what_it_may_do_in_every_project(site: Site) -> None:
    assert site.hypervisor.capabilities == OpenStackHypervisor.capabilities
    assert Capability.MIGRATE_RUNNING not in site.hypervisor.observe_capabilities()
