"""Operations: how they are listed, followed, cancelled and resent."""

from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.api.installation import API, SMALL, Installation, problem
from vai_app.domain.errors import ProviderError, ProviderUnavailable

Json = dict[str, Any]
Create = Callable[..., Json]
OPERATIONS = f"{API}/operations"


def _create(client: FlaskClient, name: str = "web-1", datacenter: str = "berlin") -> Json:
    body = {"name": name, "datacenter": datacenter, "image": "debian-12", **SMALL}
    response = client.post(f"{API}/virtual-machines", json=body)
    assert response.status_code == 202, response.text
    operation: Json = response.json
    return operation


def _ids(client: FlaskClient, query: str = "") -> list[str]:
    response = client.get(f"{OPERATIONS}?{query}")
    assert response.status_code == 200, response.text
    return [each["id"] for each in response.json["items"]]


@pytest.mark.usefixtures("berlin")
def test_operations_are_listed_newest_first_page_by_page(ann: FlaskClient) -> None:
    made = [_create(ann, f"web-{number}")["id"] for number in range(5)]
    assert _ids(ann) == made[::-1]
    first = ann.get(f"{OPERATIONS}?page_size=3").json
    assert [each["id"] for each in first["items"]] == made[:1:-1]
    assert _ids(ann, f"page_size=3&page_token={first['next_page_token']}") == made[1::-1]


@pytest.mark.usefixtures("madrid")
def test_operations_are_filtered(vai: Installation, ann: FlaskClient, create: Create) -> None:
    machine = create("web-1")
    created = _ids(ann)[0]
    assert ann.delete(f"{API}/virtual-machines/{machine['id']}").status_code == 202
    deleted = _ids(ann)[0]
    elsewhere = _create(ann, "web-2", "madrid")["id"]
    assert _ids(ann, "open=true") == [elsewhere, deleted]
    assert _ids(ann, "open=false") == _ids(ann, "state=succeeded") == [created]
    assert _ids(ann, "kind=delete_vm") == [deleted]
    assert _ids(ann, f"machine={machine['id']}") == [deleted, created]
    assert _ids(ann, "datacenter=madrid") == _ids(ann, "state=pending&kind=create_vm") == [elsewhere]
    assert _ids(ann, "state=failed") == []
    vai.run()
    assert _ids(ann, "open=true") == []


def test_an_operation_that_never_was_is_not_found(ann: FlaskClient) -> None:
    assert "op-nowhere" in problem(ann.get(f"{OPERATIONS}/op-nowhere"), 404, "not-found")["detail"]


@pytest.mark.usefixtures("berlin")
def test_an_operation_shows_how_far_it_came(vai: Installation, ann: FlaskClient) -> None:
    operation = _create(ann)
    vai.run_step(operation["id"])
    shown = ann.get(f"{OPERATIONS}/{operation['id']}").json
    done = [(each["step"], each["event"]) for each in shown["history"]]
    assert shown["state"] == "running"
    assert done == [(step, "done") for step in shown["plan"][: shown["plan"].index(shown["step"])]]
    assert len(done) in range(1, len(shown["plan"]))
    vai.run()
    shown = ann.get(f"{OPERATIONS}/{operation['id']}").json
    assert (shown["state"], shown["step"], shown["waiting_for"]) == ("succeeded", None, None)
    assert shown["created_at"] < shown["finished_at"] < shown["deadline"]


@pytest.mark.usefixtures("berlin")
def test_an_operation_that_waits_for_its_datacenter_says_so_and_goes_on(vai: Installation, ann: FlaskClient) -> None:
    vai.control("berlin").inject("request_create", ProviderUnavailable("The datacenter is being upgraded."), times=1)
    operation = _create(ann)
    shown = operation
    while shown["waiting_for"] is None:
        vai.run_step(operation["id"])
        shown = ann.get(f"{OPERATIONS}/{operation['id']}").json
    assert (shown["state"], shown["step"], shown["problem"]) == ("running", "vai.create_vm", None)
    assert shown["waiting_for"] == {
        "type": "/problems/provider-unavailable",
        "title": "The datacenter cannot be reached",
        "detail": "The datacenter is being upgraded.",
        "step": "vai.create_vm",
    }
    vai.run()
    assert ann.get(f"{OPERATIONS}/{operation['id']}").json["state"] == "succeeded"


@pytest.mark.usefixtures("berlin")
def test_what_a_failed_undo_leaves_is_shown_as_residue(vai: Installation, ann: FlaskClient) -> None:
    control = vai.control("berlin")
    control.inject("power", ProviderError("The host lost its disk."), as_task=True)
    control.inject("delete", ProviderError("The disk cannot be unlinked."), as_task=True)
    operation = _create(ann)
    vai.run()
    shown = ann.get(f"{OPERATIONS}/{operation['id']}").json
    assert (shown["state"], shown["problem"]["detail"]) == ("failed", "The host lost its disk.")
    assert shown["residue"] == ["vai.create_vm: The disk cannot be unlinked."]


@pytest.mark.usefixtures("berlin")
@pytest.mark.parametrize("steps", [0, 1, 2, 3])
def test_a_creation_is_cancelled_at_every_step_and_leaves_nothing(
    vai: Installation, ann: FlaskClient, steps: int
) -> None:
    operation = _create(ann)
    for _ in range(steps):
        vai.run_step(operation["id"])
    response = ann.post(f"{OPERATIONS}/{operation['id']}/cancel")
    assert (response.status_code, response.json["cancel_requested"]) == (202, True)
    assert response.headers["Location"] == f"{OPERATIONS}/{operation['id']}"
    vai.run()
    shown = ann.get(f"{OPERATIONS}/{operation['id']}").json
    assert (shown["state"], shown["problem"]["type"]) == ("cancelled", "/problems/cancelled")
    assert vai.control("berlin").names() == []
    assert ann.get(f"{API}/virtual-machines/{operation['machine_id']}").json["state"] == "failed"


@pytest.mark.usefixtures("berlin")
def test_a_wish_to_cancel_may_be_repeated(vai: Installation, ann: FlaskClient) -> None:
    operation = _create(ann)
    for _ in range(2):
        assert ann.post(f"{OPERATIONS}/{operation['id']}/cancel").status_code == 202
    vai.run()


@pytest.mark.usefixtures("create")
def test_an_operation_that_has_ended_cannot_be_cancelled(ann: FlaskClient, create: Create) -> None:
    create()
    response = ann.post(f"{OPERATIONS}/{_ids(ann)[0]}/cancel")
    assert "succeeded" in problem(response, 409, "conflict")["detail"]


def test_a_deletion_cannot_be_turned_back(vai: Installation, ann: FlaskClient, create: Create) -> None:
    operation = ann.delete(f"{API}/virtual-machines/{create()['id']}").json
    problem(ann.post(f"{OPERATIONS}/{operation['id']}/cancel"), 409, "conflict")
    vai.run()
    assert ann.get(f"{OPERATIONS}/{operation['id']}").json["state"] == "succeeded"


@pytest.mark.usefixtures("berlin")
def test_a_resent_operation_is_published_again_and_still_done_once(
    vai: Installation, admin: FlaskClient, ann: FlaskClient
) -> None:
    operation = _create(ann)
    assert admin.post(f"{OPERATIONS}/{operation['id']}/resend").status_code == 202
    assert [each for _, each in vai.dispatcher.published] == [operation["id"]] * 2
    vai.run()
    assert ann.get(f"{OPERATIONS}/{operation['id']}").json["state"] == "succeeded"
    assert vai.control("berlin").names() == ["web-1"]


def test_an_operation_that_has_ended_cannot_be_resent(admin: FlaskClient, create: Create) -> None:
    create()
    problem(admin.post(f"{OPERATIONS}/{_ids(admin)[0]}/resend"), 409, "conflict")


@pytest.mark.usefixtures("berlin")
def test_an_operation_bears_the_correlation_id_of_its_request(ann: FlaskClient) -> None:
    body = {"name": "web-1", "datacenter": "berlin", **SMALL}
    response = ann.post(f"{API}/virtual-machines", json=body, headers={"X-Request-ID": "ticket-4711"})
    assert (response.headers["X-Request-ID"], response.json["correlation_id"]) == ("ticket-4711", "ticket-4711")
