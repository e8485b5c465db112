"""A running cloud as its clients see it: how to enter it, and how to crash its compute hosts, from any process."""

import fcntl
import json
import os
import secrets
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import openstack
import psutil
import yaml
from openstack.connection import Connection

from tests.lab.openstack import content
from tests.lab.openstack.configuration import PASSWORD, Layout, Ports
from tests.lab.openstack.installation import installation
from tests.lab.process import wait_until

MICROVERSION = "2.96"
_DOMAIN = "Default"
_LAUNCH_SECONDS = 180.0
_STOP_SECONDS = 10.0
_RECORD = "cloud.json"
SPARE = "spare"
_CONTROL = ("conductor", "scheduler")


@dataclass(frozen=True)
class Account:
    """How a client enters a cloud: enough for clouds.yaml, the SDK and VAI alike."""

    auth_url: str
    region: str
    username: str
    password: str
    project: str

    @property
    def clouds_yaml(self) -> dict[str, object]:
        """The account as an entry of clouds.yaml."""
        return {
            "auth": {
                "auth_url": self.auth_url,
                "username": self.username,
                "password": self.password,
                "project_name": self.project,
                "user_domain_name": _DOMAIN,
                "project_domain_name": _DOMAIN,
            },
            "region_name": self.region,
            "identity_api_version": 3,
        }

    def through(self, keystone_port: int) -> "Account":
        """Return the account for clients that enter by another port: a proxy's in front of Keystone."""
        return replace(self, auth_url=f"http://127.0.0.1:{keystone_port}/v3")

    def connect(self) -> Connection:
        """Return a connection of openstacksdk."""
        entry = self.clouds_yaml
        return openstack.connect(
            **entry["auth"],  # type: ignore[arg-type]
            region_name=self.region, compute_default_microversion=MICROVERSION, load_yaml_config=False,
            load_envvars=False,
        )  # fmt: skip


@dataclass(frozen=True)
class Cloud:
    """A cloud with an administrator and a project ``demo``, flavors, an image and networks (see ``content``)."""

    name: str
    hosts: tuple[str, ...]
    layout: Layout

    @classmethod
    def read(cls, folder: Path) -> "Cloud":
        """Return the cloud that was recorded in a folder."""
        record = json.loads((folder / _RECORD).read_text())
        layout = Layout(
            folder, record["region"], installation(), record["database_port"], record["broker_port"],
            Ports(**record["ports"]),
        )  # fmt: skip
        return cls(record["name"], tuple(record["hosts"]), layout)

    def record(self) -> None:
        """Write down what another process needs."""
        layout = self.layout
        record = {
            "name": self.name,
            "hosts": self.hosts,
            "region": layout.region,
            "database_port": layout.database_port,
            "broker_port": layout.broker_port,
            "ports": layout.ports.by_name,
        }
        partial = layout.folder / f"{_RECORD}.partial"
        partial.write_text(json.dumps(record))
        partial.rename(layout.folder / _RECORD)

    @property
    def spare(self) -> str:
        """The host that tests may crash: it makes no machine but those that are forced onto it."""
        name = f"{self.name}-{SPARE}"
        assert name in self.hosts
        return name

    @property
    def admin(self) -> Account:
        """The administrator."""
        return self._account("admin")

    @property
    def demo(self) -> Account:
        """A member of the project ``demo``."""
        return self._account(content.PROJECT)

    @property
    def clouds_yaml(self) -> dict[str, object]:
        """Both accounts, named after the cloud: ``a-admin`` and ``a-demo``."""
        return {f"{self.name}-{each.username}": each.clouds_yaml for each in (self.admin, self.demo)}

    def new_project(self, password: str = PASSWORD) -> Account:
        """Make a project without limits and a member of it, for tests that count what is there."""
        name = f"project-{secrets.token_hex(4)}"
        with self.admin.connect() as admin:
            content.add_project(admin, name, password)
        return replace(self._account(name), password=password)

    def new_administrator(self) -> Account:
        """Make an administrator with a project of his own, whose machines no other test touches."""
        name = f"admin-{secrets.token_hex(4)}"
        with self.admin.connect() as admin:
            content.add_project(admin, name, role="admin")
        return self._account(name)

    def let_into(self, account: Account, project: str) -> None:
        """Make an account a member of another project too."""
        with self.admin.connect() as admin:
            content.add_role(admin, account.username, project)

    def launch(self) -> None:
        """Start Nova's own processes and every compute host."""
        self._launch(*_CONTROL, *self.hosts)

    def end(self) -> None:
        """End what ``launch`` and ``start_host`` started, by force where it does not."""
        living = [process for name in (*_CONTROL, *self.hosts) if (process := self._signal(name, signal.SIGTERM))]
        _, stubborn = psutil.wait_procs(living, timeout=_STOP_SECONDS)
        for process in stubborn:
            os.killpg(process.pid, signal.SIGKILL)
        psutil.wait_procs(stubborn, timeout=_STOP_SECONDS)

    def kill_host(self, host: str) -> None:
        """Crash a compute host's nova-compute; its guests live on. Nova notices after about 20 s."""
        process = self._signal(host, signal.SIGKILL)
        assert process is not None
        psutil.wait_procs([process], timeout=_STOP_SECONDS)

    def start_host(self, host: str) -> None:
        """Start a compute host again; ``await_hosts`` waits for it."""
        self._launch(host)

    @contextmanager
    def spare_alone(self) -> Iterator[str]:
        """Lend the spare host to one test at a time, of any process."""
        with (self.layout.folder / f"{self.spare}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield self.spare

    def let_up(self, host: str) -> None:
        """Take back that a host was declared down; one whose machines were evacuated must be back before."""
        with self.admin.connect() as admin:
            (service,) = [each for each in admin.compute.services(binary="nova-compute") if each.host == host]
            address = f"/os-services/{service.id}"
            wait_until(
                lambda: admin.compute.put(address, json={"forced_down": False}, microversion="2.60").ok,
                seconds=_LAUNCH_SECONDS,
                what=f"Nova lets {host} up",
            )

    def await_hosts(self, *states: str, seconds: float = _LAUNCH_SECONDS) -> None:
        """Wait until every host is up, or until the hosts have the given states in their order."""
        wanted = dict(zip(self.hosts, states or ["up"] * len(self.hosts), strict=True))
        with self.admin.connect() as admin:
            wait_until(lambda: _states(admin) == wanted, seconds=seconds, what=f"hosts are {wanted}")

    def _account(self, username: str) -> Account:
        return Account(self.layout.auth_url, self.layout.region, username, PASSWORD, project=username)

    def _launch(self, *names: str) -> None:
        nova = self.layout.etc / "nova" / "nova.conf"
        jobs = [
            f"{name} nova-{name} {nova}" if name in _CONTROL else f"{name} nova-compute {self.layout.compute(name)}"
            for name in names
        ]
        with (self.layout.folder / "launch.log").open("ab") as log:
            subprocess.run(
                [self.layout.installation.python, "-m", "lab_cloud.launch", self.layout.folder],
                input="\n".join(jobs).encode(), check=True, stdout=log, stderr=log, timeout=_LAUNCH_SECONDS,
                env={**os.environ, **self.layout.environment},
            )  # fmt: skip

    def _signal(self, name: str, number: signal.Signals) -> psutil.Process | None:
        """Signal a process with its children, if it lives; the process to wait for."""
        file = self.layout.folder / f"{name}.pid"
        if not file.exists():
            return None
        try:
            process = psutil.Process(int(file.read_text()))
            if process.create_time() > file.stat().st_mtime + 1:
                return None  # its pid is another's by now: ours is older than its file
            os.killpg(process.pid, number)
        except (psutil.NoSuchProcess, ProcessLookupError):
            return None
        return process


def _states(admin: Connection) -> dict[str, str]:
    # From 2.88 on, Nova asks each host for its uptime, and waits a minute for one that has just died.
    answer = admin.compute.get("/os-hypervisors/detail", microversion="2.53")
    return {each["hypervisor_hostname"]: each["state"] for each in answer.json()["hypervisors"]}


def write_clouds_yaml(path: Path, accounts: Mapping[str, object]) -> None:
    """Write accounts by name for any OpenStack client."""
    path.write_text(yaml.safe_dump({"clouds": dict(accounts)}))
