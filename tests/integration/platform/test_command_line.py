"""A machine on vSphere by the ``vai`` command, seen by an independent client; and what the command says of trouble."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.integration.platform.conftest import Site
from tests.lab import ansible
from tests.lab.process import wait_until
from tests.lab.vai import Vai

CPU_USAGE = 2  # vCenter's counter cpu.usage.average, in hundredths of a percent


def vai_command(vai: Vai, *words: str, exit_code: int = 0) -> str:
    """Run the command as a user would and return what it prints, on both streams where it fails."""
    done = subprocess.run(
        [sys.executable, "-m", "vai_app.cli.main", *words],
        env={**os.environ, **vai.environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )
    assert done.returncode == exit_code, done.stdout + done.stderr
    return done.stdout if exit_code == 0 else done.stdout + done.stderr


def answered(vai: Vai, *words: str) -> Any:
    return json.loads(vai_command(vai, *words, "--json"))


@pytest.mark.timeout(300)
@pytest.mark.spec(28)
def test_a_machine_made_by_the_command_is_seen_by_ansible_and_after_its_deletion_is_not(
    vai: Vai, site: Site, tmp_path: Path
) -> None:
    sizes = ("--cpus", "3", "--memory-mib", "512", "--disk-gib", "5", "--network", "VM Network")
    made = answered(vai, "vm", "create", "web-ansible", "--datacenter", site.name, *sizes)
    seen = ansible.guest_info(site.vcsim, "web-ansible", tmp_path)
    assert seen is not None
    assert (seen["hw_processor_count"], seen["hw_memtotal_mb"], seen["hw_power_status"]) == (3, 512, "poweredOn")
    assert seen["hw_eth0"]["summary"] == "VM Network"
    settings = seen["advanced_settings"]
    assert (settings["vai.token"], settings["vai.machine"]) == (made["id"], made["machine_id"])

    assert answered(vai, "vm", "show", "web-ansible")["observed"]["power"] == "on"
    assert answered(vai, "vm", "resize", "web-ansible", "--memory-mib", "1024")["state"] == "succeeded"
    assert answered(vai, "vm", "migrate", "web-ansible")["state"] == "succeeded"
    for name in ("gold", "later"):
        assert answered(vai, "snapshot", "take", "web-ansible", name)["state"] == "succeeded"
    seen = ansible.guest_info(site.vcsim, "web-ansible", tmp_path)
    assert seen is not None
    assert [each["name"] for each in seen["snapshots"]] == ["gold", "later"]
    assert answered(vai, "vm", "resize", "web-ansible", "--memory-mib", "2048")["state"] == "succeeded"
    assert answered(vai, "snapshot", "restore", "web-ansible", "gold")["state"] == "succeeded"
    assert answered(vai, "snapshot", "delete", "web-ansible", "later")["state"] == "succeeded"
    assert [each["name"] for each in answered(vai, "snapshot", "list", "web-ansible")] == ["gold"]
    assert "gold" in vai_command(vai, "snapshot", "list", "web-ansible")
    assert "vai snapshot list" in vai_command(vai, "snapshot", "restore", "web-ansible", "later", exit_code=1)
    assert answered(vai, "vm", "stop", "web-ansible")["state"] == "succeeded"
    seen = ansible.guest_info(site.vcsim, "web-ansible", tmp_path)
    assert seen is not None
    assert (seen["hw_memtotal_mb"], seen["hw_power_status"]) == (1024, "poweredOff")
    assert [each["name"] for each in seen["snapshots"]] == [seen["current_snapshot"]["name"]] == ["gold"]

    assert answered(vai, "vm", "delete", "web-ansible")["state"] == "succeeded"
    assert ansible.guest_info(site.vcsim, "web-ansible", tmp_path) is None
    assert site.names() == []


@pytest.mark.timeout(300)
@pytest.mark.spec(2)
@pytest.mark.spec(3)
@pytest.mark.spec(4)
def test_what_a_machine_uses_is_collected_without_anybodys_help_as_the_settings_say(vai: Vai, site: Site) -> None:
    made = answered(vai, "vm", "create", "web-measured", "--datacenter", site.name)
    assert made["state"] == "succeeded", made["problem"]
    site.vcsim.measure("web-measured", CPU_USAGE, 2550)
    vai_command(vai, "datacenter", "statistics", site.name, "--interval-seconds", "5")

    def newest() -> Any:
        return next(iter(answered(vai, "vm", "statistics", "web-measured", "--last", "1")), {"cpu_percent": None})

    wait_until(lambda: newest()["cpu_percent"] == 25.5, seconds=60, what="its load is measured")
    assert "25.5" in vai_command(vai, "vm", "statistics", "web-measured")
    vai_command(vai, "datacenter", "statistics", site.name, "--metric", "memory_mib")
    wait_until(lambda: newest()["cpu_percent"] is None, seconds=60, what="it is not measured any more")
    assert newest()["memory_mib"] is not None
    shown = answered(vai, "datacenter", "show", site.name)
    assert (shown["collection_problem"], shown["statistics"]["interval_seconds"]) == (None, 5)
    assert answered(vai, "vm", "delete", "web-measured")["state"] == "succeeded"


def test_a_registered_datacenter_is_listed_by_the_command(vai: Vai, site: Site) -> None:
    listed = {each["name"]: each for each in answered(vai, "datacenter", "list")}
    assert (listed[site.name]["kind"], listed[site.name]["reachability"]) == ("vmware", "reachable")
    assert site.name in vai_command(vai, "datacenter", "list")


@pytest.mark.parametrize(
    ("words", "said", "exit_code"),
    [
        (("vm", "show", "nothing"), "nothing", 1),
        (("vm", "create", "Not A Name", "--datacenter", "vc"), "name", 2),
        (("vm", "create", "web", "--datacenter", "nowhere"), "vai datacenter list", 1),
        (("operation", "show", "op-none"), "op-none", 1),
        (("vm", "list", "--state", "confused"), "state", 2),
    ],
)
def test_what_cannot_be_done_is_said_with_the_way_out_and_no_traceback(
    vai: Vai, words: tuple[str, ...], said: str, exit_code: int
) -> None:
    printed = vai_command(vai, *words, exit_code=exit_code)
    assert said in " ".join(printed.split())
    assert "Traceback" not in printed
