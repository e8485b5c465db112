"""What a person does first: a lab registered by one command, and the same machine made everywhere by one script."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab.process import ServerProcess, wait_until
from tests.lab.vai import Vai
from tests.lab.vcsim import Vcsim

ROOT = Path(__file__).parents[3]
pytestmark = pytest.mark.timeout(300)  # a whole VAI starts, on a busy machine


@pytest.fixture(scope="module")
def running(
    tmp_path_factory: pytest.TempPathFactory, mongo_url: str, rabbitmq_url: str, valkey_url: str
) -> Iterator[Vai]:
    settings = {"mongo_url": mongo_url, "broker_url": rabbitmq_url, "redis_url": valkey_url}
    with Vai(tmp_path_factory.mktemp("vai"), **settings).running() as vai:
        yield vai


@pytest.fixture
def vai(running: Vai) -> Iterator[Vai]:
    """Lend VAI; what a test registered is out of the way of the next."""
    yield running
    for datacenter in running.client.get("/datacenters")["items"]:
        running.client.change_configuration("PATCH", f"/datacenters/{datacenter['id']}", {"enabled": False})


@pytest.fixture
def vcsim(tmp_path: Path) -> Iterator[Vcsim]:
    simulator = Vcsim(tmp_path / "vcsim")
    simulator.start()
    yield simulator
    simulator.stop()


def test_one_script_makes_a_machine_in_every_datacenter_and_prints_the_same_fields_for_all(
    vai: Vai, vcsim: Vcsim, tmp_path: Path
) -> None:
    vai.register("vsphere", vcsim)
    vai.client.post(
        "/datacenters", {"name": "sim", "kind": "simulated", "endpoint": f"simulated://{tmp_path / 'sim.db'}"}
    )
    ran = subprocess.run(
        [sys.executable, ROOT / "examples" / "create_everywhere.py", "shop"],
        env={**os.environ, "VAI_URL": vai.client.base_url, "VAI_TOKEN": vai.token},
        check=False, capture_output=True, text=True, timeout=100,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr
    head, *lines = (line.split("\t") for line in ran.stdout.splitlines())
    rows = {row["datacenter"]: row for row in (dict(zip(head, line, strict=True)) for line in lines)}
    assert {name: row["kind"] for name, row in rows.items()} == {"vsphere": "vmware", "sim": "simulated"}
    for name, row in rows.items():
        assert {field: row[field] for field in ("name", "state", "power", "cpus", "memory_mib")} == {
            "name": f"shop-{name}",
            "state": "active",
            "power": "on",
            "cpus": "1",
            "memory_mib": "512",
        }


def test_the_vsphere_lab_registers_itself_and_is_forgotten_when_it_ends(vai: Vai, tmp_path: Path) -> None:
    environment = {**vai.environment, "VAI_API_URL": vai.client.base_url}
    lab = ServerProcess("lab", [sys.executable, "-u", "-m", "tests.lab", "vsphere"], tmp_path, environment)
    lab.start(lambda: b"The lab runs." in lab.log.read_bytes(), seconds=100)
    try:
        (registered,) = _of_lab(vai)
        assert registered["kind"] == "vmware"
        wait_until(
            lambda: bool(vai.client.get(f"/datacenters/{registered['id']}/inventory")["hosts"]),
            seconds=60,
            what="its hosts are known",
        )
    finally:
        os.kill(lab.pid, signal.SIGINT)
        assert lab.ended(seconds=60) == 0
    assert _of_lab(vai) == []


def _of_lab(vai: Vai) -> list[dict[str, Any]]:
    return [each for each in vai.client.get("/datacenters")["items"] if each["name"].startswith("lab-vsphere-")]
