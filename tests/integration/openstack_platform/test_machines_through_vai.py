"""Machines on a real OpenStack through VAI's API, seen by a client that knows nothing of VAI."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.witness import Witness as VcenterWitness
from tests.lab.http_proxy import HttpProxy, Rule, drop_answer
from tests.lab.openstack.cloud import Account, Cloud
from tests.lab.openstack.content import IMAGE
from tests.lab.openstack.witness import Witness
from tests.lab.process import wait_until
from tests.lab.registration import openstack_entry
from tests.lab.vai import Vai
from tests.lab.vcsim import Vcsim
from vai_app.cli.client import ApiClient

ROOT = Path(__file__).parents[3]
DATACENTER = "os"
NETWORK = "lab-net"
VSPHERE = "vsphere"
_ID = re.compile(r"[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}")
_SECONDS = 120.0


@dataclass
class Site:
    """VAI with one OpenStack datacenter behind a proxy."""

    vai: Vai
    proxy: HttpProxy
    account: Account
    witness: Witness

    def create(self, name: str, **changes: Any) -> dict[str, Any]:
        """Make a machine; its operation, ended."""
        asked = {"memory_mib": 512, "cpus": 1, "disk_gib": 1, "image": IMAGE, "networks": [NETWORK], **changes}
        return self.vai.end(self.vai.create(name, DATACENTER, **asked), seconds=_SECONDS)

    def delete(self, machine_id: str) -> dict[str, Any]:
        """Remove it; the operation, ended."""
        return self.vai.end(self.vai.client.delete(f"/virtual-machines/{machine_id}"), seconds=_SECONDS)


@pytest.fixture(scope="module")
def site(
    tmp_path_factory: pytest.TempPathFactory, openstack_cloud: Cloud, mongo_url: str, rabbitmq_url: str, valkey_url: str
) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("openstack")
    account = openstack_cloud.new_project()
    vai = Vai(folder / "vai", mongo_url=mongo_url, broker_url=rabbitmq_url, redis_url=valkey_url)
    with HttpProxy(openstack_cloud.layout.ports.by_name).running() as proxy, vai.running():
        _register(vai, DATACENTER, account.through(proxy.ports["keystone"]))
        yield Site(vai, proxy, account, Witness(openstack_cloud, folder, account))


def test_the_witness_sees_the_server_its_port_and_vais_mark_and_nothing_after_deletion(site: Site) -> None:
    made = site.create("web", cpus=2, memory_mib=4096, disk_gib=40)
    assert made["state"] == "succeeded", made["problem"]
    machine = site.vai.client.get(f"/virtual-machines/{made['machine_id']}")
    seen = site.witness.project()
    (listed,) = seen.servers
    server = site.witness.server(machine["provider_ref"])
    assert (listed["ID"], listed["Name"], listed["Status"]) == (machine["provider_ref"], "web", "ACTIVE")
    assert "m1.medium" in str(server["flavor"])
    assert IMAGE in str(server["image"])
    assert list(server["addresses"]) == [NETWORK]
    assert made["id"] in server["properties"].values()  # the operation's token
    assert len(seen.ports) == 1
    removed = site.delete(made["machine_id"])
    assert removed["state"] == "succeeded", removed["problem"]
    assert site.witness.project().nothing


@pytest.mark.timeout(900)
def test_an_answer_dropped_at_any_call_of_a_create_leaves_exactly_one_server_and_no_orphan(site: Site) -> None:
    site.proxy.clear()
    made = [site.create("all-heard")]
    shapes = {(call.service, call.method, _shape(call.path)) for call in site.proxy.calls if call.status is not None}
    assert ("nova", "POST", r"^/v2\.1/servers$") in shapes
    used = []
    for number, (service, method, shape) in enumerate(sorted(shapes)):
        rule: Rule = site.proxy.add(drop_answer(method, shape, service=service))
        made.append(site.create(f"unheard-{number}"))
        used.append(rule.used)
        site.proxy.clear()
    assert sum(used) >= len(shapes) // 2  # tokens and catalogues are read once only
    assert [each["problem"] for each in made if each["state"] != "succeeded"] == []
    seen = site.witness.project()
    assert sorted(server["Name"] for server in seen.servers) == sorted(
        site.vai.client.get(f"/virtual-machines/{each['machine_id']}")["name"] for each in made
    )
    assert len(seen.ports) == len(seen.servers)
    ends = [site.vai.client.delete(f"/virtual-machines/{each['machine_id']}") for each in made]
    assert {site.vai.end(each, seconds=_SECONDS)["state"] for each in ends} == {"succeeded"}
    assert site.witness.project().nothing


@dataclass
class Vsphere:
    """A vCenter beside the cloud, with an image and a network of the same names."""

    vai: Vai
    witness: VcenterWitness

    def names(self) -> list[str]:
        """Return the machines that were made since the beginning."""
        return sorted(seen.name for seen in self.witness.machines())

    def give_out(self, memory_ratio: float) -> None:
        """Let so much of its hosts' memory be given to machines."""
        placement = {"cpu_ratio": 100, "disk_ratio": 100, "memory_ratio": memory_ratio}
        self.vai.client.change_configuration("PATCH", f"/datacenters/{VSPHERE}", {"placement": placement})


@pytest.fixture(scope="module")
def vsphere(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vsphere]:
    folder = tmp_path_factory.mktemp("vsphere")
    vcsim = Vcsim(folder)
    vcsim.start()
    before = VcenterWitness(vcsim, folder)
    (template, *_) = sorted(before.all_names())
    before.rename(template, IMAGE)
    before.power_off(IMAGE)
    before.mark_as_template(IMAGE)
    before.add_network(NETWORK)
    before.close()
    witness = VcenterWitness(vcsim, folder)
    site.vai.register(VSPHERE, vcsim)
    wait_until(lambda: _shows(site.vai), seconds=60, what="both datacenters show image and network")
    yield Vsphere(site.vai, witness)
    witness.close()
    vcsim.stop()


def _shows(vai: Vai) -> bool:
    found = [vai.client.get(f"/datacenters/{name}/inventory") for name in (VSPHERE, DATACENTER)]
    return all(
        IMAGE in [each["name"] for each in one["images"]] and NETWORK in [each["name"] for each in one["networks"]]
        for one in found
    )


@pytest.mark.spec(10)
def test_a_full_vcenter_leads_to_a_recommendation_and_with_consent_to_a_server_on_openstack(
    site: Site, vsphere: Vsphere
) -> None:
    vsphere.give_out(1 / 1024)  # half a GiB of a host
    asked = {"memory_mib": 2048, "cpus": 1, "disk_gib": 20, "image": IMAGE, "networks": [NETWORK]}
    rejected = site.vai.end(site.vai.create("wanderer", VSPHERE, **asked), seconds=_SECONDS)
    assert (rejected["state"], rejected["problem"]["type"]) == ("rejected", "/problems/capacity-short")
    assert rejected["recommended_datacenter_id"] == site.vai.client.get(f"/datacenters/{DATACENTER}")["id"]
    assert (vsphere.names(), site.witness.project().servers) == ([], [])

    confirmed = site.vai.end(site.vai.client.post(f"/operations/{rejected['id']}/actions/confirm"), seconds=_SECONDS)
    assert confirmed["state"] == "succeeded", confirmed["problem"]
    consented = {"placement": {"elsewhere": "automatically"}}
    second = site.vai.end(site.vai.create("settler", VSPHERE, **asked, **consented), seconds=_SECONDS)
    assert second["state"] == "succeeded", second["problem"]
    assert vsphere.names() == []
    servers = site.witness.project().servers
    assert {server["Name"]: server["Status"] for server in servers} == {"wanderer": "ACTIVE", "settler": "ACTIVE"}
    for made in (confirmed, second):
        machine = site.vai.client.get(f"/virtual-machines/{made['machine_id']}")
        assert (machine["state"], machine["datacenter"]["name"]) == ("active", DATACENTER)
        assert site.delete(made["machine_id"])["state"] == "succeeded"
    assert site.witness.project().nothing


@pytest.mark.spec(10)
def test_a_full_openstack_leads_to_a_machine_at_the_vcenter_if_that_was_consented_to(
    site: Site, vsphere: Vsphere, openstack_cloud: Cloud
) -> None:
    vsphere.give_out(1.0)
    api = site.vai.client
    _register(site.vai, "seeing", openstack_cloud.admin)  # an account that is shown the hosts
    hosts = api.get("/hosts", datacenter="seeing")["items"]
    api.change_configuration("PATCH", "/datacenters/seeing", {"placement": {"failover_hosts": len(hosts)}})
    asked = {"memory_mib": 2048, "cpus": 1, "disk_gib": 20, "image": IMAGE, "networks": [NETWORK]}
    rejected = site.vai.end(site.vai.create("giant", "seeing", **asked))
    assert (rejected["state"], rejected["problem"]["type"]) == ("rejected", "/problems/capacity-short")
    assert rejected["recommended_datacenter_id"] is not None

    consented = {"placement": {"elsewhere": "automatically"}}
    api.change_configuration("PATCH", f"/datacenters/{DATACENTER}", {"enabled": False})
    made = site.vai.end(site.vai.create("giant", "seeing", **asked, **consented), seconds=_SECONDS)
    api.change_configuration("PATCH", f"/datacenters/{DATACENTER}", {"enabled": True})
    api.change_configuration("PATCH", "/datacenters/seeing", {"enabled": False})
    assert made["state"] == "succeeded", made["problem"]
    assert (vsphere.names(), site.witness.project().servers) == (["giant"], [])
    assert api.get(f"/virtual-machines/{made['machine_id']}")["datacenter"]["name"] == VSPHERE
    assert site.delete(made["machine_id"])["state"] == "succeeded"
    assert vsphere.names() == []


@pytest.mark.spec(10)
def test_a_project_whose_quota_is_used_up_leads_to_a_machine_at_the_vcenter_if_that_was_consented_to(
    site: Site, vsphere: Vsphere, openstack_cloud: Cloud
) -> None:
    vsphere.give_out(1.0)
    api = site.vai.client
    poor = openstack_cloud.new_project()
    with openstack_cloud.admin.connect() as admin:
        identity: Any = admin.identity
        network: Any = admin.network
        network.update_quota(identity.find_project(poor.project).id, ports=0)  # which no listing shows
    _register(site.vai, "poor", poor)
    asked = {"memory_mib": 512, "cpus": 1, "disk_gib": 1, "image": IMAGE, "networks": [NETWORK]}
    refused = site.vai.end(site.vai.create("guest", "poor", **asked, placement={"elsewhere": "never"}))
    assert (refused["state"], refused["problem"]["type"]) == ("rejected", "/problems/quota-exceeded")

    consented = {"placement": {"elsewhere": "automatically"}}
    api.change_configuration("PATCH", f"/datacenters/{DATACENTER}", {"enabled": False})
    made = site.vai.end(site.vai.create("guest", "poor", **asked, **consented), seconds=_SECONDS)
    api.change_configuration("PATCH", f"/datacenters/{DATACENTER}", {"enabled": True})
    api.change_configuration("PATCH", "/datacenters/poor", {"enabled": False})
    assert made["state"] == "succeeded", made["problem"]
    assert vsphere.names() == ["guest"]
    assert site.delete(made["machine_id"])["state"] == "succeeded"
    assert vsphere.names() == []


def test_a_projects_quota_is_known_room_and_what_is_deleted_gives_it_back_at_once(
    site: Site, openstack_cloud: Cloud
) -> None:
    api = site.vai.client
    small = openstack_cloud.new_project()
    with openstack_cloud.admin.connect() as admin:
        identity: Any = admin.identity
        compute: Any = admin.compute
        compute.update_quota_set(identity.find_project(small.project), instances=1)
    _register(site.vai, "small", small)
    asked = {"memory_mib": 512, "cpus": 1, "disk_gib": 1, "image": IMAGE, "networks": [NETWORK]}
    first = site.vai.end(site.vai.create("first", "small", **asked), seconds=_SECONDS)
    assert first["state"] == "succeeded", first["problem"]
    quota = {each["dimension"]: each for each in api.get("/datacenters/small/capacity")["quota"]}
    assert set(quota) == {"machines"}, "what the lab's Nova does not limit is left out"
    assert [quota["machines"][kind] for kind in ("allocatable", "used", "reserved", "free")] == [1, 0, 1, 0]

    second = site.vai.end(site.vai.create("second", "small", **asked, placement={"elsewhere": "never"}))
    assert (second["state"], second["problem"]["type"]) == ("rejected", "/problems/quota-exceeded")
    assert "0 of the 1 machines of its own quota free" in second["problem"]["detail"]

    assert site.delete(first["machine_id"])["state"] == "succeeded"
    again = site.vai.end(site.vai.create("second", "small", **asked), seconds=_SECONDS)
    assert again["state"] == "succeeded", again["problem"]
    assert site.delete(again["machine_id"])["state"] == "succeeded"
    api.change_configuration("PATCH", "/datacenters/small", {"enabled": False})


def test_a_tenants_machine_is_in_the_project_that_is_mapped_to_the_tenant(
    site: Site, openstack_cloud: Cloud, tmp_path: Path
) -> None:
    api, brands = site.vai.client, openstack_cloud.new_project()
    openstack_cloud.let_into(site.account, brands.project)
    _register(site.vai, "mapped", site.account, projects=json.dumps({"brand": brands.project}))
    token = api.post("/tokens", {"name": "bea", "tenant": "brand", "roles": ["developer"]})["secret"]
    bea = ApiClient(api.base_url, token)
    asked = {"name": "shop", "cpus": 1, "memory_mib": 512, "disk_gib": 1, "image": IMAGE, "networks": [NETWORK]}
    made = site.vai.end(bea.post("/virtual-machines", {**asked, "datacenter": "mapped"}), seconds=_SECONDS)
    assert made["state"] == "succeeded", made["problem"]
    witness = Witness(openstack_cloud, tmp_path, brands)
    assert [server["Name"] for server in witness.project().servers] == ["shop"]
    assert site.witness.project().servers == []
    assert site.delete(made["machine_id"])["state"] == "succeeded"
    assert witness.project().nothing
    api.change_configuration("PATCH", "/datacenters/mapped", {"enabled": False})


def test_a_machine_that_runs_moves_to_the_other_host_and_runs_on(site: Site, openstack_cloud: Cloud) -> None:
    api = site.vai.client
    _register(site.vai, "movers", openstack_cloud.admin)
    wait_until(lambda: bool(api.get("/hosts", datacenter="movers")["items"]), seconds=60, what="the hosts are listed")
    asked = {"memory_mib": 512, "cpus": 1, "disk_gib": 1, "image": IMAGE, "networks": [NETWORK]}
    made = site.vai.end(site.vai.create("mover", "movers", **asked), seconds=_SECONDS)
    assert made["state"] == "succeeded", made["problem"]
    address = f"/virtual-machines/{made['machine_id']}"
    ref = api.get(address)["provider_ref"]
    with openstack_cloud.admin.connect() as admin:
        compute: Any = admin.compute
        before = compute.get_server(ref)
        moved = site.vai.end(api.post(f"{address}/actions/migrate", {}), seconds=_SECONDS)
        assert moved["state"] == "succeeded", moved["problem"]
        after = compute.get_server(ref)
    assert (before.status, after.status) == ("ACTIVE", "ACTIVE")
    assert after.hypervisor_hostname not in (before.hypervisor_hostname, openstack_cloud.spare)
    assert api.get(address)["observed"]["host"] == after.hypervisor_hostname
    assert site.delete(made["machine_id"])["state"] == "succeeded"
    api.change_configuration("PATCH", "/datacenters/movers", {"enabled": False})


def test_a_machine_on_a_volume_gets_another_size_and_a_larger_disk_at_once(
    site: Site, openstack_cloud: Cloud, tmp_path: Path
) -> None:
    api, account = site.vai.client, openstack_cloud.new_project()
    witness = Witness(openstack_cloud, tmp_path, account)
    _register(site.vai, "on-volumes", account, boot_from_volume="true")
    asked = {"memory_mib": 512, "cpus": 1, "disk_gib": 7, "image": IMAGE, "networks": [NETWORK], "power_on": False}
    made = site.vai.end(site.vai.create("store", "on-volumes", **asked), seconds=_SECONDS)
    assert made["state"] == "succeeded", made["problem"]
    address = f"/virtual-machines/{made['machine_id']}"
    larger = {"cpus": 1, "memory_mib": 2048, "disk_gib": 9}
    resized = site.vai.end(api.post(f"{address}/actions/resize", larger), seconds=_SECONDS)
    assert resized["state"] == "succeeded", resized["problem"]
    machine = api.get(address)
    assert (machine["size"], machine["drift"]) == (larger, [])
    assert [volume["Size"] for volume in witness.ask("volume", "list")] == [9]
    assert "m1.small" in str(witness.server(machine["provider_ref"])["flavor"])
    assert site.delete(made["machine_id"])["state"] == "succeeded"
    wait_until(lambda: not witness.ask("volume", "list"), seconds=_SECONDS, what="the volume is gone")
    assert witness.project().nothing
    api.change_configuration("PATCH", "/datacenters/on-volumes", {"enabled": False})


@pytest.mark.timeout(600)
def test_a_machine_goes_back_to_its_snapshot_though_answers_are_lost_and_leaves_no_image_behind(site: Site) -> None:
    api = site.vai.client
    made = site.create("keeper")
    assert made["state"] == "succeeded", made["problem"]
    address = f"/virtual-machines/{made['machine_id']}"
    ref = api.get(address)["provider_ref"]
    asked = drop_answer("POST", rf"^/v2\.1/servers/{ref}/action$", service="nova")

    lost = site.proxy.add(asked)
    taken = site.vai.end(api.post(f"{address}/snapshots", {"name": "gold"}), seconds=_SECONDS)
    assert (lost.used, taken["state"]) == (1, "succeeded"), taken["problem"]
    assert [image["Name"] for image in site.witness.images()] == ["gold"]  # one, though it was asked for twice
    (snapshot,) = api.get(f"{address}/snapshots")["items"]

    lost = site.proxy.add(asked)
    restored = site.vai.end(api.post(f"{address}/snapshots/{snapshot['id']}/actions/restore"), seconds=_SECONDS)
    assert (lost.used, restored["state"]) == (1, "succeeded"), restored["problem"]
    server = site.witness.server(ref)
    assert (server["status"], snapshot["provider_ref"] in str(server["image"])) == ("ACTIVE", True)
    assert made["id"] in server["properties"].values()  # still VAI's

    assert site.delete(made["machine_id"])["state"] == "succeeded"
    assert (site.witness.project().nothing, site.witness.images()) == (True, [])


def test_one_script_makes_a_machine_on_openstack_and_vsphere_alike(site: Site, vsphere: Vsphere) -> None:
    vsphere.give_out(1.0)
    ran = subprocess.run(
        [sys.executable, ROOT / "examples" / "create_everywhere.py", "shop"],
        env={**os.environ, "VAI_URL": site.vai.client.base_url, "VAI_TOKEN": site.vai.token},
        check=False, capture_output=True, text=True, timeout=_SECONDS,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr
    head, *lines = (line.split("\t") for line in ran.stdout.splitlines())
    rows = {row["kind"]: row for row in (dict(zip(head, line, strict=True)) for line in lines)}
    assert sorted(rows) == ["openstack", "vmware"]
    for row in rows.values():
        assert [row[field] for field in ("state", "power", "cpus", "memory_mib")] == ["active", "on", "1", "512"]


def _register(vai: Vai, name: str, account: Account, **options: str) -> None:
    """Register an account's cloud and wait until it was listed."""
    entry = openstack_entry(name, account, **options)
    assert entry.register({**vai.environment, "VAI_API_URL": vai.client.base_url})
    wait_until(
        lambda: vai.client.get(f"/datacenters/{name}")["observed_at"] is not None, seconds=60, what=f"{name} is listed"
    )


def _shape(path: str) -> str:
    """Return a pattern for a path, whatever its ids, and without its query."""
    bare = re.escape(path.partition("?")[0])
    return "^" + _ID.sub("[^/]+", bare.replace(r"\-", "-")) + (r"\?" if "?" in path else "$")
