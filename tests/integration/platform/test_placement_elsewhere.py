"""A full datacenter leads to a recommendation and, with consent, to a machine in another one of another kind.

``OTHERS`` are the kinds of the second datacenter: a function that registers one and returns its name and a witness of
the names of its machines.
"""

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.platform.conftest import Site
from tests.lab.process import wait_until
from tests.lab.vai import Vai
from vai_app.cli.client import Json
from vai_app.domain.datacenters import Connection
from vai_app.drivers.simulated import connect

GIB = 1024
NETWORK = "VM Network"
_numbers = itertools.count(1)

Other = tuple[str, Callable[[], list[str]]]


def simulated(vai: Vai, folder: Path, host_memory_mib: int) -> Other:
    """Register a simulated datacenter; its witness reads the world's file with a driver of its own."""
    name = f"sim{next(_numbers)}"
    endpoint = f"simulated://{folder / name}.db"
    options = {"host_memory_mib": host_memory_mib, "networks": [NETWORK], "task_delay_seconds": 0}
    vai.client.post("/datacenters", {"name": name, "kind": "simulated", "endpoint": endpoint, "options": options})
    wait_until(lambda: _listed(vai, name), seconds=30, what=f"{name} is listed")

    def names() -> list[str]:
        witness = connect(Connection(datacenter_id="witness", kind="simulated", endpoint=endpoint, options=options))
        try:
            return sorted(seen.name for seen in witness.list_machines())
        finally:
            witness.close()

    return name, names


OTHERS = {"simulated": simulated}


@pytest.fixture(params=sorted(OTHERS))
def other(request: pytest.FixtureRequest) -> Callable[..., Other]:
    """Return the function that registers the second datacenter."""
    return OTHERS[request.param]


def _listed(vai: Vai, name: str) -> bool:
    return vai.client.get(f"/datacenters/{name}")["observed_at"] is not None


def _too_large_for(vai: Vai, name: str) -> int:
    """Return a memory that no host of the datacenter has free, and a host of 1 TiB has."""
    hosts = vai.client.get("/hosts", datacenter=name)["items"]
    return int(max(host["memory_mib"] for host in hosts)) + 4 * GIB


@pytest.mark.spec(10)
def test_a_full_vcenter_leads_to_a_recommendation_and_with_consent_to_a_machine_elsewhere(
    vai: Vai, site: Site, tmp_path: Path, other: Callable[..., Other]
) -> None:
    name, names = other(vai, tmp_path, 1024 * GIB)
    memory_mib = _too_large_for(vai, site.name)
    rejected = vai.end(vai.create("wanderer", site.name, memory_mib=memory_mib))
    assert (rejected["state"], rejected["problem"]["type"]) == ("rejected", "/problems/capacity-short")
    assert f"{memory_mib} MiB asked" in rejected["problem"]["detail"]
    explained = vai.client.get(f"/operations/{rejected['id']}/explanation")
    assert explained["alternative"] == rejected["recommended_datacenter_id"]
    assert {each["name"]: each["fits"] for each in explained["datacenters"]} == {site.name: False, name: True} | {
        each["name"]: False for each in explained["datacenters"] if each["name"] not in (site.name, name)
    }
    assert (site.names(), names()) == ([], [])

    confirmed = vai.end(vai.client.post(f"/operations/{rejected['id']}/actions/confirm"))
    assert confirmed["state"] == "succeeded"
    assert (site.names(), names()) == ([], ["wanderer"])
    machine = vai.client.get(f"/virtual-machines/{confirmed['machine_id']}")
    assert (machine["state"], machine["datacenter"]["name"]) == ("active", name)
    assert vai.end(vai.client.delete(f"/virtual-machines/{machine['id']}"))["state"] == "succeeded"
    assert names() == []
    _disable(vai, name)


@pytest.mark.spec(10)
def test_consent_given_beforehand_makes_the_machine_at_the_vcenter_when_the_other_is_full(
    vai: Vai, site: Site, tmp_path: Path, other: Callable[..., Other]
) -> None:
    name, names = other(vai, tmp_path, GIB)
    made = vai.end(vai.create("settler", name, memory_mib=2 * GIB, placement={"elsewhere": "automatically"}))
    assert made["state"] == "succeeded"
    assert (site.names(), names()) == (["settler"], [])
    machine: Json = vai.client.get(f"/virtual-machines/{made['machine_id']}")
    assert machine["datacenter"]["name"] == site.name
    explained = vai.client.get(f"/operations/{made['id']}/explanation")
    assert (explained["asked"], explained["chosen"]) == (
        vai.client.get(f"/datacenters/{name}")["id"],
        machine["datacenter"]["id"],
    )
    assert vai.end(vai.client.delete(f"/virtual-machines/{machine['id']}"))["state"] == "succeeded"
    _disable(vai, name)


def test_a_batch_spans_both_and_is_undone_exactly_when_one_machine_fails(
    vai: Vai, site: Site, tmp_path: Path, other: Callable[..., Other]
) -> None:
    name, names = other(vai, tmp_path, 64 * GIB)
    small = {"cpus": 1, "memory_mib": 256, "disk_gib": 1, "networks": [NETWORK]}
    body = {
        "machines": [{"name": f"member-{number}", **small} for number in range(4)],
        "datacenters": [site.name, name],
        "apart": "host",
        "largest_share": 0.5,
    }
    made = vai.end(vai.client.post("/batches", body), seconds=120)
    assert made["state"] == "succeeded"
    assert (len(site.names()), len(names())) == (2, 2)
    assert sorted(site.names() + names()) == [f"member-{number}" for number in range(4)]

    before = (site.names(), names())
    site.vcsim.fault("CreateVM_Task", "NoDiskSpace", times=1000, as_task=True)
    body["machines"] = [{"name": f"late-{number}", **small} for number in range(4)]
    undone = vai.end(vai.client.post("/batches", body), seconds=120)
    assert (undone["state"], undone["residue"]) == ("failed", [])
    assert (site.names(), names()) == before
    _disable(vai, name)


def _disable(vai: Vai, name: str) -> None:
    """Keep a datacenter out of what the tests that follow are recommended."""
    vai.client.change_configuration("PATCH", f"/datacenters/{name}", {"enabled": False})
