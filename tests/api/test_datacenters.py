"""Datacenters: registered, verified, changed, forgotten; credentials go in and never come out."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.api.installation import API, SMALL, Installation, problem
from vai_app.domain.errors import ProviderAuthenticationFailed, ProviderTimeout, ProviderUnavailable, VaiError
from vai_app.store.documents import DOCUMENTS, collection_of

Json = dict[str, Any]
Create = Callable[..., Json]
DATACENTERS = f"{API}/datacenters"
SECRET = "hunter2-secret"
GUARDED = {"options": {"username": "vai", "password": SECRET, "task_delay_seconds": 0}}


def _patch(client: FlaskClient, name: str, body: Json, revision: int | str | None = None) -> Any:
    if revision is None:
        revision = client.get(f"{DATACENTERS}/{name}").json["revision"]
    return client.patch(f"{DATACENTERS}/{name}", json=body, headers={"If-Match": f'"{revision}"'})


def test_a_registered_datacenter_is_shown_with_its_address_and_revision(vai: Installation, admin: FlaskClient) -> None:
    response = admin.post(DATACENTERS, json=vai.datacenter_body("oslo", call_timeout_seconds=12.5))
    assert response.status_code == 201, response.text
    assert response.headers["ETag"] == '"1"'
    shown = admin.get(response.headers["Location"])
    assert shown.json == response.json
    assert shown.headers["ETag"] == '"1"'
    assert (shown.json["name"], shown.json["kind"], shown.json["enabled"]) == ("oslo", "simulated", True)
    assert (shown.json["call_timeout_seconds"], shown.json["verify_tls"]) == (12.5, True)
    assert shown.json["product"] == "VAI simulated hypervisor 1"
    assert (shown.json["observed_at"], shown.json["problem"]) == (None, None)


def test_a_datacenter_is_found_by_id_and_by_name(admin: FlaskClient, berlin: Json) -> None:
    assert admin.get(f"{DATACENTERS}/{berlin['id']}").json == admin.get(f"{DATACENTERS}/berlin").json


@pytest.mark.usefixtures("berlin", "madrid")
def test_datacenters_are_listed_in_order_of_name(vai: Installation, admin: FlaskClient) -> None:
    assert admin.post(DATACENTERS, json=vai.datacenter_body("Athens")).status_code == 201
    assert [each["name"] for each in admin.get(DATACENTERS).json["items"]] == ["Athens", "berlin", "madrid"]


@pytest.mark.parametrize(("method", "path"), [
    ("get", ""), ("get", "/inventory"), ("get", "/capacity"), ("post", "/verify"), ("patch", ""), ("delete", ""),
])  # fmt: skip
def test_a_datacenter_that_never_was_is_not_found(admin: FlaskClient, method: str, path: str) -> None:
    body = {"enabled": False} if method == "patch" else None
    response = getattr(admin, method)(f"{DATACENTERS}/atlantis{path}", json=body, headers={"If-Match": '"1"'})
    assert "atlantis" in problem(response, 404, "not-found")["detail"]


@pytest.mark.usefixtures("berlin")
def test_a_name_is_registered_once(vai: Installation, admin: FlaskClient) -> None:
    body = vai.datacenter_body("berlin", endpoint=f"simulated://{vai.world('elsewhere')}")
    problem(admin.post(DATACENTERS, json=body), 409, "name-taken")
    assert len(admin.get(DATACENTERS).json["items"]) == 1


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"kind": "hyperv"}, "kind"),
        ({"endpoint": "https://vcenter"}, "endpoint"),
        ({"endpoint": "simulated://host/x.db"}, "endpoint"),
        ({"endpoint": "simulated://[/x.db"}, "endpoint"),
        ({"endpoint": "https://host:99999"}, "endpoint"),
        ({"options": {"clusters": 0}}, "options.clusters"),
        ({"options": {"colour": "red"}}, "options.colour"),
        ({"options": {"host_cpus": 10**30}}, "options.host_cpus"),
        ({"options": {"$where": 1}}, "options.$where"),
        ({"options": {"deep": [[[[[[]]]]]]}}, "options.deep"),
        ({"kind": "vmware", "endpoint": "simulated:///x.db", "options": {}}, "endpoint"),
        ({"kind": "vmware", "endpoint": "https://vcenter", "options": {}}, "credentials.username"),
    ],
)
@pytest.mark.parametrize("verify_now", [True, False])
def test_settings_that_the_driver_cannot_use_are_refused_verified_or_not(
    vai: Installation, admin: FlaskClient, changes: Json, field: str, *, verify_now: bool
) -> None:
    body = vai.datacenter_body("oslo") | changes | {"verify_now": verify_now}
    refused = problem(admin.post(DATACENTERS, json=body), 422, "invalid-request")
    assert field in [each["field"] for each in refused["errors"]]
    assert admin.get(DATACENTERS).json["items"] == []


def test_a_certificate_that_is_none_is_refused_by_its_name(vai: Installation, admin: FlaskClient) -> None:
    body = vai.datacenter_body("oslo") | {
        "kind": "vmware",
        "endpoint": "https://vcenter",
        "credentials": {"username": "vai", "password": SECRET},
        "ca_certificate": "-----BEGIN NONSENSE-----",
        "options": {},
        "verify_now": False,
    }
    response = admin.post(DATACENTERS, json=body)
    assert [each["field"] for each in problem(response, 422, "invalid-request")["errors"]] == ["ca_certificate"]


def test_a_datacenter_that_refuses_the_credentials_is_not_registered(vai: Installation, admin: FlaskClient) -> None:
    body = vai.datacenter_body("oslo", **GUARDED, credentials={"username": "vai", "password": "wrong-guess"})
    response = admin.post(DATACENTERS, json=body)
    problem(response, 502, "provider-authentication-failed")
    assert "wrong-guess" not in response.text
    assert admin.get(DATACENTERS).json["items"] == []


def test_a_datacenter_that_cannot_be_reached_is_not_registered(
    vai: Installation, admin: FlaskClient, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    body = vai.datacenter_body("oslo", endpoint=f"simulated://{tmp_path}/file/world.db")
    response = admin.post(DATACENTERS, json=body)
    problem(response, 503, "provider-unavailable")
    assert response.headers["Retry-After"]
    assert admin.get(DATACENTERS).json["items"] == []


def test_a_datacenter_that_cannot_be_reached_is_registered_unverified_on_demand(
    vai: Installation, admin: FlaskClient, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    endpoint = f"simulated://{tmp_path}/file/world.db"
    response = admin.post(DATACENTERS, json=vai.datacenter_body("oslo", endpoint=endpoint, verify_now=False))
    assert (response.status_code, response.json["reachability"]) == (201, "unknown")
    problem(admin.post(f"{DATACENTERS}/oslo/verify"), 503, "provider-unavailable")
    shown = admin.get(f"{DATACENTERS}/oslo").json
    assert shown["reachability"] == "unreachable"
    assert "file" in shown["problem"]


@pytest.mark.parametrize(
    ("trouble", "status"),
    [
        (ProviderAuthenticationFailed("The account is locked."), 502),
        (ProviderUnavailable("It is being upgraded."), 503),
        (ProviderTimeout("It did not answer within 3 s."), 504),
    ],
)
def test_a_verification_tells_what_is_wrong_and_then_that_it_is_well_again(
    vai: Installation, admin: FlaskClient, berlin: Json, monkeypatch: pytest.MonkeyPatch, trouble: VaiError, status: int
) -> None:
    def fail(_connection: object) -> None:
        raise trouble

    with monkeypatch.context() as patched:
        patched.setattr(vai.services.hypervisors, "try_connection", fail)
        refused = problem(admin.post(f"{DATACENTERS}/berlin/verify"), status, trouble.problem)
    assert refused["detail"] == trouble.detail
    shown = admin.get(f"{DATACENTERS}/berlin").json
    assert (shown["reachability"], shown["problem"]) == ("unreachable", trouble.detail)
    shown = admin.post(f"{DATACENTERS}/berlin/verify").json
    assert (shown["reachability"], shown["problem"], shown["revision"]) == ("reachable", None, berlin["revision"])


def test_a_change_needs_the_revision_that_it_is_based_on(admin: FlaskClient, berlin: Json) -> None:
    problem(admin.patch(f"{DATACENTERS}/berlin", json={"enabled": False}), 428, "precondition-required")
    problem(admin.delete(f"{DATACENTERS}/berlin"), 428, "precondition-required")
    assert admin.get(f"{DATACENTERS}/berlin").json == berlin


@pytest.mark.parametrize("etag", ["1", "*", 'W/"1"', '"one"', '"1", "2"', "", '"-1"', '"99999999999"'])
@pytest.mark.usefixtures("berlin")
def test_a_revision_that_cannot_be_one_is_refused(admin: FlaskClient, etag: str) -> None:
    headers = {"If-Match": etag}
    refused = problem(
        admin.patch(f"{DATACENTERS}/berlin", json={"enabled": False}, headers=headers), 422, "invalid-request"
    )
    assert [each["field"] for each in refused["errors"]] == ["If-Match"]
    problem(admin.delete(f"{DATACENTERS}/berlin", headers=headers), 422, "invalid-request")


def test_of_two_changes_on_one_revision_the_second_is_told_so(admin: FlaskClient, berlin: Json) -> None:
    first = _patch(admin, "berlin", {"call_timeout_seconds": 7}, berlin["revision"])
    assert (first.status_code, first.headers["ETag"]) == (200, f'"{berlin["revision"] + 1}"')
    refused = problem(
        _patch(admin, "berlin", {"call_timeout_seconds": 8}, berlin["revision"]), 412, "precondition-failed"
    )
    assert str(berlin["revision"] + 1) in refused["detail"]
    assert admin.get(f"{DATACENTERS}/berlin").json["call_timeout_seconds"] == 7
    response = admin.delete(f"{DATACENTERS}/berlin", headers={"If-Match": f'"{berlin["revision"]}"'})
    problem(response, 412, "precondition-failed")


def test_a_change_leaves_what_it_does_not_name(admin: FlaskClient, berlin: Json) -> None:
    changed = _patch(admin, "berlin", {"name": "potsdam"}).json
    expected = berlin | {"name": "potsdam", "revision": berlin["revision"] + 1}
    assert changed == expected
    assert admin.get(f"{DATACENTERS}/potsdam").json == expected
    problem(admin.get(f"{DATACENTERS}/berlin"), 404, "not-found")


@pytest.mark.usefixtures("berlin", "madrid")
def test_a_datacenter_cannot_take_anothers_name(admin: FlaskClient) -> None:
    problem(_patch(admin, "berlin", {"name": "madrid"}), 409, "name-taken")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"options": {"colour": "red"}}, "options.colour"),
        ({"options": {"host_cpus": 10**30}}, "options.host_cpus"),
        ({"endpoint": "https://vcenter"}, "endpoint"),
    ],
)
def test_a_change_that_the_driver_cannot_use_is_refused(
    admin: FlaskClient, berlin: Json, body: Json, field: str
) -> None:
    refused = problem(_patch(admin, "berlin", body), 422, "invalid-request")
    assert [each["field"] for each in refused["errors"]] == [field]
    assert admin.get(f"{DATACENTERS}/berlin").json == berlin


def test_a_disabled_datacenter_takes_no_machine_until_it_is_enabled(
    vai: Installation, admin: FlaskClient, ann: FlaskClient, berlin: Json
) -> None:
    body = {"name": "web-1", "datacenter": berlin["id"], **SMALL}
    assert _patch(admin, "berlin", {"enabled": False}).json["enabled"] is False
    assert "disabled" in problem(ann.post(f"{API}/virtual-machines", json=body), 409, "conflict")["detail"]
    assert _patch(admin, "berlin", {"enabled": True}).json["enabled"] is True
    operation = ann.post(f"{API}/virtual-machines", json=body)
    assert operation.status_code == 202
    vai.run()
    assert ann.get(operation.headers["Location"]).json["state"] == "succeeded"


def test_a_machine_in_a_datacenter_that_never_was_is_not_found(ann: FlaskClient) -> None:
    body = {"name": "web-1", "datacenter": "atlantis", **SMALL}
    assert "atlantis" in problem(ann.post(f"{API}/virtual-machines", json=body), 404, "not-found")["detail"]


def test_a_datacenter_that_holds_a_machine_is_not_forgotten(admin: FlaskClient, create: Create, berlin: Json) -> None:
    create()
    response = admin.delete(f"{DATACENTERS}/berlin", headers={"If-Match": f'"{berlin["revision"]}"'})
    assert "machines" in problem(response, 409, "conflict")["detail"]
    assert admin.get(f"{DATACENTERS}/berlin").json == berlin


def test_a_forgotten_datacenter_is_gone_with_its_strangers(vai: Installation, admin: FlaskClient, berlin: Json) -> None:
    vai.control("berlin").add_stranger("stranger")
    vai.reconcile("berlin")
    assert len(admin.get(f"{API}/virtual-machines").json["items"]) == 1
    response = admin.delete(f"{DATACENTERS}/berlin", headers={"If-Match": f'"{berlin["revision"]}"'})
    assert (response.status_code, response.json["id"]) == (200, berlin["id"])
    problem(admin.get(f"{DATACENTERS}/berlin"), 404, "not-found")
    assert admin.get(DATACENTERS).json["items"] == []
    assert admin.get(f"{API}/virtual-machines").json["items"] == []
    assert vai.control("berlin").names() == ["stranger"]


def test_machines_of_a_forgotten_datacenter_are_still_shown(
    vai: Installation, admin: FlaskClient, ann: FlaskClient, create: Create, berlin: Json
) -> None:
    machine = create()
    assert ann.delete(f"{API}/virtual-machines/{machine['id']}").status_code == 202
    vai.run()
    admin.delete(f"{DATACENTERS}/berlin", headers={"If-Match": f'"{berlin["revision"]}"'})
    shown = ann.get(f"{API}/virtual-machines/{machine['id']}").json
    assert (shown["state"], shown["datacenter"]) == ("deleted", {"id": berlin["id"], "name": "(forgotten)"})


def test_new_credentials_are_used_from_then_on(vai: Installation, admin: FlaskClient) -> None:
    wrong, right = {"username": "vai", "password": "old"}, {"username": "vai", "password": SECRET}
    body = vai.datacenter_body("oslo", **GUARDED, credentials=wrong, verify_now=False)
    assert admin.post(DATACENTERS, json=body).status_code == 201
    problem(admin.post(f"{DATACENTERS}/oslo/verify"), 502, "provider-authentication-failed")
    assert _patch(admin, "oslo", {"credentials": right}).status_code == 200
    assert admin.post(f"{DATACENTERS}/oslo/verify").json["reachability"] == "reachable"


def test_credentials_are_never_shown_nor_stored_in_the_clear(vai: Installation, admin: FlaskClient) -> None:
    options = {"username": "vai", "password": "the-simulations-own", "task_delay_seconds": 0}
    credentials = {"username": "vai", "password": SECRET}
    body = vai.datacenter_body("oslo", credentials=credentials, verify_now=False)
    answers = [
        admin.post(DATACENTERS, json=body),
        _patch(admin, "oslo", {"credentials": {"username": "root", "password": f"{SECRET}-2"}, "options": options}),
        admin.post(f"{DATACENTERS}/oslo/verify"),
        admin.get(f"{DATACENTERS}/oslo"),
        admin.get(DATACENTERS),
        admin.get(f"{DATACENTERS}/oslo/inventory"),
        admin.get(f"{API}/events"),
        admin.get("/metrics"),
    ]
    assert [answer.status_code for answer in answers] == [201, 200, 502, 200, 200, 200, 200, 200]
    assert SECRET not in "".join(answer.text for answer in answers)
    stored = [document for each in DOCUMENTS for document in collection_of(each).find()]
    assert "oslo" in json.dumps(stored, default=str)
    assert SECRET not in json.dumps(stored, default=str)
