"""The OpenStack driver keeps the contract on a real Keystone, Nova, Neutron, Glance and Placement."""

import secrets
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, ClassVar

import pytest

from tests.contracts_drivers.contract import HypervisorContract
from tests.contracts_drivers.site import PATIENCE_SECONDS, Site
from tests.lab.openstack.cloud import Account, Cloud
from tests.lab.process import wait_until
from vai_app.domain.datacenters import Connection
from vai_app.domain.hypervisor import Capability, Hypervisor
from vai_app.domain.virtual_machines import FixedAddress, Power, PowerAction, Size
from vai_app.drivers.openstack import OpenStackHypervisor

_PUBLIC_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBDUOiL+w5bfKXTYJunxXtOE5+tg5llf1K3//MpR3Uhv vai"
_OF_ADMINISTRATORS = frozenset(
    {Capability.MIGRATE_RUNNING, Capability.MIGRATE_STOPPED, Capability.EVACUATE, Capability.STATISTICS}
)

pytestmark = [pytest.mark.spec(27), pytest.mark.timeout(900)]


def connection_to(account: Account, **credentials: str) -> Connection:
    """Return what a user registers to let VAI enter a cloud."""
    given = {"username": account.username, "password": account.password, "project": account.project, **credentials}
    return Connection("dc-1", "openstack", account.auth_url, given, options={"region": account.region})


class OpenStackSite(Site):
    """A project of its own, entered by an ordinary member."""

    image = "cirros"
    networks = ("lab-net", "lab-net-2")
    small = Size(cpus=1, memory_mib=512, disk_gib=1)
    larger = Size(cpus=1, memory_mib=2048, disk_gib=20)
    huge = Size(cpus=1, memory_mib=2**22, disk_gib=1)
    many = 4

    options: ClassVar[dict[str, Any]] = {}

    def __init__(self, account: Account, cloud: Cloud) -> None:
        self._account, self._cloud, self._held = account, cloud, ExitStack()
        self._member: Any = account.connect()
        self._admin: Any = cloud.admin.connect()
        super().__init__()

    def connect(self, **credentials: str) -> Hypervisor:
        connection = connection_to(self._account, **credentials)
        return OpenStackHypervisor(replace(connection, options={**connection.options, **self.options}))

    def stranger(self) -> str:
        compute = self._member.compute
        flavor = compute.find_flavor("m1.tiny")
        image = self._member.image.find_image(self.image)
        network = self._member.network.find_network(self.networks[0])
        made = compute.create_server(
            name="stranger", image_id=image.id, flavor_id=flavor.id, networks=[{"uuid": network.id}]
        )
        return str(compute.wait_for_server(made).id)

    def free_address(self) -> FixedAddress:
        """Neutron lets only a network's owner choose addresses in it."""
        network, name = self._member.network, f"own-{secrets.token_hex(4)}"
        made = network.create_network(name=name)
        network.create_subnet(name=name, network_id=made.id, ip_version=4, cidr="10.99.0.0/24")
        return FixedAddress(name, "10.99.0.77")

    def new_security_group(self) -> str:
        return str(self._member.network.create_security_group(name=f"group-{secrets.token_hex(4)}").name)

    def security_groups_of(self, ref: str) -> set[str]:
        return {each["name"] for each in self._member.compute.get_server(ref).security_groups}

    def new_keypair(self) -> str:
        return str(self._member.compute.create_keypair(name=f"key-{secrets.token_hex(4)}", public_key=_PUBLIC_KEY).name)

    def keypair_of(self, ref: str) -> str | None:
        found: str | None = self._member.compute.get_server(ref).key_name
        return found

    def user_data_of(self, ref: str) -> str | None:
        found: str | None = self._admin.compute.get_server(ref).user_data
        return found

    def restored_to(self, ref: str) -> str | None:
        """Return the image that Nova says the server is made of, if that is an image of a server."""
        image = self._member.image.get_image(self._member.compute.get_server(ref).image.id)
        return str(image.id) if "instance_uuid" in image.properties or image.instance_uuid else None

    def fail_host(self, ref: str) -> None:
        self._cloud.kill_host(ref)
        self._cloud.await_hosts(*("down" if host == ref else "up" for host in self._cloud.hosts))

    def restore_host(self, ref: str) -> None:
        self._cloud.start_host(ref)
        self._cloud.let_up(ref)
        self._cloud.await_hosts()

    def create_on_a_host_that_may_fail(self, name: str) -> str:
        """Nova's scheduler is not asked whether the spare host, which it must not use, takes the machine."""
        spare = self._held.enter_context(self._cloud.spare_alone())
        made = self.end(self.request(name))
        assert made.machine_ref is not None, made.error
        force = {"os-migrateLive": {"host": spare, "block_migration": "auto", "force": True}}
        asked = self._admin.compute.post(f"/servers/{made.machine_ref}/action", json=force, microversion="2.60")
        assert asked.ok, asked.text
        ref = made.machine_ref
        wait_until(lambda: self._runs_on(ref, spare), seconds=PATIENCE_SECONDS, what=f"the machine runs on {spare}")
        self.power(ref, PowerAction.STOP)
        return ref

    def _runs_on(self, ref: str, host: str) -> bool:
        seen = self.seen(ref)
        return (seen.host, seen.power) == (host, Power.ON)

    def clear(self) -> None:
        """Remove everything of the project."""
        compute = self._member.compute
        for server in compute.servers(details=False):
            compute.delete_server(server)
        for server in compute.servers(details=False):
            compute.wait_for_delete(server, wait=120)
        for image in self._member.image.images(visibility="private", owner=self._member.current_project_id):
            self._member.image.delete_image(image)

    def close(self) -> None:
        self.clear()
        self._held.close()
        self.hypervisor.close()
        self._member.close()
        self._admin.close()


class OpenStackSiteOnVolumes(OpenStackSite):
    """Its machines boot from volumes."""

    small = Size(cpus=1, memory_mib=512, disk_gib=3)
    larger = Size(cpus=1, memory_mib=2048, disk_gib=5)
    options: ClassVar[dict[str, Any]] = {"boot_from_volume": True}

    def close(self) -> None:
        """See besides that no volume is left, which is Nova's to remove with its server."""
        self.clear()
        left = lambda: [each.id for each in self._member.block_storage.volumes(details=False)]  # noqa: E731
        wait_until(lambda: left() == [], seconds=PATIENCE_SECONDS, what="volumes are gone with their servers")
        super().close()


@pytest.fixture(scope="module")
def account(openstack_cloud: Cloud) -> Account:
    """A project of the lab's cloud, which has a flavor that no host can take."""
    admin: Any = openstack_cloud.admin.connect()
    if not [each for each in admin.compute.flavors() if each.name == "lab.huge"]:
        admin.compute.create_flavor(name="lab.huge", vcpus=1, ram=OpenStackSite.huge.memory_mib, disk=1)
    admin.close()
    return openstack_cloud.new_project()


@pytest.mark.spec(29)
class TestOpenStack(HypervisorContract):
    """As an account that sees no hosts."""

    capabilities = OpenStackHypervisor.capabilities - _OF_ADMINISTRATORS

    @pytest.fixture
    def site(self, account: Account, openstack_cloud: Cloud) -> Iterator[OpenStackSite]:
        site = OpenStackSite(account, openstack_cloud)
        yield site
        site.close()


class TestOpenStackOnVolumes(HypervisorContract):
    """Where machines boot from volumes of Cinder: what has to do with making them, their disks and their end."""

    capabilities = (TestOpenStack.capabilities - {Capability.SNAPSHOT}) | {Capability.CHOOSE_DISK}
    only = frozenset(
        {
            Capability.CREATE_FROM_IMAGE,
            Capability.CHOOSE_DISK,
            Capability.CREATES_RUNNING,
            Capability.DELETES_RUNNING,
            Capability.RESIZE_STOPPED,
        }
    )

    @pytest.fixture
    def site(self, account: Account, openstack_cloud: Cloud) -> Iterator[OpenStackSiteOnVolumes]:
        site = OpenStackSiteOnVolumes(account, openstack_cloud)
        yield site
        site.close()

    def test_all_capabilities_are_those_of_a_cloud_with_volumes(self, site: OpenStackSiteOnVolumes) -> None:
        assert site.hypervisor.observe_capabilities() == self.capabilities


@pytest.fixture(scope="module")
def administrator(openstack_cloud: Cloud) -> Account:
    """An administrator, whose machines no other test sees as its own."""
    return openstack_cloud.new_administrator()


class TestOpenStackAsAdministrator(HypervisorContract):
    """What takes the right to see hosts."""

    capabilities = OpenStackHypervisor.capabilities
    only = _OF_ADMINISTRATORS

    @pytest.fixture
    def site(self, administrator: Account, openstack_cloud: Cloud) -> Iterator[OpenStackSite]:
        site = OpenStackSite(administrator, openstack_cloud)
        yield site
        site.close()

    def test_all_capabilities_are_those_of_an_administrator(self, site: OpenStackSite) -> None:
        assert site.hypervisor.observe_capabilities() == OpenStackHypervisor.capabilities
