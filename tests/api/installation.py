"""A whole installation in this process: the API over real services, and the steps run when a test says so."""

from datetime import datetime
from pathlib import Path
from typing import Any

from cryptography.fernet import Fernet
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from vai_app.api.app import create_app
from vai_app.bootstrap import Services, build_services
from vai_app.dispatch import CeleryDispatcher
from vai_app.domain.errors import ServiceUnavailable
from vai_app.domain.operations import StepName
from vai_app.domain.principals import Principal
from vai_app.drivers.simulated.control import Control
from vai_app.drivers.simulated.options import Options
from vai_app.settings import Settings

API = "/api/v1"
OWNER = "test"
_ROUNDS = 200

SMALL = {"cpus": 1, "memory_mib": 256, "disk_gib": 4}


class LocalDispatcher(CeleryDispatcher):
    """Keeps what was published; set ``away`` to be a broker that cannot be reached."""

    def __init__(self) -> None:
        """Connect to nothing."""
        self.published: list[tuple[StepName, str]] = []
        self.away = False

    def publish(self, step: StepName, operation_id: str) -> None:
        self.ping()
        self.published.append((step, operation_id))

    def ping(self) -> None:
        if self.away:
            raise ServiceUnavailable("The message broker cannot be reached. Check VAI_BROKER_URL.")

    def close(self) -> None:
        """Hold nothing."""

    def take(self) -> list[tuple[StepName, str]]:
        """Return what was published since the last call, oldest first."""
        taken, self.published = self.published, []
        return taken


class Installation:
    """Services, application, users and simulated datacenters."""

    def __init__(self, folder: Path, mongo_url: str, database: str, **settings: Any) -> None:
        """``settings`` are fields of ``Settings``; simulated datacenters live in ``folder``."""
        self.folder = folder
        self.dispatcher = LocalDispatcher()
        given = {
            "state_folder": folder,
            "mongodb_url": mongo_url,
            "mongodb_database": database,
            "secret_key": Fernet.generate_key().decode(),
            **settings,
        }
        self.services: Services = build_services(Settings(_env_file=None, **given), self.dispatcher)
        self.app: Flask = create_app(self.services)

    def token(self, name: str, tenant: str, *roles: str, expires_at: datetime | None = None) -> str:
        """Return a new token; without roles, a developer's."""
        return self.services.access.issue(Principal(name, tenant, roles or ("developer",)), expires_at)

    def client(self, token: str | None = None) -> FlaskClient:
        """Return a client that sends the token with every request."""
        client = self.app.test_client()
        if token is not None:
            client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {token}"
        return client

    def control(self, name: str) -> Control:
        """Return the control of a simulated datacenter."""
        return Control(self.world(name), Options(task_delay_seconds=0))

    def world(self, name: str) -> Path:
        """Return the file that a simulated datacenter lives in."""
        return self.folder / f"{name}.db"

    def datacenter_body(self, name: str, **changes: Any) -> dict[str, Any]:
        """Return the request that registers a simulated datacenter without delays."""
        options = {"hosts_per_cluster": 2, "task_delay_seconds": 0, **changes.pop("options", {})}
        body = {"name": name, "kind": "simulated", "endpoint": f"simulated://{self.world(name)}", "options": options}
        return body | changes

    def reconcile(self, datacenter: str) -> None:
        """Do what the watcher does at intervals."""
        self.services.reconciler.reconcile(self.services.datacenters.get(datacenter).id)

    def run(self) -> None:
        """Run every open operation to its end, as workers, watcher and sweeper would."""
        for _ in range(_ROUNDS):
            if not self._run_published() and not self._watch() and not self._sweep():
                return
        message = f"operations without an end after {_ROUNDS} rounds: {self._open()}"
        raise AssertionError(message)

    def run_step(self, operation_id: str) -> None:
        """Do what one message of the operation's current step does."""
        step = self.services.operations.get(operation_id, None).step
        assert self.services.workflow.run_step(step, operation_id, OWNER) is not None

    def _run_published(self) -> int:
        taken = self.dispatcher.take()
        for step, operation_id in taken:
            self.services.workflow.run_step(step, operation_id, OWNER)
        return len(taken)

    def _watch(self) -> int:
        watch = self.services.watcher.watch_tasks_once
        return sum(watch(datacenter, 0) for datacenter in {each["datacenter_id"] for each in self._open()})

    def _sweep(self) -> int:
        for operation in self._open():
            self.services.operations.make_due(operation["id"])
        return self.services.workflow.sweep()

    def _open(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.client(self._root()).get(f"{API}/operations?open=true").json["items"]
        return found

    def _root(self) -> str:
        if not hasattr(self, "_root_token"):
            self._root_token = self.token("sweeper", "vai", "admin")
        return self._root_token


def problem(response: TestResponse, status: int, kind: str) -> dict[str, Any]:
    """Return the problem that a response must be."""
    assert (response.status_code, response.mimetype) == (status, "application/problem+json"), response.text
    body: dict[str, Any] = response.json
    assert body["type"] == f"/problems/{kind}", body
    assert body["status"] == status
    return body
