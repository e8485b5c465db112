"""Events: who did what, when, with which outcome."""

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from flask.testing import FlaskClient

from tests.api.installation import API, SMALL, Installation, problem

Json = dict[str, Any]
Create = Callable[..., Json]
EVENTS = f"{API}/events"


def _listed(client: FlaskClient, query: str = "") -> list[Json]:
    response = client.get(f"{EVENTS}?{query}")
    assert response.status_code == 200, response.text
    items: list[Json] = response.json["items"]
    return items


@pytest.mark.spec(23)
@pytest.mark.usefixtures("berlin")
def test_the_end_of_an_operation_is_an_event_that_says_who_what_and_under_which_id(
    vai: Installation, ann: FlaskClient, berlin: Json
) -> None:
    body = {"name": "web-1", "datacenter": "berlin", **SMALL}
    operation = ann.post(f"{API}/virtual-machines", json=body, headers={"X-Request-ID": "ticket-4711"}).json
    vai.run()
    event = _listed(ann)[0]
    assert (event["kind"], event["outcome"], event["actor"]) == ("operation.succeeded", "succeeded", "ann")
    assert (event["correlation_id"], event["tenant"]) == ("ticket-4711", "acme")
    assert (event["operation_id"], event["machine_id"]) == (operation["id"], operation["machine_id"])
    assert event["datacenter_id"] == berlin["id"]
    assert "create_vm" in event["message"]


@pytest.mark.spec(23)
def test_a_failure_is_an_event_that_says_why(ann: FlaskClient, create: Create) -> None:
    create(image="no-such-image")
    event = _listed(ann)[0]
    assert (event["kind"], event["outcome"]) == ("operation.rejected", "rejected")
    assert "no-such-image" in event["message"]


@pytest.mark.spec(23)
@pytest.mark.usefixtures("berlin")
def test_what_an_administrator_does_to_a_datacenter_is_an_event(admin: FlaskClient) -> None:
    admin.patch(f"{API}/datacenters/berlin", json={"enabled": False}, headers={"If-Match": '"1"'})
    admin.delete(f"{API}/datacenters/berlin", headers={"If-Match": '"2"'})
    kinds = [each["kind"] for each in _listed(admin) if each["actor"] == "root"]
    assert kinds == ["datacenter.forgotten", "datacenter.changed", "datacenter.registered"]


def test_events_are_filtered(vai: Installation, ann: FlaskClient, admin: FlaskClient, create: Create) -> None:
    first, second = create("web-1"), create("web-2", image="no-such-image")
    operation = ann.get(f"{API}/operations?machine={first['id']}").json["items"][0]["id"]
    assert [each["machine_id"] for each in _listed(ann, f"machine={first['id']}")] == [first["id"]]
    assert [each["machine_id"] for each in _listed(ann, f"operation={operation}")] == [first["id"]]
    assert [each["machine_id"] for each in _listed(ann, "kind=operation.rejected")] == [second["id"]]
    assert [each["machine_id"] for each in _listed(ann, "datacenter=berlin")] == [second["id"], first["id"]]
    assert _listed(ann, "kind=machine.missing") == []
    assert admin.post(f"{API}/datacenters", json=vai.datacenter_body("oslo")).status_code == 201
    assert [each["kind"] for each in _listed(admin, "datacenter=oslo")] == ["datacenter.registered"]


def test_an_interval_begins_with_its_first_moment_and_ends_before_its_last(ann: FlaskClient, create: Create) -> None:
    for name in ("web-1", "web-2", "web-3"):
        create(name)
    newest, middle, oldest = (each["at"] for each in _listed(ann))
    assert newest > middle > oldest
    assert [each["at"] for each in _listed(ann, f"since={middle}")] == [newest, middle]
    assert [each["at"] for each in _listed(ann, f"until={middle}")] == [oldest]
    assert [each["at"] for each in _listed(ann, f"since={middle}&until={newest}")] == [middle]
    elsewhere = quote(middle.replace("Z", "+00:00"))
    assert [each["at"] for each in _listed(ann, f"since={elsewhere}")] == [newest, middle]


@pytest.mark.parametrize("bound", ["since", "until"])
@pytest.mark.parametrize("at", ["0001-01-01T00:00:00%2B14:00", "9999-12-31T23:59:59-14:00"])
def test_a_moment_beyond_the_calendar_is_refused(ann: FlaskClient, bound: str, at: str) -> None:
    refused = problem(ann.get(f"{EVENTS}?{bound}={at}"), 422, "invalid-request")
    assert [each["field"] for each in refused["errors"]] == [bound]


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00Z", "1969-12-31T23:59:59Z"])
def test_an_interval_may_begin_before_all_events(ann: FlaskClient, create: Create, at: str) -> None:
    create()
    assert len(_listed(ann, f"since={at}")) == 1
    assert _listed(ann, f"until={at}") == []


def test_events_are_listed_newest_first_page_by_page(ann: FlaskClient, create: Create) -> None:
    for number in range(5):
        create(f"web-{number}")
    everything = _listed(ann)
    assert [each["at"] for each in everything] == sorted((each["at"] for each in everything), reverse=True)
    page = ann.get(f"{EVENTS}?page_size=2").json
    found = page["items"]
    while page["next_page_token"]:
        page = ann.get(f"{EVENTS}?page_size=2&page_token={page['next_page_token']}").json
        found += page["items"]
    assert found == everything


def test_a_step_delivered_twice_leaves_one_event(vai: Installation, ann: FlaskClient, create: Create) -> None:
    machine = create()
    operation = ann.get(f"{API}/operations?machine={machine['id']}").json["items"][0]["id"]
    for step in vai.services.operations.get(operation, None).plan:
        assert vai.services.workflow.run_step(step, operation, "late") is None
    assert len(_listed(ann, f"operation={operation}")) == 1
