"""Hosts, images, inventory and capacity, as last observed."""

from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.api.installation import API, Installation, problem
from vai_app.domain.datacenters import HostState

Json = dict[str, Any]
Create = Callable[..., Json]


def test_hosts_of_every_datacenter_are_listed_with_theirs(ann: FlaskClient, berlin: Json, madrid: Json) -> None:
    hosts = ann.get(f"{API}/hosts").json["items"]
    assert [(each["datacenter"]["name"], each["name"]) for each in hosts] == [
        ("berlin", "sim01001"), ("berlin", "sim01002"), ("madrid", "sim01001"), ("madrid", "sim01002"),
    ]  # fmt: skip
    assert {each["datacenter"]["id"] for each in hosts} == {berlin["id"], madrid["id"]}
    assert {(each["state"], each["power"], each["cluster"]) for each in hosts} == {("up", "on", "cluster-1")}


@pytest.mark.usefixtures("madrid")
@pytest.mark.parametrize("listed", ["hosts", "images"])
def test_a_list_is_limited_to_one_datacenter_by_name_or_id(ann: FlaskClient, berlin: Json, listed: str) -> None:
    by_name = ann.get(f"{API}/{listed}?datacenter=berlin").json["items"]
    assert by_name == ann.get(f"{API}/{listed}?datacenter={berlin['id']}").json["items"]
    assert {each["datacenter"]["name"] for each in by_name} == {"berlin"}


@pytest.mark.parametrize("listed", ["hosts", "images"])
def test_a_list_of_a_datacenter_that_never_was_is_not_found(ann: FlaskClient, listed: str) -> None:
    assert "atlantis" in problem(ann.get(f"{API}/{listed}?datacenter=atlantis"), 404, "not-found")["detail"]


@pytest.mark.usefixtures("berlin")
def test_images_are_listed_by_name_and_reference(ann: FlaskClient) -> None:
    images = ann.get(f"{API}/images").json["items"]
    assert {(each["ref"], each["name"]) for each in images} == {
        ("img-debian-12", "debian-12"), ("img-ubuntu-24.04", "ubuntu-24.04"), ("img-cirros", "cirros"),
    }  # fmt: skip


def test_a_machine_may_name_its_image_and_network_by_reference(create: Create) -> None:
    assert create(image="img-cirros", networks=["net-backend"])["state"] == "active"


@pytest.mark.usefixtures("berlin")
def test_the_inventory_shows_every_part_of_a_datacenter(ann: FlaskClient) -> None:
    inventory = ann.get(f"{API}/datacenters/berlin/inventory").json
    assert {"adopt", "fixed-addresses"} <= {*inventory.pop("capabilities")}
    assert inventory.pop("quota") is None
    names = {part: [each["name"] for each in found] for part, found in inventory.items()}
    assert names == {
        "clusters": ["cluster-1"],
        "hosts": ["sim01001", "sim01002"],
        "datastores": ["store1", "store2"],
        "networks": ["default", "backend"],
        "images": ["debian-12", "ubuntu-24.04", "cirros"],
    }


def test_a_datacenter_that_was_never_listed_has_nothing_to_show(vai: Installation, admin: FlaskClient) -> None:
    assert admin.post(f"{API}/datacenters", json=vai.datacenter_body("oslo")).status_code == 201
    capacity = admin.get(f"{API}/datacenters/oslo/capacity").json
    assert capacity.pop("observed_at") is None
    assert [capacity.pop(part) for part in ("by_host", "by_datastore", "quota")] == [[], [], []]
    assert set(capacity.values()) == {0}
    assert admin.get(f"{API}/hosts?datacenter=oslo").json["items"] == []


def test_capacity_and_hosts_count_what_machines_were_given(vai: Installation, ann: FlaskClient, create: Create) -> None:
    before = ann.get(f"{API}/datacenters/berlin/capacity").json
    assert (before["hosts"], before["hosts_up"], before["cpus"], before["memory_mib"]) == (2, 2, 64, 524_288)
    assert (before["used_cpus"], before["used_memory_mib"], before["disk_gib"]) == (0, 0, 20_000)
    create(cpus=4, memory_mib=2048, disk_gib=16)
    vai.reconcile("berlin")
    after = ann.get(f"{API}/datacenters/berlin/capacity").json
    rooms = [(each["reserved"]["cpus"], each["reserved"]["memory_mib"]) for each in after["by_host"]]
    assert sorted(rooms) == [(0, 0), (4, 2048)]
    for each in after["by_host"]:
        assert (each["allocatable"], each["used"]) == (
            {"cpus": 512, "memory_mib": 262_144},
            {"cpus": 0, "memory_mib": 0},
        )
        assert each["free"]["memory_mib"] == 262_144 - each["reserved"]["memory_mib"]
    assert sum(each["reserved_gib"] for each in after["by_datastore"]) == 16
    assert (after["used_cpus"], after["used_memory_mib"]) == (4, 2048)
    assert after["free_disk_gib"] == before["free_disk_gib"] - 16
    assert after["observed_at"] > before["observed_at"]
    hosts = ann.get(f"{API}/hosts").json["items"]
    assert sorted((each["used_cpus"], each["used_memory_mib"]) for each in hosts) == [(0, 0), (4, 2048)]


@pytest.mark.usefixtures("berlin")
def test_a_host_that_is_down_is_shown_and_counts_no_more(vai: Installation, ann: FlaskClient) -> None:
    vai.control("berlin").set_host_state("sim01001", HostState.DOWN)
    vai.reconcile("berlin")
    capacity = ann.get(f"{API}/datacenters/berlin/capacity").json
    assert (capacity["hosts"], capacity["hosts_up"], capacity["cpus"]) == (2, 1, 32)
    hosts = {each["name"]: (each["state"], each["power"]) for each in ann.get(f"{API}/hosts").json["items"]}
    assert hosts == {"sim01001": ("down", "off"), "sim01002": ("up", "on")}
