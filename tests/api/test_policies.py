"""Roles, policies and tenants over REST: what they refuse, how they are changed, and the question why."""

from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.api.installation import API, SMALL, Installation, problem
from tests.lab.process import wait_until

Json = dict[str, Any]

LARGE = {"cpus": 8, "memory_mib": 16_384, "disk_gib": 4}


@pytest.fixture
def tester(vai: Installation) -> FlaskClient:
    """A tester of the tenant ``acme``."""
    return vai.client(vai.token("tom", "acme", "tester"))


def ask(client: FlaskClient, **changes: Any) -> Any:
    body = {"name": "web-1", "datacenter": "berlin", "image": "debian-12", **SMALL, **changes}
    return client.post(f"{API}/virtual-machines", json=body)


def limit(admin: FlaskClient, name: str, limits: Json, **whom: Any) -> Json:
    response = admin.post(f"{API}/policies", json={"name": name, "limits": limits, **whom})
    assert response.status_code == 201, response.text
    found: Json = response.json
    return found


@pytest.mark.spec(26)
@pytest.mark.usefixtures("berlin")
def test_a_tester_who_asks_for_a_large_machine_is_told_the_policy_and_its_limits(
    vai: Installation, tester: FlaskClient
) -> None:
    refused = problem(ask(tester, **LARGE), 403, "policy-refused")
    assert refused["detail"] == (
        "Policy 'small-machines-for-testers' limits machine_cpus to 4, 8 asked. "
        "Policy 'small-machines-for-testers' limits machine_memory_mib to 8192, 16384 asked."
    )
    assert vai.dispatcher.take() == []
    assert tester.get(f"{API}/operations").json["items"] == []
    assert tester.get(f"{API}/virtual-machines").json["items"] == []


@pytest.mark.usefixtures("berlin")
def test_what_a_policy_refuses_stands_in_the_activity_log(
    vai: Installation, tester: FlaskClient, admin: FlaskClient
) -> None:
    ask(tester, **LARGE)
    vai.services.refusals.write()
    events = admin.get(f"{API}/events?kind=request.refused").json["items"]
    assert [(each["actor"], each["tenant"]) for each in events] == [("tom", "acme")]
    assert "small-machines-for-testers" in events[0]["message"]


@pytest.mark.spec(26)
@pytest.mark.usefixtures("berlin")
def test_a_developer_may_have_what_a_tester_may_not(ann: FlaskClient, tester: FlaskClient) -> None:
    assert ask(tester, name="small-1").status_code == 202
    assert ask(ann, name="large-1", **LARGE).status_code == 202


@pytest.mark.spec(26)
def test_a_resize_beyond_the_limit_is_refused(vai: Installation, admin: FlaskClient, create: Any) -> None:
    machine = create()
    limit(admin, "tiny", {"machine_memory_mib": 512}, tenants=["acme"])
    ann = vai.client(vai.token("ann", "acme"))
    address = f"{API}/virtual-machines/{machine['id']}/actions/resize"
    refused = problem(ann.post(address, json={"cpus": 1, "memory_mib": 1024}), 403, "policy-refused")
    assert "'tiny' limits machine_memory_mib to 512, 1024 asked" in refused["detail"]
    assert ann.post(address, json={"cpus": 1, "memory_mib": 512}).status_code == 202


@pytest.mark.spec(9)
@pytest.mark.parametrize(
    ("limits", "word"),
    [
        ({"datacenters": ["madrid"]}, "datacenters to madrid, berlin asked"),
        ({"hypervisors": ["vmware"]}, "hypervisors to vmware, simulated asked"),
        ({"networks": ["dmz"]}, "networks to dmz, default asked"),
        ({"images": ["alpine"]}, "images to alpine, debian-12 asked"),
        ({"networks": []}, "networks to none, default asked"),
    ],
)
@pytest.mark.usefixtures("berlin")
def test_a_policy_limits_where_from_what_and_on_which_network(
    admin: FlaskClient, ann: FlaskClient, eve: FlaskClient, limits: Json, word: str
) -> None:
    limit(admin, "narrow", limits, tenants=["acme"])
    assert word in problem(ask(ann, networks=["default"]), 403, "policy-refused")["detail"]
    assert ask(eve, networks=["default"]).status_code == 202


@pytest.mark.usefixtures("berlin", "madrid")
def test_a_machine_that_may_go_elsewhere_goes_only_where_its_tenants_policy_allows(
    vai: Installation, admin: FlaskClient, ann: FlaskClient
) -> None:
    limit(admin, "at-home", {"datacenters": ["berlin"]}, tenants=["acme"])
    body = {**SMALL, "memory_mib": 9_999_999, "placement": {"elsewhere": "automatically"}}
    operation = ask(ann, **body).json
    vai.run()
    found = ann.get(f"{API}/operations/{operation['id']}/explanation").json
    failed = {dc["name"]: [c["name"] for c in dc["checks"] if not c["passed"]] for dc in found["datacenters"]}
    assert "policy" in failed["madrid"]
    assert "policy" not in failed["berlin"]


@pytest.mark.usefixtures("berlin")
def test_a_change_holds_at_once_and_a_deletion_too(admin: FlaskClient, ann: FlaskClient) -> None:
    made = limit(admin, "tiny", {"machine_cpus": 0}, tenants=["acme"])
    problem(ask(ann), 403, "policy-refused")
    address = f"{API}/policies/tiny"
    header = {"If-Match": f'"{made["revision"]}"'}
    changed = admin.put(address, json={"limits": {"machine_cpus": 1}, "tenants": ["acme"]}, headers=header)
    assert changed.headers["ETag"] == '"2"'
    assert ask(ann, name="one").status_code == 202
    problem(ask(ann, name="two", cpus=2), 403, "policy-refused")
    assert admin.delete(address, headers={"If-Match": '"2"'}).status_code == 200
    assert ask(ann, name="two", cpus=2).status_code == 202


@pytest.mark.parametrize("resource", ["roles", "policies", "tenants"])
def test_a_change_needs_the_newest_revision_and_every_revision_is_kept(admin: FlaskClient, resource: str) -> None:
    content = {
        "roles": {"permissions": ["*:read"]},
        "policies": {"limits": {"machines": 4}},
        "tenants": {},
    }[resource]
    body = {**content, "description": "first"}
    made = admin.post(f"{API}/{resource}", json={"name": "mine", **body})
    assert (made.status_code, made.headers["ETag"]) == (201, '"1"')
    address = made.headers["Location"]
    problem(admin.post(f"{API}/{resource}", json={"name": "mine", **body}), 409, "name-taken")
    problem(admin.put(address, json=body), 428, "precondition-required")
    problem(admin.put(address, json=body, headers={"If-Match": '"7"'}), 412, "precondition-failed")
    second = admin.put(address, json={**content, "description": "second"}, headers={"If-Match": '"1"'})
    assert second.json["description"] == "second"
    problem(admin.put(address, json=body, headers={"If-Match": '"1"'}), 412, "precondition-failed")
    assert admin.delete(address, headers={"If-Match": '"2"'}).status_code == 200
    problem(admin.get(address), 404, "not-found")
    again = admin.post(f"{API}/{resource}", json={"name": "mine", **body})
    assert again.headers["ETag"] == '"4"'
    history = admin.get(f"{address}/history").json["items"]
    assert [(each["revision"], each["by"]) for each in history] == [(n, "root") for n in (4, 3, 2, 1)]
    assert [(each["content"] or {}).get("description") for each in history] == ["first", None, "second", "first"]


@pytest.mark.parametrize(
    ("resource", "body"),
    [
        ("roles", {"name": "r", "permissions": ["moon:land"]}),
        ("roles", {"name": "r", "permissions": ["everything"]}),
        ("roles", {"name": "r r", "permissions": []}),
        ("policies", {"name": "p", "limits": {}}),
        ("policies", {"name": "p", "limits": {"machine_cpus": -1}}),
        ("policies", {"name": "p", "limits": {"colour": 1}}),
        ("policies", {"name": "p", "limits": {"networks": ["a\nb"]}}),
        ("tenants", {"name": ""}),
    ],
)
def test_what_means_nothing_is_refused_before_it_is_stored(admin: FlaskClient, resource: str, body: Json) -> None:
    before = admin.get(f"{API}/{resource}").json
    problem(admin.post(f"{API}/{resource}", json=body), 422, "invalid-request")
    assert admin.get(f"{API}/{resource}").json == before


@pytest.mark.usefixtures("berlin")
def test_a_name_with_quotes_is_a_name_and_no_rule(admin: FlaskClient, ann: FlaskClient) -> None:
    limit(admin, "odd", {"images": ['x"].contains(context.image) || true) };', "debian-12", "a\\"]}, tenants=["acme"])
    assert ask(ann).status_code == 202
    problem(ask(ann, name="other", image="alpine"), 403, "policy-refused")


def test_the_administrators_role_cannot_be_changed(admin: FlaskClient) -> None:
    for method in ("put", "delete"):
        response = getattr(admin, method)(f"{API}/roles/admin", json={"permissions": []}, headers={"If-Match": '"0"'})
        problem(response, 409, "conflict")


def test_a_role_that_a_site_defines_carries_what_it_says_and_no_more(vai: Installation, admin: FlaskClient) -> None:
    admin.post(f"{API}/roles", json={"name": "auditor", "permissions": ["events:read"]})
    auditor = vai.client(vai.token("oda", "acme", "auditor"))
    assert auditor.get(f"{API}/events").status_code == 200
    refused = problem(auditor.get(f"{API}/virtual-machines"), 403, "forbidden")
    assert "Your roles (auditor) do not carry virtual-machines:read" in refused["detail"]


def test_a_disabled_tenant_is_refused_until_it_is_enabled(admin: FlaskClient, ann: FlaskClient) -> None:
    admin.post(f"{API}/tenants", json={"name": "acme", "enabled": False})
    assert "disabled" in problem(ann.get(f"{API}/virtual-machines"), 403, "forbidden")["detail"]
    admin.put(f"{API}/tenants/acme", json={"enabled": True}, headers={"If-Match": '"1"'})
    assert ann.get(f"{API}/virtual-machines").status_code == 200


@pytest.mark.usefixtures("berlin")
def test_a_request_can_be_judged_without_being_made(vai: Installation, tester: FlaskClient) -> None:
    asked = {"datacenter": "berlin", **LARGE}
    found = tester.post(f"{API}/policies/evaluate", json=asked).json
    assert (found["allowed"], found["permitted"]) == (False, True)
    assert [(each["policy"], each["limit"], each["asked"], each["allowed"]) for each in found["refusals"]] == [
        ("small-machines-for-testers", "machine_cpus", "8", "4"),
        ("small-machines-for-testers", "machine_memory_mib", "16384", "8192"),
    ]
    assert found["roles_that_could"] == ["admin", "developer", "operator"]
    assert found["limits"]["machine_cpus"] == 4
    assert found["limited_by"]["machine_cpus"] == "small-machines-for-testers"
    assert vai.dispatcher.take() == []


def test_another_tenants_limits_are_asked_for_by_administrators_only(admin: FlaskClient, tester: FlaskClient) -> None:
    limit(admin, "secret", {"machine_cpus": 1}, tenants=["rival"])
    body = {"tenant": "rival", "roles": ["developer"], "cpus": 2}
    problem(tester.post(f"{API}/policies/evaluate", json=body), 404, "not-found")
    assert admin.post(f"{API}/policies/evaluate", json=body).json["refusals"][0]["policy"] == "secret"
    problem(tester.get(f"{API}/policies/secret"), 404, "not-found")
    assert "secret" not in [each["name"] for each in tester.get(f"{API}/policies").json["items"]]


def test_another_process_sees_a_change_within_a_second(vai: Installation, admin: FlaskClient, mongo_url: str) -> None:
    other = Installation(vai.folder, mongo_url, vai.services.settings.mongodb_database)
    client = other.client(vai.token("ann", "acme"))
    assert client.get(f"{API}/roles/auditor").status_code == 404
    admin.post(f"{API}/roles", json={"name": "auditor", "permissions": ["events:read"]})
    wait_until(lambda: client.get(f"{API}/roles/auditor").status_code == 200, seconds=1.5, what="the change is seen")
