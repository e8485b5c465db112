"""Who reaches what: tokens, tenants and administrators."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.api.installation import API, SMALL, Installation, problem
from tests.lab.process import wait_until

Json = dict[str, Any]
Create = Callable[..., Json]

LISTS = ("virtual-machines", "operations", "events", "datacenters", "hosts", "images")


def test_every_published_resource_but_the_public_ones_wants_a_token(vai: Installation) -> None:
    nobody = vai.client()
    published = nobody.get("/swagger.json").json["paths"]
    public = set()
    for path, methods in published.items():
        for method in methods.keys() - {"parameters"}:
            address = path.replace("{", "").replace("}", "")
            response = nobody.open(address, method=method.upper(), json={})
            if response.status_code == 401:
                problem(response, 401, "unauthenticated")
                assert response.headers["WWW-Authenticate"].startswith("Bearer")
            else:
                public.add(path)
    assert public == {"/healthz", "/readyz", "/metrics", "/problems", "/problems/{problem}"}


@pytest.mark.parametrize(
    "header",
    ["", "Bearer", "Bearer ", "Bearer nonsense", "Basic YW5uOmFubg==", "Token x", f"Bearer {'x' * 600}", "Bearer \xff"],
)
def test_a_token_that_is_none_or_unknown_is_refused(vai: Installation, header: str) -> None:
    response = vai.client().get(f"{API}/virtual-machines", headers={"Authorization": header})
    refused = problem(response, 401, "unauthenticated")
    assert "token" in refused["detail"]


def test_a_token_without_its_scheme_is_refused(vai: Installation) -> None:
    token = vai.token("ann", "acme")
    problem(vai.client().get(f"{API}/events", headers={"Authorization": token}), 401, "unauthenticated")


def test_the_scheme_may_be_written_small(vai: Installation) -> None:
    header = {"Authorization": f"bearer {vai.token('ann', 'acme')}"}
    assert vai.client().get(f"{API}/events", headers=header).status_code == 200


def test_an_expired_token_is_refused(vai: Installation) -> None:
    token = vai.token("ann", "acme", expires_at=datetime.now(UTC) - timedelta(seconds=1))
    problem(vai.client(token).get(f"{API}/events"), 401, "unauthenticated")


def test_a_token_that_expires_while_it_is_in_use_is_refused_from_then_on(vai: Installation) -> None:
    client = vai.client(vai.token("ann", "acme", expires_at=datetime.now(UTC) + timedelta(seconds=0.5)))
    assert client.get(f"{API}/events").status_code == 200
    wait_until(lambda: client.get(f"{API}/events").status_code == 401, seconds=5, what="the token expires")


def test_a_refused_token_is_not_repeated(vai: Installation) -> None:
    response = vai.client("hunter2-secret").get(f"{API}/virtual-machines")
    assert "hunter2" not in response.text + str(response.headers)


@pytest.mark.parametrize("given", [{"json": {"cpus": 0}}, {"data": b"{"}, {"data": b"x" * 300_000}])
def test_a_request_without_a_token_is_refused_before_it_is_read(vai: Installation, given: Json) -> None:
    problem(vai.client().post(f"{API}/virtual-machines", **given), 401, "unauthenticated")


@pytest.mark.parametrize(("method", "path", "body"), [
    ("get", "", None),
    ("delete", "", None),
    ("post", "/actions/power", {"action": "stop"}),
    ("post", "/actions/resize", {"cpus": 2, "memory_mib": 512}),
    ("get", "/snapshots", None),
    ("get", "/statistics", None),
    ("post", "/snapshots", {}),
])  # fmt: skip
def test_another_tenants_machine_is_not_found(
    vai: Installation, eve: FlaskClient, create: Create, method: str, path: str, body: Json | None
) -> None:
    machine = create()
    address = f"{API}/virtual-machines/{machine['id']}{path}"
    missing = f"{API}/virtual-machines/vm-nowhere{path}"
    refused = problem(getattr(eve, method)(address, json=body), 404, "not-found")
    unknown = problem(getattr(eve, method)(missing, json=body), 404, "not-found")
    assert refused["detail"].replace(machine["id"], "vm-nowhere") == unknown["detail"]
    assert vai.dispatcher.take() == []


@pytest.mark.usefixtures("create")
def test_another_tenants_operation_is_not_found(vai: Installation, ann: FlaskClient, eve: FlaskClient) -> None:
    body = {"name": "web-1", "datacenter": "berlin", **SMALL}
    operation = ann.post(f"{API}/virtual-machines", json=body).json
    problem(eve.get(f"{API}/operations/{operation['id']}"), 404, "not-found")
    problem(eve.post(f"{API}/operations/{operation['id']}/cancel"), 404, "not-found")
    vai.run()
    assert ann.get(f"{API}/operations/{operation['id']}").json["state"] == "succeeded"


@pytest.mark.parametrize("listed", ["virtual-machines", "operations", "events"])
def test_lists_hold_nothing_of_another_tenant(ann: FlaskClient, eve: FlaskClient, create: Create, listed: str) -> None:
    machine = create()
    assert ann.get(f"{API}/{listed}").json["items"] != []
    assert eve.get(f"{API}/{listed}").json["items"] == []
    query = {"virtual-machines": f"name={machine['name']}"}.get(listed, f"machine={machine['id']}")
    assert eve.get(f"{API}/{listed}?{query}").json["items"] == []


def test_two_tenants_may_use_one_name(vai: Installation, eve: FlaskClient, create: Create, madrid: Json) -> None:
    create("web-1")
    body = {"name": "web-1", "datacenter": madrid["name"], **SMALL}
    operation = eve.post(f"{API}/virtual-machines", json=body)
    assert operation.status_code == 202
    vai.run()
    assert eve.get(operation.headers["Location"]).json["state"] == "succeeded"


def test_an_administrator_sees_every_tenants_machines(admin: FlaskClient, create: Create) -> None:
    machine = create()
    assert admin.get(f"{API}/virtual-machines/{machine['id']}").json["tenant"] == "acme"
    assert len(admin.get(f"{API}/virtual-machines").json["items"]) == 1


def test_what_an_administrator_does_to_a_tenants_machine_is_the_tenants_to_see(
    vai: Installation, admin: FlaskClient, ann: FlaskClient, create: Create
) -> None:
    machine = create()
    operation = admin.delete(f"{API}/virtual-machines/{machine['id']}")
    vai.run()
    shown = ann.get(operation.headers["Location"]).json
    assert (shown["state"], shown["tenant"], shown["requested_by"]) == ("succeeded", "acme", "root")


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("post", "datacenters", {"name": "oslo", "kind": "simulated", "endpoint": "simulated:///x.db"}),
        ("patch", "datacenters/berlin", {"enabled": False}),
        ("delete", "datacenters/berlin", None),
        ("post", "datacenters/berlin/verify", None),
        ("post", "virtual-machines/vm-1/actions/adopt", {}),
        ("post", "operations/op-1/resend", None),
    ],
)
@pytest.mark.usefixtures("berlin")
def test_what_is_an_administrators_is_forbidden_to_others(
    admin: FlaskClient, ann: FlaskClient, method: str, path: str, body: Json | None
) -> None:
    before = admin.get(f"{API}/datacenters").json
    response = getattr(ann, method)(f"{API}/{path}", json=body, headers={"If-Match": '"1"'})
    assert "Roles that do: admin" in problem(response, 403, "forbidden")["detail"]
    assert admin.get(f"{API}/datacenters").json == before


@pytest.mark.parametrize("listed", LISTS)
@pytest.mark.usefixtures("berlin")
def test_every_list_is_open_to_a_tenant(ann: FlaskClient, listed: str) -> None:
    assert ann.get(f"{API}/{listed}").status_code == 200


@pytest.mark.parametrize("identifier", ["%00", "%ff", "%ED%A0%80", "%F0%9F%90%99", "..", "$where", "a" * 5000])
@pytest.mark.parametrize("kind", ["virtual-machines", "operations", "datacenters"])
def test_an_identifier_that_nobody_gave_is_not_found(ann: FlaskClient, kind: str, identifier: str) -> None:
    problem(ann.get(f"{API}/{kind}/{identifier}"), 404, "not-found")
