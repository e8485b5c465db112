"""vSphere: the govmomi simulator behind the real SOAP API, built from Debian's packages, and its control."""

import hashlib
import json
import os
import ssl
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

from pyVim.connect import SmartConnect
from pyVmomi import vim

from tests.lab.ports import free_port
from tests.lab.process import ServerProcess, answers

_SOURCE = Path(__file__).parent / "vcsim"
_CACHE = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "vai-lab"


def build() -> Path:
    """Return the simulator's binary, built once for each state of its sources."""
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(_SOURCE.iterdir()))).hexdigest()[:16]
    binary = _CACHE / f"vcsim-{digest}"
    if not binary.exists():
        _CACHE.mkdir(parents=True, exist_ok=True)
        partial = binary.with_suffix(f".{os.getpid()}")
        subprocess.run(["sh", _SOURCE / "build.sh", partial], check=True, env={**os.environ, "CGO_ENABLED": "0"})
        partial.rename(binary)
    return binary


class Vcsim:
    """One vCenter with one datacenter. ``endpoint`` takes any client that trusts its certificate, or none."""

    username = "user"
    password = "pass"

    def __init__(self, folder: Path, *arguments: str, vms: int = 2, hosts: int = 4, clusters: int = 1) -> None:
        """``arguments`` go to the simulator: ``-task-delay``, ``-session-idle``, ``-tlscert`` ..."""
        self.port = free_port()
        self.endpoint = f"https://127.0.0.1:{self.port}"
        sizes = {"dc": 1, "cluster": clusters, "host": hosts, "standalone-host": 0, "vm": vms, "ds": 2}
        flags = [word for name, value in sizes.items() for word in (f"-{name}", str(value))]
        command = [str(build()), "-l", f"127.0.0.1:{self.port}", *flags, *arguments]
        self._process = ServerProcess(f"vcsim-{self.port}", command, folder, {"TMPDIR": str(folder)})

    def start(self) -> None:
        """Start and wait until it listens."""
        self._process.start(lambda: answers(self.port), seconds=120)

    def stop(self) -> None:
        """End it; its inventory is gone."""
        self._process.stop()

    def log_in(self) -> vim.ServiceInstance:
        """Return a session of a plain client; ``pyVim.connect.Disconnect`` ends it."""
        return SmartConnect(
            host="127.0.0.1", port=self.port, user=self.username, pwd=self.password, disableSslCertValidation=True
        )

    def expire_sessions(self) -> None:
        """Log everybody out."""
        self._control(op="expire-sessions")

    def fault(self, method: str, fault: str, *, times: int = 1, as_task: bool = False) -> None:
        """Let calls of a SOAP method (or the tasks they start) fail with a vim25 fault."""
        self._control(op="fault", rule={"Method": method, "Fault": fault, "Count": times, "AsTask": as_task})

    def clear(self) -> None:
        """Take back injected faults."""
        self._control(op="clear")

    def http_status(self, status: int) -> None:
        """Answer every SOAP call with an HTTP status; 0 ends it."""
        self._control(op="http-status", ms=status)

    def task_delay(self, milliseconds: int) -> None:
        """Let tasks stay 'running' for this long."""
        self._control(op="task-delay", ms=milliseconds)

    def call_delay(self, milliseconds: int) -> None:
        """Let every SOAP call be answered this late; 0 ends it."""
        self._control(op="call-delay", ms=milliseconds)

    def host_state(self, name: str, state: str) -> None:
        """Set a host's connection state: connected, disconnected, notResponding."""
        self._control(op="host-state", name=name, state=state)

    def measure(self, name: str, counter: int, value: int) -> None:
        """Let a performance counter of a machine or host show a value, in the counter's unit."""
        self._control(op="perf", name=name, counter=counter, value=value)

    def _control(self, **order: Any) -> None:
        request = urllib.request.Request(
            f"{self.endpoint}/ctl", data=json.dumps(order).encode(), headers={"Content-Type": "application/json"}
        )  # fmt: skip
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        with urllib.request.urlopen(request, timeout=30, context=context) as answer:
            answer.read()
