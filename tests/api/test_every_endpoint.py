"""Every endpoint of the published specification by role by own or foreign tenant by kind of token, generated."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Network
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.api.installation import API, SMALL, Installation, problem
from vai_app.domain.installation_defaults import DEFAULT_ROLES
from vai_app.domain.policies import PERMISSIONS

Json = dict[str, Any]

PUBLIC = {"/healthz", "/readyz", "/metrics", "/problems", "/problems/{problem}"}
METHODS = ("get", "post", "put", "patch", "delete")
# What belongs to a tenant: the parameters of paths that name it.
OF_A_TENANT = ("machine_id", "snapshot_id", "operation_id", "token_id")
UNKNOWN = {
    "machine_id": "vm-nowhere",
    "snapshot_id": "snap-nowhere",
    "operation_id": "op-nowhere",
    "token_id": "tok-nowhere",
}
BODIES: Mapping[str, Json] = {
    f"{API}/virtual-machines/{{machine_id}}/actions/power": {"action": "stop"},
    f"{API}/virtual-machines/{{machine_id}}/actions/resize": {"cpus": 1, "memory_mib": 512},
}


def endpoints(vai: Installation) -> Iterator[tuple[str, str, Json]]:
    """Yield path, method and description of everything that is published."""
    for path, described in vai.client().get("/swagger.json").json["paths"].items():
        for method in METHODS:
            if method in described:
                yield path, method, described[method]


def call(client: FlaskClient, path: str, method: str, named: Mapping[str, str]) -> TestResponse:
    """Send a request that changes nothing by itself: its If-Match is stale, its body mostly not valid."""
    address = path
    for name in (*OF_A_TENANT, "datacenter", "name", "problem"):
        address = address.replace(f"{{{name}}}", named.get(name, "nothing-of-this-name"))
    body = BODIES.get(path, {}) if method != "get" else None
    return client.open(address, method=method.upper(), json=body, headers={"If-Match": '"999999999"'})


@pytest.fixture
def foreign(vai: Installation, eve: FlaskClient, berlin: Json) -> Json:
    """Return ids of what belongs to the tenant ``rival``."""
    body = {"name": "theirs", "datacenter": berlin["name"], "image": "debian-12", **SMALL}
    operation = eve.post(f"{API}/virtual-machines", json=body).json
    vai.run()
    snapshots = f"{API}/virtual-machines/{operation['machine_id']}/snapshots"
    eve.post(snapshots, json={})
    vai.run()
    token = next(each for each in vai.services.access.tokens("rival"))
    return {
        "machine_id": operation["machine_id"],
        "snapshot_id": eve.get(snapshots).json["items"][0]["id"],
        "operation_id": operation["id"],
        "token_id": token.id,
    }


def test_every_route_of_the_application_is_published_and_declares_one_permission(vai: Installation) -> None:
    published = {(path, method) for path, method, _ in endpoints(vai)}
    for rule in vai.app.url_map.iter_rules():
        view: Any = vai.app.view_functions[rule.endpoint]
        resource = getattr(view, "view_class", None)
        path = str(rule).replace("<string:", "{").replace(">", "}")
        for method in (rule.methods or set()) & {each.upper() for each in METHODS}:
            function = getattr(resource, method.lower(), None) if resource is not None else None
            if function is None or rule.endpoint in ("specs", "doc", "root"):
                assert not path.startswith(API), f"{method} {path} is no documented resource"
                continue
            assert (path, method.lower()) in published, f"{method} {path} is not listed"
            assert path in PUBLIC or getattr(function, "permission", None) in PERMISSIONS, f"{method} {path}"


def test_every_permission_is_asked_by_an_endpoint(vai: Installation) -> None:
    asked = {described["x-permission"] for path, _, described in endpoints(vai) if path not in PUBLIC}
    assert asked == {*PERMISSIONS}


def test_no_endpoint_answers_without_a_right_token(vai: Installation) -> None:
    expired = vai.token("old", "acme", "admin", expires_at=datetime.now(UTC) - timedelta(seconds=1))
    revoked = vai.token("gone", "acme", "admin")
    vai.services.access.revoke(next(t.id for t in vai.services.access.tokens(None) if t.principal.name == "gone"), None)
    good = vai.token("root", "ops", "admin")
    tokens = {
        "missing": None,
        "expired": expired,
        "revoked": revoked,
        "forged": f"{good[:-4]}AAAA",
        "unsigned": "eyJhbGciOiJub25lIn0.eyJzdWIiOiJyb290Iiwicm9sZXMiOlsiYWRtaW4iXX0.",
    }
    wrong = []
    addresses = IPv4Network("10.0.0.0/16").hosts()
    for path, method, _ in endpoints(vai):
        for kind, token in tokens.items():
            client = vai.client(token)
            # An address may try only so many wrong tokens, so each try comes from another.
            client.environ_base["REMOTE_ADDR"] = str(next(addresses))
            status = call(client, path, method, UNKNOWN).status_code
            if (status == 401) == (path in PUBLIC):
                wrong.append((method, path, kind, status))
    assert wrong == []


def test_a_role_reaches_exactly_what_its_permissions_name(vai: Installation, admin: FlaskClient) -> None:
    admin.post(f"{API}/roles", json={"name": "auditor", "permissions": ["events:read", "*:change"]})
    granted = {name: {*role.granted()} for name, role in DEFAULT_ROLES.items()}
    granted["auditor"] = {each for each in PERMISSIONS if each == "events:read" or each.endswith(":change")}
    granted["unheard-of"] = set()
    wrong = []
    for role, permissions in granted.items():
        client = vai.client(vai.token("ann", "acme", role))
        for path, method, described in endpoints(vai):
            if path in PUBLIC:
                continue
            response = call(client, path, method, UNKNOWN)
            refused = response.status_code == 403 and response.json["type"] == "/problems/forbidden"
            if refused == (described["x-permission"] in permissions) or response.status_code >= 500:
                wrong.append((role, method, path, response.status_code))
    assert wrong == []


def test_what_another_tenant_owns_is_as_unknown_as_what_nobody_owns(vai: Installation, foreign: Json) -> None:
    looked_at = 0
    before = vai.services.machines.get(foreign["machine_id"], None)
    # A role that carries everything, and is not the administrator who sees every tenant.
    root = vai.client(vai.token("root", "ops", "admin"))
    root.post(f"{API}/roles", json={"name": "everything", "permissions": ["*:*"]})
    for role in (*(each for each in DEFAULT_ROLES if each != "admin"), "everything"):
        client = vai.client(vai.token("ann", "acme", role))
        for path, method, described in endpoints(vai):
            owned = [name for name in OF_A_TENANT if f"{{{name}}}" in path]
            if not owned:
                continue
            theirs, nobodys = (call(client, path, method, ids) for ids in (foreign, UNKNOWN))
            may = role == "everything" or described["x-permission"] in DEFAULT_ROLES[role].granted()
            assert theirs.status_code == nobodys.status_code, (role, method, path)
            assert not may or theirs.status_code in (404, 422), (role, method, path, theirs.text)
            assert _masked(theirs, foreign) == _masked(nobodys, UNKNOWN), (role, method, path)
            looked_at += theirs.status_code == 404
    assert looked_at >= 30
    assert vai.services.machines.get(foreign["machine_id"], None) == before
    assert vai.dispatcher.take() == []


def test_who_asks_for_what_another_tenant_owns_is_recorded(
    vai: Installation, admin: FlaskClient, foreign: Json
) -> None:
    mallory = vai.client(vai.token("mallory", "acme"))
    for _ in range(2):
        problem(mallory.delete(f"{API}/virtual-machines/{foreign['machine_id']}"), 404, "not-found")
    vai.services.refusals.write()
    (told,) = admin.get(f"{API}/events?kind=request.refused").json["items"]
    assert (told["actor"], told["tenant"]) == ("mallory", "acme")
    assert "DELETE /api/v1/virtual-machines/<string:machine_id> from" in told["message"]
    assert "2 times: not-found" in told["message"]


def test_an_own_object_is_found_by_whoever_may_see_it(vai: Installation, foreign: Json) -> None:
    for role, described in DEFAULT_ROLES.items():
        client = vai.client(vai.token("eva", "rival", role))
        for path, permission in (
            (f"{API}/virtual-machines/{foreign['machine_id']}", "virtual-machines:read"),
            (f"{API}/operations/{foreign['operation_id']}", "operations:read"),
        ):
            assert client.get(path).status_code == (200 if permission in described.granted() else 403)


def test_a_token_of_another_tenant_cannot_be_made_or_given_more_than_one_has(
    vai: Installation, admin: FlaskClient
) -> None:
    admin.post(f"{API}/roles", json={"name": "issuer", "permissions": ["tokens:*"]})
    issuer = vai.client(vai.token("ivo", "acme", "issuer"))
    for body in ({"tenant": "rival", "roles": ["issuer"]}, {"tenant": "acme", "roles": ["admin"]}):
        problem(issuer.post(f"{API}/tokens", json={"name": "x", **body}), 403, "forbidden")
    assert issuer.post(f"{API}/tokens", json={"name": "x", "tenant": "acme", "roles": ["issuer"]}).status_code == 201
    assert {each["tenant"] for each in issuer.get(f"{API}/tokens").json["items"]} == {"acme"}


def _masked(response: TestResponse, ids: Mapping[str, str]) -> Any:
    """Return an answer without what must differ: the ids that were asked for, and the request's own."""
    text = response.text
    for each in ids.values():
        text = text.replace(each, "ID")
    body = response.json or {}
    return text.replace(str(body.get("correlation_id", "")), "CORRELATION")
