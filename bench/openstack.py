"""Servers on a whole OpenStack: created, deleted and listed through VAI, and by a hand-written openstacksdk program."""

import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from openstack.connection import Connection as Client

from bench.creation import THREADS, through_vai
from bench.measurement import Measurement, in_turns, measurement
from bench.servers import servers
from tests.lab.http_proxy import HttpProxy
from tests.lab.openstack.cloud import Account
from tests.lab.openstack.content import IMAGE
from tests.lab.openstack.servers import OpenStack
from tests.lab.registration import openstack_entry
from vai_app.domain.datacenters import Connection
from vai_app.drivers.openstack import OpenStackHypervisor

SERVERS = 40
LISTED = 100
_FLAVOR, _NETWORK = "m1.tiny", "lab-net"
_ASKED = {"cpus": 1, "memory_mib": 512, "disk_gib": 1, "image": IMAGE, "networks": [_NETWORK]}
_LOOK_SECONDS = 0.5
_PATIENCE_SECONDS = 300
_serial = itertools.count()


def servers_and_calls(runs: int) -> Iterator[Measurement]:
    """Servers per second, calls per server to each service, and seconds for a list of all."""
    with TemporaryDirectory(prefix="vai-bench-") as folder, servers() as own:
        cloud = OpenStack(Path(folder) / "a")
        try:
            cloud.start()
            account = cloud.cloud.new_project()
            with HttpProxy(cloud.cloud.layout.ports.by_name).running() as proxy:
                yield from _rates_and_calls(runs, own.vai(), proxy, account)
            yield _listing(runs, account)
        finally:
            cloud.stop()


def _rates_and_calls(runs: int, vai: Any, proxy: HttpProxy, account: Account) -> Iterator[Measurement]:
    entered = account.through(proxy.ports["keystone"])
    openstack_entry("os", entered).register({**vai.environment, "VAI_API_URL": vai.client.base_url})
    calls: dict[str, list[Counter[str]]] = {"ours": [], "reference": []}

    def counted(side: str, work: Callable[[], float]) -> float:
        proxy.clear()
        rate = work()
        calls[side].append(proxy.count())
        return rate

    through_vai(vai, ["os"], 4, **_ASKED)  # both sides warm
    _by_hand(entered, 4)
    ours, reference = in_turns(
        runs,
        lambda: counted("ours", lambda: through_vai(vai, ["os"], SERVERS, look_seconds=_LOOK_SECONDS, **_ASKED)),
        lambda: counted("reference", lambda: _by_hand(entered, SERVERS)),
    )
    sizes = f"{SERVERS} servers, reference with {THREADS} threads; clients of both look every {_LOOK_SECONDS} s"
    yield measurement("openstack_create_delete", "servers/s", ours, reference, goal=">= 0.9", sizes=sizes)
    for service in sorted(set().union(*calls["ours"], *calls["reference"])):
        own, other = ([count[service] / SERVERS for count in calls[side]] for side in ("ours", "reference"))
        if min(other) == 0:
            message = f"the hand-written program never asked {service}; VAI asked it {own} times a server"
            raise RuntimeError(message)
        name = f"openstack_calls_{service}"
        yield measurement(name, "calls/server", own, other, goal="<= 1", sizes=sizes)


def _listing(runs: int, account: Account) -> Measurement:
    client = account.connect()
    compute: Any = client.compute
    made = _create(client, [f"listed-{number}" for number in range(LISTED)])
    hypervisor = OpenStackHypervisor(
        Connection(
            datacenter_id="dc-1",
            kind="openstack",
            endpoint=account.auth_url,
            credentials={"username": account.username, "password": account.password, "project": account.project},
            options={"region": account.region},
        )
    )

    def seconds(listing: Callable[[], Iterator[Any]]) -> float:
        began_at = time.perf_counter()
        assert sum(1 for _ in listing()) == LISTED
        return time.perf_counter() - began_at

    for listing in (hypervisor.list_machines, compute.servers):
        seconds(listing)
    ours, reference = in_turns(
        runs * 5, lambda: seconds(hypervisor.list_machines), lambda: seconds(lambda: compute.servers(details=True))
    )
    hypervisor.close()
    for server in made:
        compute.delete_server(server)
    client.close()
    sizes = f"{LISTED} servers; the reference is openstacksdk's list of servers with details"
    return measurement("openstack_listing", "s", ours, reference, goal="<= 1.5", sizes=sizes)


def _by_hand(account: Account, count: int) -> float:
    """Create and delete, one server a thread at a time. Returns servers per second."""
    client = account.connect()
    began_at = time.monotonic()
    made = _create(client, [f"hand-{next(_serial)}" for _ in range(count)])
    with ThreadPoolExecutor(THREADS) as threads:
        list(threads.map(lambda server: _delete(client, server), made))
    seconds = time.monotonic() - began_at
    client.close()
    return count / seconds


def _create(client: Client, names: list[str]) -> list[Any]:
    compute: Any = client.compute
    network: Any = client.network
    image: Any = client.image
    flavor_id, image_id = compute.find_flavor(_FLAVOR).id, image.find_image(IMAGE).id
    networks = [{"uuid": network.find_network(_NETWORK).id}]

    def create(name: str) -> Any:
        server = compute.create_server(name=name, flavor_id=flavor_id, image_id=image_id, networks=networks)
        return compute.wait_for_server(server, interval=_LOOK_SECONDS, wait=_PATIENCE_SECONDS)

    with ThreadPoolExecutor(THREADS) as threads:
        return list(threads.map(create, names))


def _delete(client: Client, server: Any) -> None:
    compute: Any = client.compute
    compute.delete_server(server)
    compute.wait_for_delete(server, interval=_LOOK_SECONDS, wait=_PATIENCE_SECONDS)
