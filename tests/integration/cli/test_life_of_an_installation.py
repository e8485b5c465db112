"""From `vai up` to Ctrl-C and back, as a user sees it."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from tests.integration.cli.installation import CELERY, UserInstallation, installation, waiting_for
from vai_app.cli.processes import API, NODE_NAMES, command_lines
from vai_app.settings import Settings

pytestmark = pytest.mark.timeout(600)

PROCESSES = set(command_lines(Settings.model_construct()))


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[UserInstallation]:
    with installation(tmp_path_factory.mktemp("running")) as started:
        started.start("--demo")
        yield started


@pytest.mark.spec(21)
def test_a_first_start_shows_two_machines_that_run_and_where_everything_is(running: UserInstallation) -> None:
    printed = running.printed()
    for shown in ("demo-berlin", "demo-paris", "VAI is ready.", "datacenter register", str(running.state)):
        assert shown in printed
    assert f"http://127.0.0.1:{running.environment['VAI_API_PORT']}/" in printed
    machines = running.json("vm", "list")
    assert {(each["name"], each["observed"]["power"]) for each in machines} == {
        ("demo-berlin", "on"),
        ("demo-paris", "on"),
    }


def test_status_names_every_process_and_each_lives(running: UserInstallation) -> None:
    found = running.json("status")
    assert set(found["processes"]) == PROCESSES | {"supervisor", "mongodb", "valkey"}
    assert all(psutil.pid_exists(pid) for pid in found["processes"].values())
    assert {each["reachability"] for each in found["datacenters"]} == {"reachable"}
    assert "worker-provision" in running.run("status").stdout


def test_the_doctor_finds_a_running_installation_well(running: UserInstallation) -> None:
    assert set(running.json("doctor").values()) == {"ok"}


@pytest.mark.parametrize("process", sorted(PROCESSES))
def test_a_probe_finds_each_process_at_work(running: UserInstallation, process: str) -> None:
    done = running.run("probe", process)
    assert (done.returncode, done.stdout) == (0, f"{process} is well.\n"), done.stderr


def test_a_machine_is_made_shown_and_removed_by_three_commands(running: UserInstallation) -> None:
    created = running.json("vm", "create", "web-1", "--datacenter", "berlin", "--image", "debian-12", "--cpus", "2")
    assert created["state"] == "succeeded"
    assert running.json("vm", "show", "web-1")["size"]["cpus"] == 2
    assert running.run("vm", "delete", "web-1").returncode == 0
    assert "web-1" not in {each["name"] for each in running.json("vm", "list")}


def test_a_refused_command_says_why_and_ends_with_1(running: UserInstallation) -> None:
    done = running.run("vm", "delete", "nobody")
    assert done.returncode == 1
    assert "There is no machine 'nobody'. 'vai vm list' shows those there are." in done.stderr


def test_celerys_own_command_finds_workers_and_operations(running: UserInstallation) -> None:
    assert f"{len(NODE_NAMES)} nodes online." in running.run("inspect", "ping", program=CELERY).stdout
    listed = running.run("vai", "operations", program=CELERY)
    assert "create_vm" in listed.stdout, listed.stderr
    ended = running.json("operation", "list")[0]["id"]
    resent = running.run("vai", "resend", ended, program=CELERY)
    assert resent.returncode == 1
    assert f"Operation {ended} has ended" in resent.stderr


def test_flower_asks_for_the_password_of_this_installation(running: UserInstallation) -> None:
    url = f"http://127.0.0.1:{running.environment['VAI_FLOWER_PORT']}/workers"
    password = (running.state / "flower.password").read_text()
    assert httpx.get(url, trust_env=False, timeout=30).status_code == 401
    assert httpx.get(url, auth=("admin", password), trust_env=False, timeout=30).status_code == 200


def test_what_the_state_folder_keeps_is_for_its_user_alone(running: UserInstallation) -> None:
    assert running.state.stat().st_mode & 0o077 == 0
    secrets = [path for path in running.state.iterdir() if path.suffix in (".token", ".key", ".password", ".env")]
    assert len(secrets) >= 6
    assert [path for path in secrets if path.stat().st_mode & 0o077] == []


def test_a_second_vai_on_the_folder_is_refused_and_the_first_goes_on(running: UserInstallation) -> None:
    done = running.run("up")
    assert done.returncode == 1
    assert f"VAI runs on {running.state} already. 'vai status' shows it, 'vai down' ends it." in done.stderr
    assert set(running.json("status")["processes"]) == PROCESSES | {"supervisor", "mongodb", "valkey"}


def test_a_process_that_dies_is_started_again(running: UserInstallation) -> None:
    before = running.json("status")["processes"][API]
    psutil.Process(before).kill()

    def is_another() -> bool:
        status = running.run("status", "--json")
        return status.returncode == 0 and json.loads(status.stdout)["processes"][API] != before

    waiting_for(is_another, "another API serves")
    assert "ended with -9; starting it again in 1 s" in running.printed()


def test_ctrl_c_leaves_nothing_behind_and_the_next_start_finds_the_data(tmp_path: Path) -> None:
    with installation(tmp_path) as ours:
        ours.start("--demo")
        machines = {each["name"]: each["id"] for each in ours.json("vm", "list")}
        token = ours.run("token", "show").stdout
        assert ours.interrupt(signal.SIGINT) == 0
        assert ours.printed().endswith("VAI ends ...\nVAI has ended; nothing is left running.\n")
        assert ours.processes() == []
        assert not (ours.state / "run.env").exists()

        ours.start("--demo")
        assert {each["name"]: each["id"] for each in ours.json("vm", "list")} == machines
        assert ours.run("token", "show").stdout == token
        assert ours.run("down").returncode == 0
        assert ours.ended() == 0
        assert ours.processes() == []
        again = ours.run("down")
        assert again.returncode == 1
        assert f"No VAI runs on {ours.state}." in again.stderr


def test_nothing_outlives_a_killed_vai_and_the_folder_can_be_used_again(tmp_path: Path) -> None:
    with installation(tmp_path) as ours:
        ours.start()
        ours.interrupt(signal.SIGKILL)
        ours.wait_empty()
        ours.start()
        assert ours.interrupt(signal.SIGTERM) == 0
        assert ours.processes() == []
