"""The datacenters of a kill test: where machines are made, and what is really there afterwards."""

from abc import ABC, abstractmethod
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.chaos.witness import Seen, Witness
from tests.lab.http_proxy import HttpProxy, drop_answer
from tests.lab.openstack.cloud import Account, Cloud
from tests.lab.openstack.content import IMAGE
from tests.lab.registration import openstack_entry
from tests.lab.vai import Vai, machine
from tests.lab.vcsim import Vcsim
from vai_app.cli.client import Json
from vai_app.drivers.openstack.mapping import MACHINE_KEY

TASK_DELAY_MILLISECONDS = 300
_TINY = {"cpus": 1, "memory_mib": 512, "disk_gib": 1, "image": IMAGE, "networks": ["lab-net"]}


@dataclass
class Trouble:
    """How often a site's network lost an answer."""

    lost_answers: int = 0


class Site(ABC):
    """One datacenter with a witness that knows nothing of VAI's records."""

    datacenter: str
    look_seconds = 0.5  # between two looks for doubles

    def __init__(self) -> None:
        """Nothing runs yet."""
        self.trouble = Trouble()

    @abstractmethod
    def start(self, vai: Vai) -> None:
        """Start, and register with a VAI that runs."""

    @abstractmethod
    def stop(self) -> None:
        """End what was started."""

    @abstractmethod
    def seen(self) -> list[Seen]:
        """Return every machine that was not there at the beginning."""

    @abstractmethod
    def leftovers(self) -> list[str]:
        """Return what belongs to no machine: disks, folders, ports."""

    def request(self, name: str) -> Json:
        """Return the body of a request for a machine here."""
        return machine(name, self.datacenter)

    def disturb(self) -> None:  # noqa: B027 - most sites are reliable
        """Make the site itself unreliable, once."""

    def doubled(self) -> list[str]:
        """Return each mark that more than one machine bears."""
        marks = Counter(seen.machine_id for seen in self.seen() if seen.machine_id)
        return [mark for mark, count in marks.items() if count > 1]


class Vsphere(Site):
    """A simulated vCenter whose tasks take a while."""

    datacenter = "vc1"

    def __init__(self, folder: Path) -> None:
        """Its datastores are in ``folder``."""
        super().__init__()
        self._datastores = folder / "vcsim"
        self._vcsim = Vcsim(self._datastores, "-task-delay", f"{TASK_DELAY_MILLISECONDS}ms")

    def start(self, vai: Vai) -> None:
        self._vcsim.start()
        vai.register(self.datacenter, self._vcsim)
        self._witness = Witness(self._vcsim, self._datastores)

    def stop(self) -> None:
        self._vcsim.stop()

    def seen(self) -> list[Seen]:
        return self._witness.machines()

    def leftovers(self) -> list[str]:
        return self._witness.orphaned_files()


class OpenStackProject(Site):
    """A project of a cloud that runs, entered through a proxy that loses answers."""

    datacenter = "os1"
    look_seconds = 5.0

    def __init__(self, cloud: Cloud) -> None:
        """Make a project of its own."""
        super().__init__()
        self._account: Account = cloud.new_project()
        self._proxy = HttpProxy(cloud.layout.ports.by_name)
        self._running = self._proxy.running()
        self._client: Any = self._account.connect()

    def start(self, vai: Vai) -> None:
        self._running.__enter__()
        entry = openstack_entry(self.datacenter, self._account.through(self._proxy.ports["keystone"]))
        assert entry.register({**vai.environment, "VAI_API_URL": vai.client.base_url})

    def stop(self) -> None:
        self._running.__exit__(None, None, None)
        self._client.close()

    def request(self, name: str) -> Json:
        return {**machine(name, self.datacenter), **_TINY}

    def disturb(self) -> None:
        """Lose the answer to the next request, whatever it is."""
        self._proxy.add(drop_answer(r"GET|POST|PUT|DELETE", ""))
        self.trouble.lost_answers += 1

    def seen(self) -> list[Seen]:
        return [
            Seen(server.name, server.metadata.get(MACHINE_KEY), server.status == "ACTIVE")
            for server in self._client.compute.servers(details=True)
        ]

    def leftovers(self) -> list[str]:
        """Return ports that belong to no server."""
        servers = {server.id for server in self._client.compute.servers(details=False)}
        return [port.id for port in self._client.network.ports() if port.device_id not in servers]
