"""The servers and services of one cloud, started together and stopped by their pids."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx

from tests.lab.mariadb import MariaDB
from tests.lab.openstack import content, golden
from tests.lab.openstack.cloud import SPARE, Cloud
from tests.lab.openstack.configuration import Layout, write
from tests.lab.openstack.installation import installation
from tests.lab.process import ServerProcess, wait_until
from tests.lab.rabbitmq import RabbitMQ

_THREADS = "8"
_API_SECONDS = 180.0
_APPLICATIONS = {
    "keystone": "keystone.wsgi.api",
    "placement": "placement.wsgi.api",
    "neutron": "neutron.wsgi.api",
    "glance": "glance.wsgi.api",
    "nova": "nova.wsgi.osapi_compute",
    "cinder": "cinder.wsgi.api",
}
_BEHIND_CINDER = ("cinder-scheduler", "cinder-volume")


class OpenStack:
    """``cloud`` is what clients see of it."""

    def __init__(self, folder: Path, name: str = "a", hosts: tuple[str, ...] = ("c1", "c2")) -> None:
        """Everything lives in ``folder``; nothing starts yet. Installs OpenStack on first use."""
        self._began = time.monotonic()
        folder.mkdir(parents=True, exist_ok=True)
        golden.restore(installation(), folder)
        self._mariadb, self._rabbitmq = MariaDB(folder), RabbitMQ(folder)
        layout = Layout(folder, f"Region{name.upper()}", installation(), self._mariadb.port, self._rabbitmq.port)
        self.cloud = Cloud(name, tuple(f"{name}-{host}" for host in hosts), layout)
        self._services = {name: self._service(name, module) for name, module in _APPLICATIONS.items()}
        self._behind_cinder = [self._cinder_process(name) for name in _BEHIND_CINDER]

    def start(self) -> None:
        """Start everything and wait until every compute host takes machines."""
        layout = self.cloud.layout
        write(layout, self.cloud.hosts)
        broker = threading.Thread(target=self._rabbitmq.start)
        broker.start()
        self._mariadb.start()
        content.bootstrap_identity(layout)
        self._serve("keystone")
        self._await_service("keystone")
        self._say("Keystone answers")
        with self.cloud.admin.connect() as admin:
            content.fill_catalogue(admin, layout)
        others = [name for name in self._services if name != "keystone"]
        for name in others:
            self._serve(name)
        for name in ("placement", "neutron"):  # nova-compute starts cleanly only when these answer
            self._await_service(name)
        broker.join()
        for process in self._behind_cinder:
            process.start(lambda: True)
        self.cloud.launch()
        for name in others:
            self._await_service(name)
        self._say("every API answers")
        with self.cloud.admin.connect() as admin:  # anew: a token carries the catalogue of its birth
            content.fill(admin)
        self.cloud.await_hosts()
        if f"{self.cloud.name}-{SPARE}" in self.cloud.hosts:
            with self.cloud.admin.connect() as admin:
                content.keep_out_of_scheduling(admin, self.cloud.spare)
        self.cloud.record()
        self._say(f"{len(self.cloud.hosts)} compute hosts take machines")

    def stop(self) -> None:
        """End everything; the data is of no use after that."""
        with ThreadPoolExecutor() as threads:
            ends: list[Callable[[], None]] = [
                process.stop for process in (*self._services.values(), *self._behind_cinder)
            ]
            ends.append(self.cloud.end)
            list(threads.map(lambda end: end(), ends))
            list(threads.map(lambda end: end(), (self._mariadb.stop, self._rabbitmq.stop)))

    def _service(self, name: str, module: str) -> ServerProcess:
        layout = self.cloud.layout
        port = str(getattr(layout.ports, name))
        files = ["--config-file", str(layout.cinder)] if name == "cinder" else []
        command = [layout.installation.python, "-m", "lab_cloud.serve", module, port, _THREADS, *files]
        return ServerProcess(name, command, layout.folder, layout.environment)

    def _cinder_process(self, name: str) -> ServerProcess:
        layout = self.cloud.layout
        command = [layout.installation.program(name), "--config-file", str(layout.cinder)]
        return ServerProcess(name, command, layout.folder, layout.environment)

    def _serve(self, name: str) -> None:
        self._services[name].start(lambda: True)

    def _await_service(self, name: str) -> None:
        url = f"http://127.0.0.1:{getattr(self.cloud.layout.ports, name)}/"

        def answers() -> bool:
            if not self._services[name].running:
                message = f"{name} ended:\n{self._services[name].log.read_text(errors='replace')[-3000:]}"
                raise RuntimeError(message)
            try:
                httpx.get(url, trust_env=False, timeout=10)
            except httpx.HTTPError:
                return False
            return True

        wait_until(answers, seconds=_API_SECONDS, what=f"{name} answers")

    def _say(self, what: str) -> None:
        print(f"lab: cloud {self.cloud.name}: {what} after {time.monotonic() - self._began:.0f} s", flush=True)
