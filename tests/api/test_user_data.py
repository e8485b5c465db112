"""User data reaches the guest and nobody else, and a repeated request is known by it."""

import base64
from collections.abc import Callable
from typing import Any

import bson
import pytest
from flask.testing import FlaskClient

from tests.api.installation import API, SMALL, Installation, problem
from vai_app.domain.hypervisor import Capability
from vai_app.drivers.simulated.driver import SimulatedHypervisor
from vai_app.store.documents import DOCUMENTS, UserDataDocument, collection_of

Json = dict[str, Any]
Create = Callable[..., Json]
MACHINES = f"{API}/virtual-machines"
PASSWORD = "correct-horse-battery"


def told(text: str = f"#cloud-config\npassword: {PASSWORD}\n") -> str:
    return base64.b64encode(text.encode()).decode()


def body(**changes: Any) -> Json:
    return {"name": "web-1", "datacenter": "berlin", "image": "debian-12", **SMALL, "user_data": told(), **changes}


def test_a_machine_is_told_its_user_data_which_is_then_forgotten(vai: Installation, create: Create) -> None:
    machine = create(user_data=told())
    assert vai.control("berlin").user_data(machine["provider_ref"]) == told()
    assert collection_of(UserDataDocument).count_documents({}) == 0


@pytest.mark.usefixtures("berlin")
def test_no_document_and_no_answer_shows_user_data_at_any_time(vai: Installation, ann: FlaskClient) -> None:
    def readable() -> list[str]:
        documents = [bson.encode(each) for kind in DOCUMENTS for each in collection_of(kind).find()]
        assert documents
        return [text for text in (PASSWORD, told()) if any(text.encode() in each for each in documents)]

    accepted = ann.post(MACHINES, json=body(), headers={"Idempotency-Key": "key-1"})
    assert readable() == []
    vai.run()
    assert readable() == []
    for path in ("operations", "events", "virtual-machines"):
        answered = ann.get(f"{API}/{path}").get_data(as_text=True)
        assert PASSWORD not in answered
        assert told() not in answered
    assert told() not in accepted.get_data(as_text=True)


@pytest.mark.usefixtures("berlin")
def test_a_repeated_request_is_recognised_by_its_user_data(vai: Installation, ann: FlaskClient) -> None:
    key = {"Idempotency-Key": "key-1"}
    first = ann.post(MACHINES, json=body(), headers=key)
    assert ann.post(MACHINES, json=body(), headers=key).json["id"] == first.json["id"]
    problem(ann.post(MACHINES, json=body(user_data=told("other")), headers=key), 422, "idempotency-key-reused")
    problem(ann.post(MACHINES, json=body(user_data=None), headers=key), 422, "idempotency-key-reused")
    vai.run()
    assert vai.control("berlin").names() == ["web-1"]


@pytest.mark.usefixtures("berlin")
def test_a_repeated_request_brings_the_user_data_that_was_lost_with_the_first(
    vai: Installation, ann: FlaskClient
) -> None:
    key = {"Idempotency-Key": "key-1"}
    first = ann.post(MACHINES, json=body(), headers=key)
    collection_of(UserDataDocument).delete_many({})  # the API died before it had kept it
    assert ann.post(MACHINES, json=body(), headers=key).json["id"] == first.json["id"]
    vai.run()
    ended = ann.get(f"{API}/operations/{first.json['id']}").json
    assert ended["state"] == "succeeded"
    assert collection_of(UserDataDocument).count_documents({}) == 0


@pytest.mark.usefixtures("berlin")
def test_no_machine_is_made_without_the_user_data_that_was_asked_for(vai: Installation, ann: FlaskClient) -> None:
    asked = ann.post(MACHINES, json=body())
    collection_of(UserDataDocument).delete_many({})
    vai.run()
    ended = ann.get(f"{API}/operations/{asked.json['id']}").json
    assert (ended["state"], ended["problem"]["detail"]) == (
        "failed",
        "The machine's user data is not kept any more. Ask for the machine anew.",
    )
    assert vai.control("berlin").names() == []


def test_a_datacenter_that_cannot_tell_it_says_so_before_anything_is_made(
    vai: Installation, ann: FlaskClient, berlin: Json, monkeypatch: pytest.MonkeyPatch
) -> None:
    able = SimulatedHypervisor.capabilities - {Capability.USER_DATA}
    monkeypatch.setattr(SimulatedHypervisor, "capabilities", able)
    vai.reconcile("berlin")
    explained = ann.post(f"{MACHINES}?dry_run=true", json=body()).json
    failed = [each for each in explained["datacenters"][0]["checks"] if not each["passed"]]
    assert [each["name"] for each in failed] == ["capability"]
    assert "user-data" in failed[0]["detail"]
    assert explained["asked"] == berlin["id"]
    asked = ann.post(MACHINES, json=body())
    vai.run()
    assert ann.get(f"{API}/operations/{asked.json['id']}").json["state"] == "rejected"
    assert vai.control("berlin").names() == []


@pytest.mark.usefixtures("berlin")
@pytest.mark.parametrize("wrong", ["", "abc", "a===", "#cloud-config", "YWJj\n", "A" * 65_536])
def test_what_is_no_base64_or_too_long_is_refused(ann: FlaskClient, wrong: str) -> None:
    problem(ann.post(MACHINES, json=body(user_data=wrong)), 422, "invalid-request")
