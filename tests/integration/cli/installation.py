"""``vai up`` as a user runs it: a process on a state folder and ports of its own, told nothing by our environment."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from tests.lab.ports import free_port
from tests.lab.process import ServerProcess, wait_until

VAI = (sys.executable, "-m", "vai_app.cli.main")
CELERY = (sys.executable, "-m", "celery", "-A", "vai_app.celery_app")
READY = "Ctrl-C ends VAI."
_START_SECONDS = 240.0
_END_SECONDS = 120.0


class UserInstallation:
    """An installation on ``folder``; ``settings`` are further ``VAI_*`` variables."""

    def __init__(self, folder: Path, **settings: str) -> None:
        """Start nothing yet."""
        self.state = folder / "state"
        self.output = folder / "up.log"
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("VAI_")},
            "VAI_STATE_FOLDER": str(self.state),
            "VAI_API_PORT": str(free_port()),
            "VAI_FLOWER_PORT": str(free_port()),
            "NO_COLOR": "1",
            **settings,
        }
        self._folder = folder
        self._process: ServerProcess | None = None

    def start(self, *options: str) -> str:
        """Run ``vai up`` until it is ready, and return what it printed."""
        known = len(self.printed())
        process = ServerProcess("up", [*VAI, "up", *options], self._folder, self.environment)
        # ServerProcess adds to our own environment, and a user's has no variables of VAI's.
        process._env = self.environment
        self._process = process
        process.start(lambda: READY in self.printed()[known:], seconds=_START_SECONDS)
        return self.printed()[known:]

    def printed(self) -> str:
        """Return everything that ``vai up`` printed so far."""
        return self.output.read_text(errors="replace") if self.output.exists() else ""

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def interrupt(self, number: signal.Signals = signal.SIGINT) -> int:
        """Do what Ctrl-C does to ``vai up``, and return its exit code."""
        os.kill(self.pid, number)
        return self.ended()

    def ended(self) -> int:
        """Wait for the end of ``vai up`` and return its exit code."""
        assert self._process is not None
        assert self._process._process is not None
        return self._process._process.wait(timeout=_END_SECONDS)

    def run(self, *command: str, program: tuple[str, ...] = VAI) -> subprocess.CompletedProcess[str]:
        """Run a command as the same user."""
        return subprocess.run(
            [*program, *command],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=_END_SECONDS,
            check=False,
        )

    def json(self, *command: str) -> Any:
        """Run a command that must succeed and return what it prints for programs."""
        done = self.run(*command, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def processes(self) -> list[psutil.Process]:
        """Return every process that works for this installation, by its environment."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("VAI_STATE_FOLDER") == str(self.state):
                    found.append(process)
            except (psutil.Error, OSError):
                continue
        return found

    def wait_empty(self) -> None:
        """Wait until nothing of this installation runs. Raises TimeoutError."""
        try:
            wait_until(lambda: self.processes() == [], seconds=_END_SECONDS, what="nothing is left running")
        except TimeoutError as late:
            left = [(each.pid, each.ppid(), each.status(), each.cmdline()) for each in self.processes()]
            message = f"{late}: {left}"
            raise TimeoutError(message) from late

    def end_by_force(self) -> None:
        """Leave nothing behind, whatever a test came to."""
        for process in self.processes():
            process.kill()
        if self._process is not None:
            self._process.stop()
        self.wait_empty()


@contextmanager
def installation(folder: Path, **settings: str) -> Iterator[UserInstallation]:
    """Lend an installation and end it."""
    lent = UserInstallation(folder, **settings)
    try:
        yield lent
    finally:
        lent.end_by_force()


def waiting_for(condition: Callable[[], bool], what: str) -> None:
    """Wait for a condition as long as a busy machine may need."""
    wait_until(condition, seconds=_END_SECONDS, what=what)
