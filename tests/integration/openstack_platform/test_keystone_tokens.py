"""Tokens of a real Keystone open VAI, as far as their roles say, and stop doing so when Keystone takes them back."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.installation import API, Installation, problem
from tests.lab.openstack.cloud import Account, Cloud
from tests.lab.process import wait_until

_CACHE_SECONDS = 1.0


@pytest.fixture
def vai(tmp_path: Path, mongo_url: str, openstack_cloud: Cloud) -> Iterator[Installation]:
    """VAI that asks Keystone, and knows a developer in whoever is a member there."""
    installation = _asking(openstack_cloud, tmp_path, mongo_url, {"member": "developer"})
    yield installation
    installation.services.close()


def _asking(cloud: Cloud, folder: Path, mongo_url: str, role_map: dict[str, str]) -> Installation:
    return Installation(
        folder,
        mongo_url,
        f"vai_keystone_{folder.name[-20:]}",
        access_clients="keystone",
        keystone_url=cloud.layout.auth_url,
        access_cache_seconds=_CACHE_SECONDS,
        access_timeout_seconds=30,
        role_map=role_map,
    )


def token_of(account: Account) -> str:
    with account.connect() as connection:
        return str(connection.session.get_token())


def test_a_member_of_a_project_is_a_developer_of_a_tenant(vai: Installation, openstack_cloud: Cloud) -> None:
    account = openstack_cloud.new_project()
    member = vai.client(token_of(account))
    assert member.get(f"{API}/virtual-machines").json["items"] == []
    found = member.post(f"{API}/policies/evaluate", json={}).json
    assert (found["tenant"], found["roles"], found["allowed"]) == (account.project, ["developer"], True)
    problem(member.post(f"{API}/tenants", json={"name": "mine"}), 403, "forbidden")


def test_whoever_is_administrator_there_is_nobody_here_unless_that_was_said(
    tmp_path: Path, mongo_url: str, openstack_cloud: Cloud
) -> None:
    vai = _asking(openstack_cloud, tmp_path, mongo_url, {"auditor": "viewer"})
    administrator_there = vai.client(token_of(openstack_cloud.admin))
    problem(administrator_there.get(f"{API}/virtual-machines"), 403, "forbidden")
    vai.services.close()


def test_a_token_that_keystone_took_back_stops_working_within_the_cache_time(
    vai: Installation, openstack_cloud: Cloud
) -> None:
    account = openstack_cloud.new_project()
    with account.connect() as connection:
        token = str(connection.session.get_token())
        member = vai.client(token)
        assert member.get(f"{API}/virtual-machines").status_code == 200
        address = f"{account.auth_url}/auth/tokens"
        connection.session.delete(address, headers={"X-Subject-Token": token})
    wait_until(
        lambda: member.get(f"{API}/virtual-machines").status_code == 401,
        seconds=_CACHE_SECONDS + 10,
        what="the token is refused",
    )
    forged = vai.client(f"{token[:-4]}AAAA")
    problem(forged.get(f"{API}/virtual-machines"), 401, "unauthenticated")
