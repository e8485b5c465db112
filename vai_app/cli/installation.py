"""An installation on this machine: which processes it has, in which order they start, when it is ready."""

import contextlib
import errno
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable

import httpx
import redis
from pymongo.errors import PyMongoError

from vai_app.cli.embedded import initiate_replica_set, is_primary, mongod_command, mongodb_url, valkey_command
from vai_app.cli.processes import API, FLOWER, NODE_NAMES, command_lines
from vai_app.cli.state_folder import StateFolder
from vai_app.cli.supervisor import Process, Supervisor, Tell
from vai_app.domain.errors import Conflict, ServiceUnavailable
from vai_app.settings import SECRET_KEY_FILE, Settings, at_home

MONGODB, VALKEY = "mongodb", "valkey"
_CHECK_SECONDS = 0.5
_PREPARE_SECONDS = 60.0


class Installation:
    """Embedded servers where no other are configured, and VAI's own processes."""

    def __init__(self, settings: Settings, tell: Tell) -> None:
        """``tell`` shows a line of a process to the person at the terminal."""
        self._settings = settings
        self.folder = StateFolder(settings.state_folder)
        self._supervisor = Supervisor(self.folder.logs, tell)
        self._environment: dict[str, str] = {}
        self.flower_password = ""

    def start(self, stopping: Callable[[], bool]) -> None:
        """Start everything, in order, and wait until it serves, or until ``stopping``.

        Raises ServiceUnavailable, Conflict.
        """
        self.folder.open()
        self.folder.lock()
        self._check_ports()
        self._environment = {
            "VAI_STATE_FOLDER": str(self.folder.path),
            "VAI_MONGODB_URL": self._settings.mongodb_url.get_secret_value() or self._start_mongodb(),
        }
        if not self._settings.secret_key.get_secret_value() and self._settings.secret_key_file is None:
            self.folder.secret(SECRET_KEY_FILE)
        valkey = None
        for variable, configured in (
            ("VAI_REDIS_URL", self._settings.redis_url),
            ("VAI_BROKER_URL", self._settings.broker_url),
        ):
            url = configured.get_secret_value()
            if not url:
                valkey = valkey or self._start_valkey()
                url = valkey
            self._environment[variable] = url
        self.flower_password = self.folder.secret("flower.password")
        self._prepare()
        own = self._own_processes()
        for process in own:
            self._supervisor.start(process)
        self._write_run()
        for process in own:
            if not stopping():
                self._supervisor.wait_ready(process.name)

    def keep_running(self, stopping: Callable[[], bool]) -> None:
        """Start again what ends, until ``stopping``."""
        while not stopping():
            if self._supervisor.revive():
                self._write_run()
            time.sleep(_CHECK_SECONDS)

    def stop(self) -> None:
        """End everything; the databases last."""
        self._supervisor.stop(keep_until_last=(VALKEY, MONGODB))
        self.folder.clear_run()

    def _write_run(self) -> None:
        """Leave the key out: it is in its file."""
        public = {name: value for name, value in self._environment.items() if name != "VAI_SECRET_KEY"}
        doors = {
            "VAI_API_HOST": self._settings.api_host,
            "VAI_API_PORT": str(self._settings.api_port),
            "VAI_FLOWER_HOST": self._settings.flower_host,
            "VAI_FLOWER_PORT": str(self._settings.flower_port),
        }
        self.folder.write_run({**public, **doors}, self._supervisor.pids())

    def _check_ports(self) -> None:
        for variable, host, port in (
            ("VAI_API_PORT", self._settings.api_host, self._settings.api_port),
            ("VAI_FLOWER_PORT", self._settings.flower_host, self._settings.flower_port),
        ):
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind((host, port))
                except OSError as error:
                    if error.errno != errno.EADDRINUSE:
                        address = variable.replace("PORT", "HOST")
                        message = f"Nobody can listen at {host}:{port}: {error.strerror}. Choose another {address}."
                        raise Conflict(message) from error
                    message = f"Port {port} is in use. End the other program, or choose another port with {variable}."
                    raise Conflict(message) from error

    def _start_mongodb(self) -> str:
        port, password = _free_port(), self.folder.secret("mongodb.password")
        key_file = self.folder.path / "mongodb.key"
        if not key_file.exists():
            self.folder.write_private(key_file.name, secrets.token_urlsafe(48).replace("-", "+").replace("_", "/"))
        url = mongodb_url(port, password)

        def primary() -> bool:
            try:
                initiate_replica_set(port, password)
                return is_primary(url)
            except PyMongoError:
                return False

        command = mongod_command(self.folder.path / "mongodb", port, key_file)
        self._start_server(Process(MONGODB, command, primary, quiet=True, at_orphaning=signal.SIGTERM))
        return url

    def _start_valkey(self) -> str:
        port, password, data = _free_port(), self.folder.secret("valkey.password"), self.folder.path / "valkey"
        self.folder.write_private("valkey/valkey.conf", f"requirepass {password}\n")

        def answers() -> bool:
            try:
                return bool(redis.Redis(port=port, password=password, socket_timeout=1).ping())
            except redis.RedisError:
                return False

        self._start_server(
            Process(VALKEY, valkey_command(data, port), answers, quiet=True, at_orphaning=signal.SIGTERM)
        )
        return f"redis://:{password}@127.0.0.1:{port}/0"

    def _start_server(self, process: Process) -> None:
        self._supervisor.start(process)
        self._supervisor.wait_ready(process.name)

    def _prepare(self) -> None:
        """Check that the servers answer, make indexes and the administrator's token, as every process will see them."""
        done = subprocess.run(
            [sys.executable, "-m", "vai_app.cli.main", "prepare"],
            env={**os.environ, **self._environment},
            capture_output=True,
            text=True,
            timeout=_PREPARE_SECONDS,
            check=False,
            start_new_session=True,  # Ctrl-C is for us; this ends by itself
        )
        if done.returncode:
            raise ServiceUnavailable(" ".join(done.stderr.split()))

    def _own_processes(self) -> list[Process]:
        """Return VAI's processes: the table that ``vai status`` shows."""
        ready: dict[str, Callable[[], bool]] = {
            API: self._api_ready,
            **{name: self._worker_ready(name) for name in NODE_NAMES},
            FLOWER: lambda: _answers(at_home(self._settings.flower_host), self._settings.flower_port),
        }
        flower = {"FLOWER_BASIC_AUTH": f"admin:{self.flower_password}"}
        return [
            Process(
                name,
                command,
                ready.get(name, lambda: True),
                {**self._environment, **(flower if name == FLOWER else {})},
                quiet=name == FLOWER,
            )
            for name, command in command_lines(self._settings).items()
        ]

    def _api_ready(self) -> bool:
        with contextlib.suppress(httpx.HTTPError):
            # No proxy of the user's environment leads to this machine itself.
            return httpx.get(f"{self._settings.local_api_url}/readyz", timeout=5, trust_env=False).is_success
        return False

    def _worker_ready(self, name: str) -> Callable[[], bool]:
        log = self.folder.logs / f"{name}.log"
        known = log.stat().st_size if log.exists() else 0

        def ready() -> bool:
            with contextlib.suppress(OSError):
                return b" ready." in log.read_bytes()[known:]
            return False

        return ready


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(host: str, port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=1):
        return True
    return False
