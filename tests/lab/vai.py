"""VAI on given servers: every process can be killed and started again by name."""

import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from cryptography.fernet import Fernet

from tests.lab.ports import free_port
from tests.lab.process import ServerProcess, wait_until
from tests.lab.vcsim import Vcsim
from vai_app.cli.client import ApiClient, Json
from vai_app.cli.processes import API, BEAT, FLOWER, NODE_NAMES, WATCHER, command_lines
from vai_app.settings import Settings

WORKERS = tuple(NODE_NAMES)
_READY_SECONDS = 60.0
_OPEN = ("pending", "running", "undoing")
_PREPARE_SECONDS = 120.0
_CRY_SECONDS = 2.0


class Vai:
    """API, workers, watcher and beat as processes of one installation, with ``client`` for its API."""

    def __init__(self, folder: Path, *, mongo_url: str, broker_url: str, redis_url: str, **settings: Any) -> None:
        """``settings`` are fields of ``Settings``; the database is this installation's own."""
        self.folder = folder
        self.token = f"vai_{secrets.token_urlsafe(32)}"
        given = {
            "state_folder": folder / "state",
            "mongodb_url": mongo_url,
            "broker_url": broker_url,
            "redis_url": redis_url,
            "mongodb_database": f"vai_{secrets.token_hex(4)}",
            "secret_key": Fernet.generate_key().decode(),
            "token": self.token,
            "api_port": free_port(),
            **settings,
        }
        self.environment = {f"VAI_{name.upper()}": str(value) for name, value in given.items()}
        self.settings = Settings(_env_file=None, **given)
        commands = command_lines(self.settings)
        del commands[FLOWER]
        self.processes = {
            name: ServerProcess(name, command, folder, self.environment) for name, command in commands.items()
        }
        self._log_sizes: dict[str, int] = {}
        self.client = ApiClient(f"http://127.0.0.1:{self.settings.api_port}", self.token)

    def start(self) -> None:
        """Prepare the servers and start every process, side by side."""
        self.folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "vai_app.cli.main", "prepare", "--patience", "60"]
        subprocess.run(command, check=True, env={**os.environ, **self.environment}, timeout=_PREPARE_SECONDS)
        for name in self.processes:
            self._launch(name)
        for name in self.processes:
            self._await(name)

    def stop(self) -> None:
        """End every process, all at once."""
        threads = [threading.Thread(target=process.stop) for process in self.processes.values()]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def kill(self, name: str) -> None:
        """Kill a process and its children with SIGKILL."""
        self.processes[name].kill()

    def restart(self, name: str) -> None:
        """Start a process that was killed and wait until it serves."""
        self._launch(name)
        self._await(name)

    @contextmanager
    def running(self) -> Iterator["Vai"]:
        """Start, lend and stop."""
        try:
            self.start()
            yield self
        finally:
            self.stop()

    def register(self, name: str, vcsim: Vcsim, **changes: Any) -> Json:
        """Register a simulated vCenter."""
        body = {
            "name": name,
            "kind": "vmware",
            "endpoint": vcsim.endpoint,
            "credentials": {"username": vcsim.username, "password": vcsim.password},
            "verify_tls": False,
            "placement": {"cpu_ratio": 100, "disk_ratio": 100},  # it has few CPUs and small datastores
        }
        return self.client.post("/datacenters", {**body, **changes})

    def create(self, name: str, datacenter: str, **changes: Any) -> Json:
        """Ask for a machine from scratch; the operation."""
        return self.client.post("/virtual-machines", {**machine(name, datacenter), **changes})

    def end(self, operation: Mapping[str, Any], seconds: float = 60.0) -> Json:
        """Wait for an operation's end."""
        try:
            wait_until(
                lambda: self.client.get(f"/operations/{operation['id']}")["state"] not in _OPEN,
                seconds=seconds,
                what=f"operation {operation['id']} has ended",
            )
        except TimeoutError as error:
            error.add_note(self.condition())
            raise
        return self.client.get(f"/operations/{operation['id']}")

    def condition(self) -> str:
        """Say of each process whether it runs, with the end of its log, and of each worker what its threads do."""
        for name in WORKERS:
            if self.processes[name].running:
                os.kill(self.processes[name].pid, signal.SIGUSR1)  # Celery logs the stacks of all threads
        time.sleep(_CRY_SECONDS)
        return "\n".join(
            f"== {name}, {'running' if process.running else 'ended'}\n{process.tail()}"
            for name, process in self.processes.items()
        )

    def _launch(self, name: str) -> None:
        log = self.processes[name].log
        self._log_sizes[name] = log.stat().st_size if log.exists() else 0
        self.processes[name].start(lambda: True)

    def _await(self, name: str) -> None:
        if name == API:
            wait_until(self._api_ready, seconds=_READY_SECONDS, what="the API is ready")
        elif name in WORKERS:
            log, known = self.processes[name].log, self._log_sizes[name]
            wait_until(lambda: b" ready." in log.read_bytes()[known:], seconds=_READY_SECONDS, what=f"{name} is ready")
        else:
            assert name in (WATCHER, BEAT)

    def _api_ready(self) -> bool:
        try:
            return httpx.get(f"{self.client.base_url}/readyz", trust_env=False, timeout=5).status_code == 200
        except httpx.HTTPError:
            return False


def machine(name: str, datacenter: str) -> Json:
    """Return a request for a small machine made from scratch."""
    return {
        "name": name,
        "datacenter": datacenter,
        "cpus": 2,
        "memory_mib": 256,
        "disk_gib": 4,
        "networks": ["VM Network"],
    }
