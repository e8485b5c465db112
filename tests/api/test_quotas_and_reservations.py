"""What a tenant may hold together, and what is held for machines from their placement to their end."""

from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.api.installation import API, SMALL, Installation, problem
from vai_app.domain.ports.machines import MachineFilter
from vai_app.domain.ports.paging import PageRequest
from vai_app.domain.reservations import tenant_account
from vai_app.domain.virtual_machines import MachineState

Json = dict[str, Any]
MORE = {"cpus": 2, "memory_mib": 512, "disk_gib": 4}


@pytest.fixture
def bea(vai: Installation) -> FlaskClient:
    """A developer of a tenant that policies limit."""
    return vai.client(vai.token("bea", "brand", "developer"))


def limit(admin: FlaskClient, **limits: int) -> None:
    body = {"name": "brand-is-small", "tenants": ["brand"], "limits": limits}
    assert admin.post(f"{API}/policies", json=body).status_code == 201


def create(vai: Installation, client: FlaskClient, name: str, **changes: Any) -> Json:
    body = {"name": name, "datacenter": "berlin", "image": "debian-12", **SMALL, **changes}
    accepted = client.post(f"{API}/virtual-machines", json=body)
    assert accepted.status_code == 202, accepted.text
    return ended(vai, client, accepted.json)


def ended(vai: Installation, client: FlaskClient, operation: Json) -> Json:
    vai.run()
    found: Json = client.get(f"{API}/operations/{operation['id']}").json
    return found


def held(vai: Installation, tenant: str = "brand") -> dict[str, int]:
    account = vai.services.store.reservations.account(tenant_account(tenant))
    return {name: by for name, by in account.reserved.items() if by} if account else {}


@pytest.mark.spec(26)
@pytest.mark.spec(15)
@pytest.mark.usefixtures("berlin")
@pytest.mark.parametrize(
    ("limits", "told"),
    [
        ({"machines": 1}, "limits machines of tenant brand to 1; 1 are held, 1 more asked."),
        ({"total_cpus": 1}, "limits total_cpus of tenant brand to 1; 1 are held, 1 more asked."),
        ({"total_memory_mib": 300}, "limits total_memory_mib of tenant brand to 300; 256 are held, 256 more asked."),
        ({"total_disk_gib": 7}, "limits total_disk_gib of tenant brand to 7; 4 are held, 4 more asked."),
    ],
)
def test_a_tenant_holds_no_more_than_its_policy_allows_and_is_told_which(
    vai: Installation, admin: FlaskClient, ann: FlaskClient, bea: FlaskClient, limits: Json, told: str
) -> None:
    limit(admin, **limits)
    first = create(vai, bea, "web-1")
    assert first["state"] == "succeeded", first["problem"]
    refused = create(vai, bea, "web-2")
    assert (refused["state"], refused["problem"]["type"]) == ("rejected", "/problems/quota-exceeded")
    assert f"Policy 'brand-is-small' {told}" in refused["problem"]["detail"]
    assert create(vai, ann, "web-2")["state"] == "succeeded"  # another tenant's
    removal = bea.delete(f"{API}/virtual-machines/{first['machine_id']}").json
    assert ended(vai, bea, removal)["state"] == "succeeded"
    assert held(vai) == {}
    assert create(vai, bea, "web-3")["state"] == "succeeded"


@pytest.mark.usefixtures("berlin")
def test_a_dry_run_tells_what_is_left_of_the_quota(vai: Installation, admin: FlaskClient, bea: FlaskClient) -> None:
    limit(admin, machines=1)
    create(vai, bea, "web-1")
    body = {"name": "web-2", "datacenter": "berlin", "image": "debian-12", **SMALL}
    explained = bea.post(f"{API}/virtual-machines?dry_run=true", json=body).json
    (verdict,) = explained["datacenters"]
    (quota,) = (check for check in verdict["checks"] if check["name"] == "quota")
    assert (quota["passed"], quota["asked"], quota["free"]) == (False, 1, 0)


@pytest.mark.usefixtures("berlin")
def test_a_batch_takes_its_quota_whole_or_not_at_all(vai: Installation, admin: FlaskClient, bea: FlaskClient) -> None:
    limit(admin, machines=3)
    machines = [{"name": f"member-{number}", "image": "debian-12", **SMALL} for number in range(3)]
    body = {"machines": machines, "datacenters": ["berlin"], "all_or_nothing": True}
    made = bea.post(f"{API}/batches", json=body)
    assert made.status_code == 202, made.text
    assert ended(vai, bea, made.json)["state"] == "succeeded"
    assert held(vai)["machines"] == 3
    refused = bea.post(f"{API}/batches", json={**body, "machines": [{**machines[0], "name": "one-more"}]}).json
    assert ended(vai, bea, refused)["state"] == "rejected"
    assert held(vai)["machines"] == 3


@pytest.mark.usefixtures("berlin")
def test_what_comes_to_nothing_holds_nothing(vai: Installation, bea: FlaskClient) -> None:
    vai.control("berlin").add_stranger("web-1")
    failed = create(vai, bea, "web-1")
    assert failed["state"] == "failed"
    assert held(vai) == {}


@pytest.mark.usefixtures("berlin")
def test_a_resize_holds_the_difference_and_no_more_than_the_quota(
    vai: Installation, admin: FlaskClient, bea: FlaskClient
) -> None:
    limit(admin, total_memory_mib=600)
    made = create(vai, bea, "web-1", power_on=False)
    resize = f"{API}/virtual-machines/{made['machine_id']}/actions/resize"
    refused = ended(vai, bea, bea.post(resize, json={"cpus": 2, "memory_mib": 1024}).json)
    assert (refused["state"], refused["problem"]["type"]) == ("failed", "/problems/quota-exceeded")
    assert held(vai) == {"machines": 1, **SMALL}
    assert ended(vai, bea, bea.post(resize, json={"cpus": 2, "memory_mib": 512}).json)["state"] == "succeeded"
    assert held(vai) == {"machines": 1, **MORE}


def test_ratios_say_how_much_of_the_hardware_is_given_out(vai: Installation, admin: FlaskClient, berlin: Json) -> None:
    before = admin.get(f"{API}/datacenters/berlin")
    ratios = {"cpu_ratio": 2, "memory_ratio": 1.5, "disk_ratio": 3}
    changed = admin.patch(
        f"{API}/datacenters/berlin", json={"placement": ratios}, headers={"If-Match": before.headers["ETag"]}
    )
    assert changed.status_code == 200, changed.text
    vai.reconcile("berlin")
    capacity = admin.get(f"{API}/datacenters/berlin/capacity").json
    assert {each["allocatable"]["cpus"] for each in capacity["by_host"]} == {64}
    assert {each["allocatable"]["memory_mib"] for each in capacity["by_host"]} == {393_216}
    assert sum(each["allocatable_gib"] for each in capacity["by_datastore"]) == 60_000
    none = admin.patch(
        f"{API}/datacenters/{berlin['id']}",
        json={"placement": {"disk_ratio": 0}},
        headers={"If-Match": changed.headers["ETag"]},
    )
    problem(none, 422, "invalid-request")


@pytest.mark.usefixtures("berlin")
def test_a_batch_of_which_one_machine_is_too_much_is_rejected_and_holds_nothing(
    vai: Installation, admin: FlaskClient, bea: FlaskClient
) -> None:
    limit(admin, machines=1)
    machines = [{"name": f"member-{number}", "image": "debian-12", **SMALL} for number in range(2)]
    asked = bea.post(f"{API}/batches", json={"machines": machines, "datacenters": ["berlin"], "all_or_nothing": True})
    assert asked.status_code == 202, asked.text
    refused = ended(vai, bea, asked.json)
    assert (refused["state"], refused["problem"]["type"]) == ("rejected", "/problems/quota-exceeded")
    assert held(vai) == {}
    assert (
        vai.services.machines.page(MachineFilter(tenant="brand", state=MachineState.ACTIVE), PageRequest()).items == []
    )


@pytest.mark.parametrize("batch", [False, True], ids=["machine", "batch"])
def test_what_is_asked_before_the_first_listing_waits_for_it_and_is_reserved_where_it_counts(
    vai: Installation, admin: FlaskClient, bea: FlaskClient, *, batch: bool
) -> None:
    assert admin.post(f"{API}/datacenters", json=vai.datacenter_body("oslo")).status_code == 201
    one = {"name": "early", "image": "debian-12", **SMALL}
    path, body = ("batches", {"machines": [one], "datacenters": ["oslo"]}) if batch else ("virtual-machines", one)
    asked = bea.post(f"{API}/{path}", json=body if batch else {**body, "datacenter": "oslo"}).json
    for _ in range(1 if batch else 2):
        vai.run_step(asked["id"])
    waits = bea.get(f"{API}/operations/{asked['id']}").json
    assert "has not been listed yet" in waits["waiting_for"]["detail"]
    vai.reconcile("oslo")
    made = ended(vai, bea, asked)
    assert made["state"] == "succeeded", made["problem"]
    by_host = admin.get(f"{API}/datacenters/oslo/capacity").json["by_host"]
    assert sum(each["reserved"]["memory_mib"] for each in by_host) == SMALL["memory_mib"]
