"""What keeps VAI from starting or a command from working is named, with the way out."""

import socket
import sys
from pathlib import Path

import pytest

from tests.integration.cli.installation import UserInstallation, installation
from tests.lab.ports import free_port

pytestmark = pytest.mark.timeout(300)
_INSTALLED = str(Path(sys.executable).parent / "vai")


@pytest.fixture
def ours(tmp_path: Path) -> UserInstallation:
    return UserInstallation(tmp_path)


def refusal(ours: UserInstallation, *command: str, code: int = 1) -> str:
    """Return what a command that ends with ``code`` says, in one line."""
    done = ours.run(*command)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert ours.processes() == []
    return " ".join(done.stderr.split())


@pytest.mark.parametrize("variable", ["VAI_API_PORT", "VAI_FLOWER_PORT"])
def test_a_port_in_use_is_named_with_the_setting_that_chooses_another(ours: UserInstallation, variable: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ours.environment[variable] = str(port)
        said = refusal(ours, "up")
    assert f"Port {port} is in use. End the other program, or choose another port with {variable}." in said


def test_an_address_that_is_not_ours_is_named(ours: UserInstallation) -> None:
    ours.environment["VAI_API_HOST"] = "192.0.2.1"
    assert "Nobody can listen at 192.0.2.1" in refusal(ours, "up")


def test_a_state_folder_that_is_a_file_is_named(ours: UserInstallation) -> None:
    ours.state.write_text("not a folder")
    said = refusal(ours, "up", code=3)
    assert f"The state folder {ours.state} cannot be used: " in said
    assert "choose another with VAI_STATE_FOLDER" in said
    assert f"The state folder {ours.state} cannot be used" in ours.run("doctor", "--json").stdout


def test_an_empty_key_is_named_and_not_replaced(ours: UserInstallation) -> None:
    ours.state.mkdir()
    key = ours.state / "secret.key"
    key.write_text("")
    assert f"{key} is empty. Restore it" in refusal(ours, "up", code=3)
    assert key.read_text() == ""


def test_a_database_that_is_damaged_shows_the_end_of_its_log(ours: UserInstallation) -> None:
    (ours.state / "mongodb").mkdir(parents=True)
    (ours.state / "mongodb" / "WiredTiger.wt").write_text("damaged")
    (ours.state / "mongodb" / "WiredTiger.turtle").write_text("damaged")
    said = refusal(ours, "up", code=3)
    assert "mongodb ended at start. The end of its log: " in said
    assert "WiredTiger metadata corruption detected" in said


def test_a_configured_database_that_does_not_answer_is_named(ours: UserInstallation) -> None:
    ours.environment["VAI_MONGODB_URL"] = f"mongodb://127.0.0.1:{free_port()}/?replicaSet=rs0"
    said = refusal(ours, "up", code=3)
    assert "The database is not ready." in said
    assert "VAI_MONGODB_URL" in said


def test_a_configured_broker_that_does_not_answer_is_named(tmp_path: Path, mongo_url: str, valkey_url: str) -> None:
    broker = f"amqp://127.0.0.1:{free_port()}//"
    with installation(tmp_path, VAI_MONGODB_URL=mongo_url, VAI_REDIS_URL=valkey_url, VAI_BROKER_URL=broker) as ours:
        ours.environment["VAI_MONGODB_DATABASE"] = "vai_in_the_way"
        said = refusal(ours, "up", code=3)
    assert "The broker is not ready." in said
    assert "VAI_BROKER_URL" in said


def test_a_setting_of_no_use_is_named(ours: UserInstallation) -> None:
    ours.environment["VAI_API_PORT"] = "99999"
    assert "VAI_API_PORT: Input should be less than or equal to 65535." in refusal(ours, "up", code=2)
    assert "99999" not in refusal(ours, "vm", "list", code=2)


def test_without_an_installation_commands_say_how_to_get_one(ours: UserInstallation) -> None:
    said = refusal(ours, "vm", "list", code=3)
    assert "start VAI here with 'vai up'" in said
    ours.environment["VAI_TOKEN"] = "vai_some"
    said = refusal(ours, "vm", "list", code=3)
    assert "VAI cannot be reached at http://127.0.0.1:" in said
    assert "Start it with 'vai up', or set VAI_API_URL." in said


def test_the_doctor_finds_a_machine_fit_before_the_first_start(ours: UserInstallation) -> None:
    found = ours.json("doctor")
    assert found.pop("running installation") == "none; start it with 'vai up'"
    assert set(found) == {"Python", "state folder", "embedded MongoDB", "embedded Valkey"}
    assert set(found.values()) == {"ok"}


def test_a_probe_of_what_does_not_run_ends_with_3_and_says_so(ours: UserInstallation) -> None:
    assert "Nobody answers at http://127.0.0.1:" in refusal(ours, "probe", "api", code=3)
    assert "VAI has no process 'nobody'. There are: api," in refusal(ours, "probe", "nobody", code=2)
    assert "VAI has no process 'nobody'. There are: api," in refusal(ours, "run", "nobody", code=2)


@pytest.mark.parametrize(
    ("typed", "offered"),
    [("vai vm cr", "create"), ("vai datacenter reg", "register"), ("vai vm create --mem", "--memory-mib")],
)
def test_the_shell_completes_commands_and_options(ours: UserInstallation, typed: str, offered: str) -> None:
    ours.environment |= {
        "_VAI_COMPLETE": "complete_bash",
        "COMP_WORDS": typed,
        "COMP_CWORD": str(len(typed.split()) - 1),
    }
    done = ours.run(program=(_INSTALLED,))
    assert offered in done.stdout.split(), done.stderr


def test_the_completion_of_each_shell_can_be_shown(ours: UserInstallation) -> None:
    ours.environment["_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION"] = "1"  # the shell is named, not looked for
    for shell in ("bash", "zsh", "fish"):
        done = ours.run("--show-completion", shell, program=(_INSTALLED,))
        assert f"_VAI_COMPLETE=complete_{shell}" in done.stdout, done.stderr
