"""The supervisor, with real processes."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.lab.process import wait_until
from vai_app.cli.supervisor import Process, Supervisor
from vai_app.domain.errors import ServiceUnavailable

_FOR_EVER = "import time\nwhile True: time.sleep(1)"


@pytest.fixture
def told() -> list[tuple[str, str]]:
    return []


@pytest.fixture
def supervisor(tmp_path: Path, told: list[tuple[str, str]]) -> Iterator[Supervisor]:
    lent = Supervisor(tmp_path, lambda name, line: told.append((name, line)))
    yield lent
    lent.stop()


def python(name: str, code: str, ready: Callable[[], bool] = lambda: False) -> Process:
    return Process(name, [sys.executable, "-c", code], ready, ready_seconds=30)


@pytest.mark.parametrize(
    ("printed", "way_out"),
    [
        (
            "mongod: error while loading shared libraries: libcurl.so.4: cannot open shared object file",
            "The library libcurl.so.4 is missing. On Debian and Ubuntu: apt-get install libcurl4 libssl3.",
        ),
        ("bind: Address already in use", "Its port is in use. End the other program, or choose another port"),
        ("some other trouble", "The end of its log:\nsome other trouble"),
    ],
)
def test_what_ended_a_process_at_its_start_is_named_with_the_way_out(
    supervisor: Supervisor, printed: str, way_out: str
) -> None:
    supervisor.start(python("server", f"import sys; print({printed!r}); sys.exit(127)"))
    with pytest.raises(ServiceUnavailable) as caught:
        supervisor.wait_ready("server")
    assert caught.value.detail.startswith("server ended at start. ")
    assert way_out in caught.value.detail


def test_what_a_process_printed_at_an_earlier_start_explains_nothing(supervisor: Supervisor, tmp_path: Path) -> None:
    (tmp_path / "server.log").write_text("bind: Address already in use\n")
    supervisor.start(python("server", "raise SystemExit('today it is this')"))
    with pytest.raises(ServiceUnavailable, match=r"The end of its log:\ntoday it is this$"):
        supervisor.wait_ready("server")


def test_a_process_that_lives_and_never_serves_is_named(supervisor: Supervisor) -> None:
    process = python("server", _FOR_EVER)
    process.ready_seconds = 0.2
    supervisor.start(process)
    with pytest.raises(ServiceUnavailable, match=r"server is not ready after 0\.2 s\. It printed nothing\."):
        supervisor.wait_ready("server")


def test_what_ends_is_started_again_after_a_pause_that_grows(
    supervisor: Supervisor, told: list[tuple[str, str]]
) -> None:
    supervisor.start(python("server", "raise SystemExit(7)"))

    def ended_twice() -> bool:
        supervisor.revive()
        return len(told) == 2

    wait_until(ended_twice, seconds=60, what="it has ended twice")
    assert [line for _, line in told] == [
        "ended with 7; starting it again in 1 s",
        "ended with 7; starting it again in 2 s",
    ]


def test_warnings_are_told_and_all_lines_are_kept(
    supervisor: Supervisor, told: list[tuple[str, str]], tmp_path: Path
) -> None:
    supervisor.start(python("server", f"print('all is well'); print('x ERROR y', flush=True)\n{_FOR_EVER}"))
    wait_until(lambda: bool(told), seconds=30, what="the error is told")
    assert told == [("server", "x ERROR y")]
    assert (tmp_path / "server.log").read_text() == "all is well\nx ERROR y\n"


def test_a_child_of_a_process_ends_with_it(supervisor: Supervisor, tmp_path: Path) -> None:
    code = f"import subprocess, sys\nprint(subprocess.Popen([sys.executable, '-c', {_FOR_EVER!r}]).pid, flush=True)\n"
    supervisor.start(python("parent", code + _FOR_EVER))
    log = tmp_path / "parent.log"
    wait_until(lambda: log.exists() and log.read_text().endswith("\n"), seconds=30, what="the child is there")
    child = int(log.read_text())
    supervisor.stop()
    wait_until(
        lambda: not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE,
        seconds=30,
        what="the child has ended",
    )


def test_the_databases_end_last(supervisor: Supervisor, tmp_path: Path) -> None:
    goodbye = (
        "import signal, sys\n"
        "def end(*_):\n    open('{folder}/order', 'a').write('{name} '); sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, end); print('up', flush=True)\n"
    )
    for name in ("mongodb", "api", "valkey"):
        supervisor.start(python(name, goodbye.format(folder=tmp_path, name=name) + _FOR_EVER))
    logs = [tmp_path / f"{name}.log" for name in ("mongodb", "api", "valkey")]
    wait_until(lambda: all(log.exists() and "up" in log.read_text() for log in logs), seconds=30, what="all are up")
    supervisor.stop(keep_until_last=("valkey", "mongodb"))
    assert (tmp_path / "order").read_text() == "api valkey mongodb "
