"""A running VAI for each file of tests, on servers of its own, with a fresh simulated vCenter for each test."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.witness import Witness
from tests.lab.mongo import Mongo
from tests.lab.process import wait_until
from tests.lab.rabbitmq import RabbitMQ
from tests.lab.vai import Vai
from tests.lab.valkey import Valkey
from tests.lab.vcsim import Vcsim

_numbers = itertools.count(1)


@dataclass
class Platform:
    """VAI and its three servers, which a test may stop, kill and start again."""

    vai: Vai
    mongo: Mongo
    valkey: Valkey
    rabbitmq: RabbitMQ


@dataclass
class Site:
    """A registered vCenter: its name in VAI, its simulator and its witness."""

    name: str
    vcsim: Vcsim
    witness: Witness

    def names(self) -> list[str]:
        """Return the machines that were made since the beginning."""
        return sorted(seen.name for seen in self.witness.machines())


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    folder = tmp_path_factory.mktemp("platform")
    servers = Mongo(folder), Valkey(folder), RabbitMQ(folder)
    for server in servers:
        server.start()
    mongo, valkey, rabbitmq = servers
    vai = Vai(
        folder / "vai",
        mongo_url=mongo.url,
        broker_url=rabbitmq.url,
        redis_url=valkey.url,
        lease_seconds=5,
        inventory_seconds=1,
    )
    with vai.running():
        yield Platform(vai, mongo, valkey, rabbitmq)
    for server in servers:
        server.stop()


@pytest.fixture
def vai(platform: Platform) -> Vai:
    return platform.vai


@pytest.fixture
def new_site(vai: Vai, tmp_path: Path) -> Iterator[Callable[..., Site]]:
    """Return a function that starts a simulated vCenter and registers it."""
    opened: list[Site] = []

    def new(*arguments: str, **registration: Any) -> Site:
        name = f"vc{next(_numbers)}"
        vcsim = Vcsim(tmp_path / name, *arguments)
        vcsim.start()
        opened.append(Site(name, vcsim, Witness(vcsim, tmp_path / name)))
        vai.register(name, vcsim, **registration)
        wait_until(
            lambda: vai.client.get(f"/datacenters/{name}")["observed_at"] is not None,
            seconds=30,
            what=f"{name} is listed",
        )
        return opened[-1]

    yield new
    for site in opened:
        # Nobody calls a vCenter that has ended: its datacenter would be found unreachable for the tests that follow.
        vai.client.change_configuration("PATCH", f"/datacenters/{site.name}", {"enabled": False})
        site.vcsim.stop()


@pytest.fixture
def site(new_site: Callable[..., Site]) -> Site:
    return new_site()


def _is_listed(vai: Vai, name: str) -> bool:
    return vai.client.get(f"/datacenters/{name}")["observed_at"] is not None
