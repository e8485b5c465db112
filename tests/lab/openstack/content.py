"""What a new cloud holds before anybody uses it: services in the catalogue, a project, flavors, images, networks."""

import os
import subprocess
from typing import Any

from openstack.connection import Connection

from tests.lab.openstack.configuration import PASSWORD, Layout

FLAVORS = {  # name: CPUs, MiB of memory, GiB of disk
    "m1.tiny": (1, 512, 1),
    "m1.small": (1, 2048, 20),
    "m1.medium": (2, 4096, 40),
    "m1.large": (4, 8192, 80),
}
IMAGE = "cirros"
NETWORKS = {"lab-net": "10.20.0.0/20", "lab-net-2": "10.20.16.0/20"}
PROJECT = "demo"
_UNLIMITED = -1
_IMAGE_BYTES = 64 * 1024


def bootstrap_identity(layout: Layout) -> None:
    """Make the administrator, straight into the database."""
    url = layout.auth_url
    subprocess.run(
        [layout.installation.program("keystone-manage"), "--config-file", layout.etc / "keystone" / "keystone.conf",
         "bootstrap", "--bootstrap-password", PASSWORD, "--bootstrap-region-id", layout.region,
         "--bootstrap-public-url", url, "--bootstrap-internal-url", url, "--bootstrap-admin-url", url],
        check=True, capture_output=True, env={**os.environ, **layout.environment},
    )  # fmt: skip


def fill_catalogue(admin: Connection, layout: Layout) -> None:
    """Register the services and their users."""
    # One request loads Keystone's policy: many at once before that would be refused.
    token = admin.session.get_token()
    admin.session.get(f"{layout.auth_url}/auth/tokens", headers={"X-Subject-Token": token})
    identity: Any = admin.identity
    roles = {role.name: role for role in identity.roles()}
    service = identity.create_project(name="service", domain_id="default")
    ports = layout.ports
    for name, kind, port, path in (
        ("glance", "image", ports.glance, ""),
        ("placement", "placement", ports.placement, ""),
        ("nova", "compute", ports.nova, "/v2.1"),
        ("neutron", "network", ports.neutron, ""),
        ("cinder", "block-storage", ports.cinder, "/v3"),
    ):
        user = identity.create_user(name=name, password=PASSWORD, domain_id="default")
        for role in ("admin", "service"):
            identity.assign_project_role_to_user(service, user, roles[role])
        entry = identity.create_service(name=name, type=kind)
        for interface in ("public", "internal", "admin"):
            url = f"http://127.0.0.1:{port}{path}"
            identity.create_endpoint(service_id=entry.id, interface=interface, region_id=layout.region, url=url)


def fill(admin: Connection) -> None:
    """Make flavors, an image, shared networks, and the project that tests use."""
    compute: Any = admin.compute
    network: Any = admin.network
    for name, (cpus, memory_mib, disk_gib) in FLAVORS.items():
        compute.create_flavor(name=name, vcpus=cpus, ram=memory_mib, disk=disk_gib)
    admin.image.create_image(
        name=IMAGE, disk_format="raw", container_format="bare", visibility="public", data=bytes(_IMAGE_BYTES),
        validate_checksum=False,
    )  # fmt: skip
    for name, cidr in NETWORKS.items():
        made = network.create_network(name=name, is_shared=True)
        network.create_subnet(name=name, network_id=made.id, ip_version=4, cidr=cidr)
    add_project(admin, PROJECT)


def keep_out_of_scheduling(admin: Connection, host: str) -> None:
    """Let a host take only the machines that an administrator forces onto it."""
    compute: Any = admin.compute
    for service in compute.services(host=host, binary="nova-compute"):
        compute.disable_service(service, disabled_reason="kept for tests that crash it")


def add_project(admin: Connection, name: str, password: str = PASSWORD, *, role: str = "member") -> None:
    """Make a project with room for everything, and a user by the same name who has the role there."""
    identity: Any = admin.identity
    compute: Any = admin.compute
    network: Any = admin.network
    project = identity.create_project(name=name, domain_id="default")
    identity.create_user(name=name, password=password, domain_id="default")
    add_role(admin, name, name, role)
    compute.update_quota_set(project, instances=_UNLIMITED, cores=_UNLIMITED, ram=_UNLIMITED)
    network.update_quota(project.id, ports=_UNLIMITED)


def add_role(admin: Connection, user: str, project: str, role: str = "member") -> None:
    """Give a user a role in a project, all by name."""
    identity: Any = admin.identity
    identity.assign_project_role_to_user(
        identity.find_project(project, ignore_missing=False),
        identity.find_user(user, ignore_missing=False),
        identity.find_role(role, ignore_missing=False),
    )
