"""One server process: started, waited for, killed and stopped by its own pid, never by name."""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

STOP_SECONDS = 15.0
_TAIL = 20_000


def wait_until(condition: Callable[[], bool], *, seconds: float, what: str, look_seconds: float = 0.05) -> None:
    """Wait for a condition. Raises TimeoutError that says what did not come true."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            message = f"{what}: not within {seconds:g} s"
            raise TimeoutError(message)
        time.sleep(look_seconds)


def answers(port: int) -> bool:
    """Whether something accepts connections at the loopback port."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


class ServerProcess:
    """A process in its own group, with its output in ``folder/name.log``."""

    def __init__(self, name: str, command: Sequence[str], folder: Path, env: Mapping[str, str] | None = None) -> None:
        """Start nothing yet; ``env`` is added to this process's own environment."""
        self.name = name
        self.folder = folder
        self.log = folder / f"{name}.log"
        self._command = list(command)
        self._env = {**os.environ, **(env or {})}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The process's id; it leads a group of that id."""
        assert self._process is not None
        return self._process.pid

    def start(self, ready: Callable[[], bool], seconds: float = 60.0) -> None:
        """Start and wait until it is ready. Raises RuntimeError with the end of its log when it ends first."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                self._command, stdout=output, stderr=output, stdin=subprocess.DEVNULL, env=self._env,
                start_new_session=True,
            )  # fmt: skip

        def ready_or_dead() -> bool:
            if not self.running:
                message = f"{self.name} ended at start:\n{self.tail()}"
                raise RuntimeError(message)
            return ready()

        wait_until(ready_or_dead, seconds=seconds, what=f"{self.name} is ready")

    def ended(self, seconds: float) -> int:
        """Wait for its own end; its exit code. Raises TimeoutExpired."""
        assert self._process is not None
        return self._process.wait(seconds)

    def tail(self) -> str:
        """Return the end of its log."""
        return self.log.read_text(errors="replace")[-_TAIL:] if self.log.exists() else ""

    def kill(self) -> None:
        """Kill the whole group at once, as a crash would."""
        self._signal(signal.SIGKILL)

    def stop(self) -> None:
        """End the process as an operator would, or by force when it does not."""
        self._signal(signal.SIGTERM)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)
        try:
            self._process.wait(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(timeout=STOP_SECONDS)
        with contextlib.suppress(ProcessLookupError):  # children that outlive their leader
            os.killpg(self._process.pid, signal.SIGKILL)
