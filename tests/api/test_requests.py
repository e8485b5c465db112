"""Bodies that cannot be taken: not JSON, too large, wrong in each field."""

from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.api.installation import API, SMALL, Installation, problem

Json = dict[str, Any]

MACHINE = {"name": "web-1", "datacenter": "berlin", "image": "debian-12", **SMALL}
DATACENTER = {"name": "oslo", "kind": "simulated", "endpoint": "simulated:///nowhere/oslo.db"}

TAKES_A_BODY = (
    ("post", "virtual-machines"),
    ("post", "virtual-machines/vm-1/actions/power"),
    ("post", "virtual-machines/vm-1/actions/resize"),
    ("post", "virtual-machines/vm-1/actions/migrate"),
    ("post", "virtual-machines/vm-1/snapshots"),
    ("post", "virtual-machines/vm-1/actions/adopt"),
    ("post", "datacenters"),
    ("patch", "datacenters/berlin"),
)


@pytest.fixture(params=TAKES_A_BODY, ids=lambda each: f"{each[0]}-{each[1].rpartition('/')[2]}")
def send(request: pytest.FixtureRequest, admin: FlaskClient) -> Callable[..., Any]:
    """Send something to each resource that takes a body."""
    method, path = request.param
    return lambda **what: getattr(admin, method)(f"{API}/{path}", headers={"If-Match": '"1"'}, **what)


@pytest.mark.parametrize("body", [b"", b"{", b"name=web-1", b"\xff\xfe", b'{"name": "web-1",}', b"{'name': 1}"])
def test_a_body_that_is_not_json_is_malformed(send: Callable[..., Any], body: bytes) -> None:
    problem(send(data=body, content_type="application/json"), 400, "malformed-body")


@pytest.mark.parametrize("body", ["[]", "null", "1", '"web-1"', "true"])
def test_a_body_that_is_no_object_is_not_valid(send: Callable[..., Any], body: str) -> None:
    refused = problem(send(data=body, content_type="application/json"), 422, "invalid-request")
    assert refused["errors"][0]["field"] == "body"


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "application/xml", None])
def test_a_body_of_another_type_is_not_supported(send: Callable[..., Any], content_type: str | None) -> None:
    problem(send(data=b"{}", content_type=content_type), 415, "unsupported-media-type")


def test_a_body_in_json_with_a_character_set_is_read(send: Callable[..., Any]) -> None:
    response = send(data=b'{"nonsense": 1}', content_type="application/json; charset=utf-8")
    assert "nonsense" in str(problem(response, 422, "invalid-request")["errors"])


def test_a_body_that_is_too_large_is_refused(vai: Installation, send: Callable[..., Any]) -> None:
    body = b'{"name": "%s"}' % (b"x" * vai.services.settings.largest_body_bytes)
    problem(send(data=body, content_type="application/json"), 413, "body-too-large")


def test_a_field_that_nobody_knows_is_refused(send: Callable[..., Any]) -> None:
    refused = problem(send(json={"nonsense": 1}), 422, "invalid-request")
    assert "nonsense" in [each["field"] for each in refused["errors"]]


def test_numbers_that_json_does_not_have_are_refused(send: Callable[..., Any]) -> None:
    response = send(data=b'{"cpus": NaN, "call_timeout_seconds": Infinity}', content_type="application/json")
    assert response.status_code in (400, 422), response.text


@pytest.mark.parametrize("depth", [300, 100_000])
def test_a_body_nested_without_end_is_refused(send: Callable[..., Any], depth: int) -> None:
    response = send(data=b'{"options": ' + b"[" * depth + b"]" * depth + b"}", content_type="application/json")
    assert response.status_code in (400, 413, 422), response.text


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""), ("name", "Web"), ("name", "-web"), ("name", "web-"), ("name", "web_1"), ("name", "x" * 64),
        ("name", "web\n"), ("name", 1), ("name", None), ("name", ["web"]), ("name", "wéb"),
        ("datacenter", ""), ("datacenter", "a/b"), ("datacenter", "x" * 129), ("datacenter", None), ("datacenter", 7),
        ("cpus", 0), ("cpus", -1), ("cpus", 1025), ("cpus", 1.5), ("cpus", "2"), ("cpus", True), ("cpus", None),
        ("memory_mib", 63), ("memory_mib", 16_777_217), ("memory_mib", "1024"), ("memory_mib", 10**30),
        ("disk_gib", -1), ("disk_gib", 65_537), ("disk_gib", 0.5), ("disk_gib", None),
        ("image", ""), ("image", "a\x00b"), ("image", "x" * 256), ("image", 1),
        ("networks", "default"), ("networks", None), ("networks", ["n"] * 11),
        ("networks.0", [""]), ("networks.0", [1]), ("networks.0", ["a\tb"]),
        ("location", "rack-1"), ("location", None), ("location.rack", {"rack": "1"}), ("location.host", {"host": ""}),
        ("location.cluster", {"cluster": 1}), ("location.datastore", {"datastore": "x" * 256}),
        ("power_on", "yes"), ("power_on", 1), ("power_on", None),
        ("labels", []), ("labels", None), ("labels", {f"label{n}": "" for n in range(65)}),
        ("labels.a", {"a": 1}), ("labels.a", {"a": "x" * 256}), ("labels.a", {"a": "x\ny"}),
        ("labels..[key]", {"": "x"}), ("labels.a b.[key]", {"a b": "x"}), ("labels.$set.[key]", {"$set": "x"}),
        ("tenant", "rival"), ("id", "vm-1"), ("state", "active"), ("mark", {}),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("berlin")
def test_a_machine_that_is_wrong_in_one_field_is_refused_by_its_name(ann: FlaskClient, field: str, value: Any) -> None:
    body = MACHINE | {field.partition(".")[0]: value}
    refused = problem(ann.post(f"{API}/virtual-machines", json=body), 422, "invalid-request")
    assert [each["field"] for each in refused["errors"]] == [field]
    assert ann.get(f"{API}/operations").json["items"] == []


@pytest.mark.parametrize("field", ["name", "datacenter", "cpus", "memory_mib"])
def test_a_machine_without_what_it_needs_is_refused_by_the_missing_name(ann: FlaskClient, field: str) -> None:
    body = {name: value for name, value in MACHINE.items() if name != field}
    refused = problem(ann.post(f"{API}/virtual-machines", json=body), 422, "invalid-request")
    assert [each["field"] for each in refused["errors"]] == [field]


def test_every_wrong_field_is_named_at_once(ann: FlaskClient) -> None:
    refused = problem(
        ann.post(f"{API}/virtual-machines", json=MACHINE | {"cpus": 0, "name": ""}), 422, "invalid-request"
    )
    assert {each["field"] for each in refused["errors"]} == {"cpus", "name"}


@pytest.mark.parametrize(
    ("action", "body", "field"),
    [
        ("power", {}, "action"),
        ("power", {"action": "explode"}, "action"),
        ("power", {"action": None}, "action"),
        ("power", {"action": "START"}, "action"),
        ("power", {"action": "start", "force": True}, "force"),
        ("resize", {"cpus": 1}, "memory_mib"),
        ("resize", {"cpus": 0, "memory_mib": 64}, "cpus"),
        ("resize", {"cpus": 1, "memory_mib": 63}, "memory_mib"),
        ("resize", {"cpus": 1, "memory_mib": 64, "disk_gib": -1}, "disk_gib"),
        ("resize", {"cpus": 1, "memory_mib": 64, "gpus": 1}, "gpus"),
        ("adopt", {"tenant": ""}, "tenant"),
        ("adopt", {"tenant": 1}, "tenant"),
        ("adopt", {"tenant": "a b"}, "tenant"),
        ("adopt", {"owner": "acme"}, "owner"),
    ],
)
def test_an_action_that_is_wrong_in_one_field_is_refused_by_its_name(
    admin: FlaskClient, action: str, body: Json, field: str
) -> None:
    refused = problem(admin.post(f"{API}/virtual-machines/vm-1/actions/{action}", json=body), 422, "invalid-request")
    assert [each["field"] for each in refused["errors"]] == [field]


_WRONG_IN_BOTH = [
    ("name", ""), ("name", "a b"), ("name", "-a"), ("name", "x" * 64), ("name", 1),
    ("endpoint", ""), ("endpoint", "no url"), ("endpoint", "https://a b"), ("endpoint", "x:/" + "y" * 1024),
    ("credentials", []), ("credentials.password", {"password": 1}), ("credentials.password", {"password": None}),
    ("credentials.password", {"password": "x" * 4097}), ("credentials.Pass Word.[key]", {"Pass Word": "x"}),
    ("credentials", {f"a{'b' * n}": "x" for n in range(17)}),
    ("verify_tls", "no"), ("verify_tls", 0), ("ca_certificate", 1), ("ca_certificate", "x" * 65_537),
    ("call_timeout_seconds", 0), ("call_timeout_seconds", -1), ("call_timeout_seconds", 301),
    ("call_timeout_seconds", []), ("options", []), ("options", {f"option{n}": 1 for n in range(33)}),
    ("reachability", "reachable"), ("id", "dc-1"), ("revision", 7),
]  # fmt: skip


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *_WRONG_IN_BOTH,
        ("kind", ""), ("kind", "VMware"), ("kind", None), ("kind", "x" * 33),
        ("verify_now", "later"), ("name", None), ("endpoint", None), ("options", None), ("enabled", False),
    ],
)  # fmt: skip
def test_a_datacenter_that_is_wrong_in_one_field_is_refused_by_its_name(
    admin: FlaskClient, field: str, value: Any
) -> None:
    response = admin.post(f"{API}/datacenters", json=DATACENTER | {field.partition(".")[0]: value})
    assert [each["field"] for each in problem(response, 422, "invalid-request")["errors"]] == [field]
    assert admin.get(f"{API}/datacenters").json["items"] == []


@pytest.mark.parametrize(
    ("field", "value"), [*_WRONG_IN_BOTH, ("enabled", "yes"), ("enabled", 1), ("kind", "simulated")]
)
def test_a_change_of_a_datacenter_that_is_wrong_in_one_field_is_refused_by_its_name(
    admin: FlaskClient, berlin: Json, field: str, value: Any
) -> None:
    body = {field.partition(".")[0]: value}
    response = admin.patch(f"{API}/datacenters/berlin", json=body, headers={"If-Match": '"1"'})
    assert [each["field"] for each in problem(response, 422, "invalid-request")["errors"]] == [field]
    assert admin.get(f"{API}/datacenters/berlin").json == berlin


@pytest.mark.parametrize("key", ["", "a b", "x" * 129, "ümlaut"])
@pytest.mark.usefixtures("berlin")
def test_an_idempotency_key_that_cannot_be_one_is_refused(ann: FlaskClient, key: str) -> None:
    headers = {"Idempotency-Key": key}
    refused = problem(ann.post(f"{API}/virtual-machines", json=MACHINE, headers=headers), 422, "invalid-request")
    assert [each["field"] for each in refused["errors"]] == ["Idempotency-Key"]


def test_a_refusal_never_repeats_a_secret(admin: FlaskClient) -> None:
    body = DATACENTER | {"credentials": {"password": ["hunter2-secret"]}, "kind": "hunter2-SECRET"}
    response = admin.post(f"{API}/datacenters", json=body)
    assert response.status_code == 422
    assert "hunter2-secret" not in response.text
