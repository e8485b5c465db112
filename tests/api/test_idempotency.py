"""The same request twice is one operation; the same key for another request is refused."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.api.installation import API, SMALL, Installation, problem

Json = dict[str, Any]
Create = Callable[..., Json]
MACHINES = f"{API}/virtual-machines"
CLIENTS = 8


def _body(**changes: Any) -> Json:
    return {"name": "web-1", "datacenter": "berlin", "image": "debian-12", **SMALL, **changes}


def _post(client: FlaskClient, key: str | None, path: str = MACHINES, body: Json | None = None) -> TestResponse:
    headers = {"Idempotency-Key": key} if key else {}
    return client.post(path, json=_body() if body is None else body, headers=headers)


def _at_once(vai: Installation, token: str, posts: list[Callable[[FlaskClient], TestResponse]]) -> list[TestResponse]:
    start = Barrier(len(posts))

    def run(post: Callable[[FlaskClient], TestResponse]) -> TestResponse:
        client = vai.client(token)
        start.wait()
        return post(client)

    with ThreadPoolExecutor(len(posts)) as threads:
        return list(threads.map(run, posts))


@pytest.mark.usefixtures("berlin")
def test_the_same_request_under_the_same_key_is_the_same_operation(vai: Installation, ann: FlaskClient) -> None:
    first, second = _post(ann, "key-1"), _post(ann, "key-1")
    assert (first.status_code, second.status_code) == (202, 202)
    assert first.json == second.json
    assert first.headers["Location"] == second.headers["Location"]
    vai.run()
    assert vai.control("berlin").names() == ["web-1"]


@pytest.mark.usefixtures("berlin")
def test_a_repeated_request_after_the_end_shows_how_the_operation_ended(vai: Installation, ann: FlaskClient) -> None:
    first = _post(ann, "key-1")
    vai.run()
    again = _post(ann, "key-1")
    assert (again.status_code, again.json["id"], again.json["state"]) == (202, first.json["id"], "succeeded")
    assert vai.control("berlin").names() == ["web-1"]


@pytest.mark.usefixtures("berlin")
@pytest.mark.parametrize(
    "changes", [{"name": "web-2"}, {"cpus": 2}, {"labels": {"a": "b"}}, {"power_on": False}, {"image": None}]
)
def test_the_same_key_with_another_body_is_refused(ann: FlaskClient, changes: Json) -> None:
    first = _post(ann, "key-1")
    refused = problem(_post(ann, "key-1", body=_body(**changes)), 422, "idempotency-key-reused")
    assert first.json["id"] in refused["detail"]
    assert len(ann.get(MACHINES).json["items"]) == 1


@pytest.mark.usefixtures("berlin", "madrid")
def test_the_same_key_for_another_datacenter_is_refused(ann: FlaskClient) -> None:
    _post(ann, "key-1")
    problem(_post(ann, "key-1", body=_body(datacenter="madrid")), 422, "idempotency-key-reused")


def test_the_same_key_for_another_action_is_refused(ann: FlaskClient, create: Create) -> None:
    address = f"{MACHINES}/{create()['id']}/actions"
    assert _post(ann, "key-1", f"{address}/power", {"action": "stop"}).status_code == 202
    problem(_post(ann, "key-1", f"{address}/resize", SMALL), 422, "idempotency-key-reused")


def test_the_same_key_for_another_machine_is_refused(ann: FlaskClient, create: Create) -> None:
    first, second = create("web-1"), create("web-2")
    assert _post(ann, "key-1", f"{MACHINES}/{first['id']}/actions/power", {"action": "stop"}).status_code == 202
    response = _post(ann, "key-1", f"{MACHINES}/{second['id']}/actions/power", {"action": "stop"})
    problem(response, 422, "idempotency-key-reused")


def test_a_repeated_action_on_a_busy_machine_is_the_same_operation(ann: FlaskClient, create: Create) -> None:
    address = f"{MACHINES}/{create()['id']}/actions/power"
    first = _post(ann, "key-1", address, {"action": "stop"})
    assert _post(ann, "key-1", address, {"action": "stop"}).json["id"] == first.json["id"]
    problem(_post(ann, "key-2", address, {"action": "stop"}), 409, "machine-busy")


def test_a_repeated_deletion_is_the_same_operation_also_after_its_end(
    vai: Installation, ann: FlaskClient, create: Create
) -> None:
    address, headers = f"{MACHINES}/{create()['id']}", {"Idempotency-Key": "key-1"}
    first = ann.delete(address, headers=headers)
    assert ann.delete(address, headers=headers).json["id"] == first.json["id"]
    vai.run()
    again = ann.delete(address, headers=headers)
    assert (again.status_code, again.json["id"]) == (202, first.json["id"])


@pytest.mark.usefixtures("berlin")
def test_another_tenant_may_use_the_same_key(ann: FlaskClient, eve: FlaskClient) -> None:
    hers, theirs = _post(ann, "key-1"), _post(eve, "key-1", body=_body(name="other"))
    assert (hers.status_code, theirs.status_code) == (202, 202)
    assert hers.json["id"] != theirs.json["id"]


@pytest.mark.usefixtures("berlin")
def test_without_a_key_each_request_is_its_own(ann: FlaskClient) -> None:
    assert _post(ann, None).status_code == 202
    problem(_post(ann, None), 409, "name-taken")


@pytest.mark.usefixtures("berlin")
def test_clients_that_send_one_key_at_once_get_one_operation_and_one_machine(vai: Installation) -> None:
    token = vai.token("ann", "acme")
    answers = _at_once(vai, token, [lambda client: _post(client, "key-1")] * CLIENTS)
    assert {answer.status_code for answer in answers} == {202}, [answer.text for answer in answers]
    assert len({answer.json["id"] for answer in answers}) == 1
    vai.run()
    assert vai.control("berlin").names() == ["web-1"]
    assert len(vai.client(token).get(f"{API}/operations").json["items"]) == 1


@pytest.mark.usefixtures("berlin")
def test_of_clients_that_send_one_key_with_different_bodies_at_once_one_is_accepted(vai: Installation) -> None:
    token = vai.token("ann", "acme")
    posts = [lambda client, n=n: _post(client, "key-1", body=_body(name=f"web-{n}")) for n in range(CLIENTS)]
    answers = _at_once(vai, token, posts)
    assert sorted(answer.status_code for answer in answers) == [202] + [422] * (CLIENTS - 1)
    vai.run()
    assert len(vai.control("berlin").names()) == 1


@pytest.mark.usefixtures("berlin")
def test_of_clients_that_want_one_name_at_once_one_gets_it(vai: Installation) -> None:
    token = vai.token("ann", "acme")
    answers = _at_once(vai, token, [lambda client, n=n: _post(client, f"key-{n}") for n in range(CLIENTS)])
    assert sorted(answer.status_code for answer in answers) == [202] + [409] * (CLIENTS - 1)
    vai.run()
    assert vai.control("berlin").names() == ["web-1"]


def test_of_clients_that_order_one_machine_at_once_one_is_accepted(vai: Installation, create: Create) -> None:
    token, address = vai.token("ann", "acme"), f"{MACHINES}/{create()['id']}/actions/power"
    posts = [lambda client, n=n: _post(client, f"key-{n}", address, {"action": "stop"}) for n in range(CLIENTS)]
    answers = _at_once(vai, token, posts)
    assert sorted(answer.status_code for answer in answers) == [202] + [409] * (CLIENTS - 1)
    vai.run()
    assert vai.client(token).get(address.removesuffix("/actions/power")).json["observed"]["power"] == "off"
