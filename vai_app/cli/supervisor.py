"""The supervisor: starts an installation's processes in order, watches over them, and ends them all.

Every child leads a session of its own and asks the kernel to be ended when the supervisor dies, however it dies.
"""

import contextlib
import ctypes
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Thread
from typing import IO

from vai_app.domain.errors import ServiceUnavailable

_PR_SET_PDEATHSIG = 1
_STOP_SECONDS = 25.0
_LONGEST_BACKOFF_SECONDS = 30.0
_STEADY_SECONDS = 60.0
_TAIL_BYTES = 2000
_LARGEST_LOG_BYTES = 10 * 1024 * 1024
_TELLING = re.compile(r"\b(WARNING|ERROR|CRITICAL)[/\]: ]|^Traceback")

Tell = Callable[[str, str], None]
"""Called with a process's name and a line that a person should see."""


@dataclass
class Process:
    """One process to keep running. ``ready`` says whether it serves.

    ``at_orphaning`` is what ends it when the supervisor was killed: at once, unless it should close its files. VAI's
    own processes may be killed at any moment, and what they would wait for in an orderly end is ending too.
    """

    name: str
    command: Sequence[str]
    ready: Callable[[], bool]
    environment: Mapping[str, str] = field(default_factory=dict)
    ready_seconds: float = 90.0
    quiet: bool = False  # its warnings are for its log only
    at_orphaning: signal.Signals = signal.SIGKILL


class Supervisor:
    """Keeps processes running until told to stop."""

    def __init__(self, logs: Path, tell: Tell) -> None:
        """``logs`` gets one file a process."""
        self._logs = logs
        self._tell = tell
        self._running: dict[str, _Running] = {}

    def start(self, process: Process) -> None:
        """Start a process. Returns at once."""
        self._running[process.name] = _Running(process, self._logs, self._tell)

    def wait_ready(self, name: str) -> None:
        """Wait until a process serves. Raises ServiceUnavailable with the end of its log when it does not."""
        running = self._running[name]
        deadline = time.monotonic() + running.process.ready_seconds
        while not running.process.ready():
            if not running.alive:
                raise ServiceUnavailable(f"{name} ended at start. {_explain(running.tail())}")
            if time.monotonic() > deadline:
                seconds = running.process.ready_seconds
                raise ServiceUnavailable(f"{name} is not ready after {seconds:g} s. {_explain(running.tail())}")
            time.sleep(0.05)

    def pids(self) -> dict[str, int]:
        """Return the process ids by name."""
        return {name: running.pid for name, running in self._running.items()}

    def revive(self) -> bool:
        """Start again what has ended, after a pause that grows while it keeps ending. Says whether any was."""
        revived = False
        for running in self._running.values():
            revived = running.revive() or revived
        return revived

    def stop(self, keep_until_last: Sequence[str] = ()) -> None:
        """End everything: first all others at once, then ``keep_until_last`` in order, each within bounded time."""
        first = [running for name, running in self._running.items() if name not in keep_until_last]
        for running in first:
            running.terminate()
        for running in first:
            running.wait()
        for name in keep_until_last:
            if name in self._running:
                self._running[name].terminate()
                self._running[name].wait()
        self._running.clear()


class _Running:
    """A started process and the thread that keeps its log."""

    def __init__(self, process: Process, logs: Path, tell: Tell) -> None:
        self.process = process
        self._log = logs / f"{process.name}.log"
        self._tell = tell
        self._backoff_seconds = 1.0
        self._restart_at: float | None = None
        self._spawn()

    @property
    def alive(self) -> bool:
        return self._child.poll() is None

    @property
    def pid(self) -> int:
        return self._child.pid

    def tail(self) -> str:
        """Return the end of what was printed since the last start."""
        self._keeper.join(timeout=1)
        if not self._log.exists():
            return ""
        return self._log.read_bytes()[self._known_bytes :][-_TAIL_BYTES:].decode(errors="replace")

    def revive(self) -> bool:
        if self.alive:
            if time.monotonic() - self._started_at > _STEADY_SECONDS:
                self._backoff_seconds = 1.0
            return False
        if self._restart_at is None:
            self._restart_at = time.monotonic() + self._backoff_seconds
            code = self._child.returncode
            self._tell(self.process.name, f"ended with {code}; starting it again in {self._backoff_seconds:g} s")
            self._backoff_seconds = min(self._backoff_seconds * 2, _LONGEST_BACKOFF_SECONDS)
        if time.monotonic() < self._restart_at:
            return False
        self._spawn()
        return True

    def terminate(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._child.terminate()

    def wait(self) -> None:
        try:
            self._child.wait(timeout=_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._tell(self.process.name, f"did not end within {_STOP_SECONDS:g} s and is killed")
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._child.pid, signal.SIGKILL)
        self._child.wait()
        self._keeper.join(timeout=2)

    def _spawn(self) -> None:
        self._restart_at = None
        self._started_at = time.monotonic()
        self._known_bytes = self._log.stat().st_size if self._log.exists() else 0
        self._child = subprocess.Popen(  # noqa: S603 - our own commands
            list(self.process.command),
            env={**os.environ, **self.process.environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=partial(_end_with_parent, self.process.at_orphaning) if sys.platform == "linux" else None,  # noqa: PLW1509 - no threads of ours fork
        )
        assert self._child.stdout is not None  # noqa: S101 - a pipe was asked for
        self._keeper = Thread(target=self._keep_log, args=(self._child.stdout,), daemon=True)
        self._keeper.start()

    def _keep_log(self, output: IO[bytes]) -> None:
        with contextlib.closing(output):
            while lines := output.readline():
                if self._log.exists() and self._log.stat().st_size > _LARGEST_LOG_BYTES:
                    self._log.replace(self._log.with_suffix(".log.1"))
                    self._known_bytes = 0
                with self._log.open("ab") as file:
                    file.write(lines)
                text = lines.decode(errors="replace").rstrip()
                if not self.process.quiet and _TELLING.search(text):
                    self._tell(self.process.name, text)


def _end_with_parent(by: signal.Signals) -> None:
    """Ask the kernel to end this process when its parent ends (prctl(2), PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, by)


def _explain(log: str) -> str:
    """Return the end of a log with the way out, where the trouble is a known one."""
    if "error while loading shared libraries" in log:
        library = log.partition("error while loading shared libraries:")[2].partition(":")[0].strip()
        return (
            f"The library {library} is missing. On Debian and Ubuntu: apt-get install libcurl4 libssl3. "
            "Or set VAI_MONGODB_URL to a server of yours."
        )
    if "Address already in use" in log:
        return "Its port is in use. End the other program, or choose another port with VAI_API_PORT, VAI_FLOWER_PORT."
    return f"The end of its log:\n{log.strip()}" if log.strip() else "It printed nothing."
