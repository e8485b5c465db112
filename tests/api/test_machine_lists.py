"""Lists of machines: filters, pages and their tokens."""

from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import pytest
from flask.testing import FlaskClient

from tests.api.installation import API, Installation, problem

Json = dict[str, Any]
Create = Callable[..., Json]
MACHINES = f"{API}/virtual-machines"


def _names(client: FlaskClient, **query: Any) -> list[str]:
    response = client.get(f"{MACHINES}?{urlencode(query)}")
    assert response.status_code == 200, response.text
    return [each["name"] for each in response.json["items"]]


@pytest.fixture
def three(vai: Installation, create: Create) -> list[Json]:
    """web-1 runs, web-2 is off, db-1 could not be made."""
    made = [create("web-1"), create("web-2", power_on=False), create("db-1", image="no-such-image")]
    vai.reconcile("berlin")
    return made


@pytest.mark.usefixtures("three")
@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, ["web-1", "web-2", "db-1"]),
        ({"name": "web-2"}, ["web-2"]),
        ({"name": "web"}, []),
        ({"name_prefix": "web"}, ["web-1", "web-2"]),
        ({"name_prefix": "x"}, []),
        ({"state": "failed"}, ["db-1"]),
        ({"state": "active"}, ["web-1", "web-2"]),
        ({"power": "on"}, ["web-1"]),
        ({"power": "off"}, ["web-2"]),
        ({"datacenter": "berlin", "power": "off"}, ["web-2"]),
        ({"managed": "true"}, ["web-1", "web-2", "db-1"]),
        ({"managed": "false"}, []),
    ],
)
def test_a_filter_lists_what_fits_in_order_of_creation(ann: FlaskClient, query: Json, expected: list[str]) -> None:
    assert _names(ann, **query) == expected


@pytest.mark.usefixtures("three")
def test_a_list_by_datacenter_holds_no_machine_of_another(ann: FlaskClient, madrid: Json) -> None:
    assert _names(ann, datacenter="madrid") == _names(ann, datacenter=madrid["id"]) == []


def test_a_list_of_an_unknown_datacenter_is_not_found(ann: FlaskClient) -> None:
    assert "atlantis" in problem(ann.get(f"{MACHINES}?datacenter=atlantis"), 404, "not-found")["detail"]


def test_deleted_machines_are_listed_only_on_demand(vai: Installation, ann: FlaskClient, three: list[Json]) -> None:
    assert ann.delete(f"{MACHINES}/{three[0]['id']}").status_code == 202
    vai.run()
    assert _names(ann) == ["web-2", "db-1"]
    assert _names(ann, include_deleted="true") == ["web-1", "web-2", "db-1"]
    assert _names(ann, state="deleted") == ["web-1"]


def test_strangers_are_listed_to_administrators_alone(
    vai: Installation, admin: FlaskClient, ann: FlaskClient, three: list[Json]
) -> None:
    vai.control("berlin").add_stranger("stranger")
    vai.reconcile("berlin")
    assert _names(admin, managed="false") == ["stranger"]
    assert len(_names(admin)) == len(three) + 1
    assert _names(ann, managed="false") == []


@pytest.mark.usefixtures("berlin")
@pytest.mark.parametrize("page_size", [1, 2, 3, 5, 7, 500])
def test_pages_together_show_every_machine_once(vai: Installation, ann: FlaskClient, page_size: int) -> None:
    expected = [f"m-{number}" for number in range(7)]
    for name in expected:
        body = {"name": name, "datacenter": "berlin", "cpus": 1, "memory_mib": 64}
        assert ann.post(MACHINES, json=body).status_code == 202
    vai.run()
    found: list[str] = []
    query: Json = {"page_size": page_size}
    for _ in range(len(expected) + 1):
        page = ann.get(f"{MACHINES}?{urlencode(query)}").json
        assert len(page["items"]) <= page_size
        found += [each["name"] for each in page["items"]]
        if page["next_page_token"] is None:
            break
        query["page_token"] = page["next_page_token"]
    assert found == expected


@pytest.mark.usefixtures("three")
def test_a_machine_made_between_two_pages_moves_nothing(ann: FlaskClient, create: Create) -> None:
    first = ann.get(f"{MACHINES}?page_size=2").json
    create("late-1")
    second = ann.get(f"{MACHINES}?page_size=2&page_token={first['next_page_token']}").json
    assert [each["name"] for each in second["items"]] == ["db-1", "late-1"]


@pytest.mark.parametrize("listed", ["virtual-machines", "operations", "events"])
@pytest.mark.parametrize("token", ["x", "e30", "W10", "WzFd", "WyJhIiwiYiIsImMiXQ", "%00", "ö", "A" * 512])
def test_a_token_that_no_page_gave_is_refused(ann: FlaskClient, listed: str, token: str) -> None:
    refused = problem(ann.get(f"{API}/{listed}?page_token={token}"), 422, "invalid-request")
    assert [each["field"] for each in refused["errors"]] == ["page_token"]


@pytest.mark.parametrize(
    ("listed", "query", "field"),
    [
        ("virtual-machines", "page_size=0", "page_size"),
        ("virtual-machines", "page_size=501", "page_size"),
        ("virtual-machines", "page_size=many", "page_size"),
        ("virtual-machines", f"page_token={'A' * 513}", "page_token"),
        ("virtual-machines", "state=broken", "state"),
        ("virtual-machines", "power=high", "power"),
        ("virtual-machines", "managed=perhaps", "managed"),
        ("virtual-machines", "name=", "name"),
        ("virtual-machines", "name=%00", "name"),
        ("virtual-machines", f"name_prefix={'x' * 256}", "name_prefix"),
        ("virtual-machines", "datacenter=a%20b", "datacenter"),
        ("virtual-machines", "include_deleted=2", "include_deleted"),
        ("virtual-machines", "colour=red", "colour"),
        ("virtual-machines", "name=a&name=b", "name"),
        ("operations", "state=active", "state"),
        ("operations", "kind=make_coffee", "kind"),
        ("operations", "machine=a%2Fb", "machine"),
        ("operations", "open=ajar", "open"),
        ("operations", "tenant=rival", "tenant"),
        ("events", "kind=A", "kind"),
        ("events", "since=yesterday", "since"),
        ("events", "since=1700000000", "since"),
        ("events", "since=2026-01-01", "since"),
        ("events", "since=2026-01-01T00:00:00", "since"),
        ("events", "until=0.5", "until"),
        ("events", "until=2026-13-01T00:00:00Z", "until"),
        ("events", "operation=%20", "operation"),
        ("hosts", "datacenter=", "datacenter"),
        ("hosts", "page_size=1", "page_size"),
        ("images", "name=debian", "name"),
    ],
)
def test_a_wrong_query_is_refused_by_the_name_of_the_field(
    ann: FlaskClient, listed: str, query: str, field: str
) -> None:
    refused = problem(ann.get(f"{API}/{listed}?{query}"), 422, "invalid-request")
    assert [each["field"] for each in refused["errors"]] == [field]
    assert field in refused["detail"] or "twice" in refused["detail"]
