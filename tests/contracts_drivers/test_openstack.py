"""The OpenStack driver keeps the contract on a real Keystone, Nova, Neutron, Glance and Placement."""

import secrets
from collections.abc import Iterator
from typing import Any

import pytest

from tests.contracts_drivers.contract import HypervisorContract
from tests.contracts_drivers.site import Site
from tests.lab.openstack.cloud import Account, Cloud
from vai_app.domain.datacenters import Connection
from vai_app.domain.hypervisor import Hypervisor
from vai_app.domain.virtual_machines import FixedAddress, Size
from vai_app.drivers.openstack import OpenStackHypervisor

_PUBLIC_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBDUOiL+w5bfKXTYJunxXtOE5+tg5llf1K3//MpR3Uhv vai"

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

    def __init__(self, account: Account, admin: Account) -> None:
        self._account = account
        self._member: Any = account.connect()
        self._admin: Any = admin.connect()
        super().__init__()

    def connect(self, **credentials: str) -> Hypervisor:
        return OpenStackHypervisor(connection_to(self._account, **credentials))

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

    def fail_host(self, ref: str) -> None:
        raise NotImplementedError

    def clear(self) -> None:
        """Remove everything of the project."""
        compute = self._member.compute
        for server in compute.servers(details=False):
            compute.delete_server(server)
        for server in compute.servers(details=False):
            compute.wait_for_delete(server, wait=120)

    def close(self) -> None:
        self.clear()
        self.hypervisor.close()
        self._member.close()
        self._admin.close()


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

    capabilities = OpenStackHypervisor.capabilities

    @pytest.fixture
    def site(self, account: Account, openstack_cloud: Cloud) -> Iterator[OpenStackSite]:
        site = OpenStackSite(account, openstack_cloud.admin)
        yield site
        site.close()
