"""The lab's cloud itself: what tests of VAI rely on, by clients that know nothing of VAI."""

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from keystoneauth1.exceptions import ConnectFailure
from openstack.connection import Connection

from tests.lab.http_proxy import HttpProxy, drop_answer
from tests.lab.openstack.cloud import Cloud
from tests.lab.openstack.content import FLAVORS, IMAGE, NETWORKS
from tests.lab.openstack.witness import Witness
from tests.lab.process import wait_until


@pytest.fixture
def demo(openstack_cloud: Cloud) -> Iterator[Connection]:
    with openstack_cloud.demo.connect() as connection:
        yield connection


@pytest.fixture
def witness(openstack_cloud: Cloud, tmp_path: Path) -> Witness:
    return Witness(openstack_cloud, tmp_path, openstack_cloud.demo)


def _create(demo: Connection, name: str) -> Any:
    compute: Any = demo.compute
    return compute.create_server(
        name=name,
        flavor_id=compute.find_flavor("m1.tiny").id,
        image_id=demo.image.find_image(IMAGE, ignore_missing=False).id,
        networks=[{"uuid": demo.network.find_network("lab-net", ignore_missing=False).id}],
        metadata={"purpose": name},
    )


def test_the_witness_sees_a_server_with_its_port_and_metadata_and_nothing_of_it_after_its_deletion(
    demo: Connection, witness: Witness
) -> None:
    made = _create(demo, "seen")
    wait_until(lambda: demo.compute.get_server(made.id).status == "ACTIVE", seconds=120, what="the server is active")
    seen = witness.server(made.id)
    assert seen["properties"] == {"purpose": "seen"}
    # Nova's list may lag behind a server that it has just made.
    wait_until(
        lambda: made.id in [each["ID"] for each in witness.project().servers], seconds=60, what="the server is listed"
    )
    assert [each["Fixed IP Addresses"] for each in witness.ports_of(made.id)]
    demo.compute.delete_server(made.id)
    demo.compute.wait_for_delete(made, wait=120, interval=0.2)
    assert made.id not in [each["ID"] for each in witness.project().servers]
    assert witness.ports_of(made.id) == []


def test_a_client_that_enters_through_the_proxy_stays_on_it_and_can_lose_an_answer(
    openstack_cloud: Cloud, demo: Connection
) -> None:
    name = f"unheard-{secrets.token_hex(3)}"
    with HttpProxy(openstack_cloud.layout.ports.by_name).running() as proxy:
        proxied = openstack_cloud.demo.through(proxy.ports["keystone"]).connect()
        assert {flavor.name for flavor in proxied.compute.flavors()} >= set(FLAVORS)
        assert {network.name for network in proxied.network.networks()} >= set(NETWORKS)
        assert {call.service for call in proxy.calls} == {"keystone", "nova", "neutron"}
        rule = proxy.add(drop_answer("POST", r"/servers$"))
        with pytest.raises(ConnectFailure):
            _create(proxied, name)
        assert rule.used == 1
        proxied.close()
    (lost,) = [server for server in demo.compute.servers() if server.name == name]
    demo.compute.delete_server(lost.id)
    demo.compute.wait_for_delete(lost, wait=120, interval=0.2)


def test_a_crashed_host_is_noticed_and_comes_back(openstack_cloud: Cloud) -> None:
    with openstack_cloud.spare_alone() as crashed:
        openstack_cloud.kill_host(crashed)
        try:
            openstack_cloud.await_hosts(*("down" if host == crashed else "up" for host in openstack_cloud.hosts))
        finally:
            openstack_cloud.start_host(crashed)
        openstack_cloud.await_hosts()
