"""What fits, what would fit, and where else: over REST, with real services and two simulated datacenters."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.api.installation import API, SMALL, Installation, problem
from vai_app.bootstrap import utc_now
from vai_app.domain.errors import CapacityShort, QuotaExceeded, VaiError
from vai_app.domain.operations import OperationState, begin
from vai_app.store.documents import UserDataDocument, collection_of

Json = dict[str, Any]

GIB = 1024
HUGE = {"cpus": 2, "memory_mib": 24 * GIB, "disk_gib": 4}


@pytest.fixture
def small(vai: Installation, admin: FlaskClient) -> Json:
    """A datacenter whose hosts have 16 GiB."""
    return _registered(vai, admin, "small", host_memory_mib=16 * GIB)


@pytest.fixture
def large(vai: Installation, admin: FlaskClient) -> Json:
    """A datacenter whose hosts have 64 GiB."""
    return _registered(vai, admin, "large", host_memory_mib=64 * GIB)


def _registered(vai: Installation, admin: FlaskClient, name: str, **options: Any) -> Json:
    response = admin.post(f"{API}/datacenters", json=vai.datacenter_body(name, options=options))
    assert response.status_code == 201, response.text
    vai.reconcile(name)
    datacenter: Json = response.json
    return datacenter


def body(name: str = "big-1", datacenter: str = "small", **changes: Any) -> Json:
    return {"name": name, "datacenter": datacenter, "image": "debian-12", **HUGE, **changes}


@pytest.fixture
def ask(vai: Installation, ann: FlaskClient) -> Callable[..., Json]:
    """Ask for a machine as ann and run the operation to its end; returns the operation."""

    def ask(**changes: Any) -> Json:
        response = ann.post(f"{API}/virtual-machines", json=body(**changes))
        assert response.status_code == 202, response.text
        vai.run()
        return operation_of(ann, response.json)

    return ask


def operation_of(client: FlaskClient, operation: Json) -> Json:
    found: Json = client.get(f"{API}/operations/{operation['id']}").json
    return found


def failed_checks(verdict: Json) -> set[str]:
    own = {check["name"] for check in verdict["checks"] if not check["passed"]}
    return own | {check["name"] for host in verdict["hosts"] for check in host["checks"] if not check["passed"]}


@pytest.mark.spec(9)
@pytest.mark.usefixtures("large")
def test_a_machine_that_fits_nowhere_in_its_datacenter_is_rejected_with_numbers_and_a_recommendation(
    ann: FlaskClient, small: Json, ask: Callable[..., Json]
) -> None:
    rejected = ask()
    assert (rejected["state"], rejected["problem"]["type"]) == ("rejected", "/problems/capacity-short")
    assert "24576 MiB asked, 16384 MiB free" in rejected["problem"]["detail"]
    explained = ann.get(f"{API}/operations/{rejected['id']}/explanation").json
    assert (explained["asked"], explained["chosen"]) == (small["id"], None)
    assert [each["name"] for each in explained["datacenters"]] == ["small", "large"]
    assert failed_checks(explained["datacenters"][0]) == {"memory"}
    assert failed_checks(explained["datacenters"][1]) == set()
    assert explained["smaller"] == {"cpus": 2, "memory_mib": 16 * GIB, "disk_gib": 4}


@pytest.mark.spec(10)
def test_a_recommendation_that_is_confirmed_makes_the_machine_in_the_other_datacenter(
    vai: Installation, ann: FlaskClient, small: Json, large: Json, ask: Callable[..., Json]
) -> None:
    rejected = ask(location={"cluster": "cluster-1"}, labels={"team": "blue"})
    assert rejected["datacenter_id"] == small["id"]
    assert ann.get(f"{API}/operations/{rejected['id']}/explanation").json["alternative"] == large["id"]
    confirmed = ann.post(f"{API}/operations/{rejected['id']}/actions/confirm")
    assert confirmed.status_code == 202, confirmed.text
    again = ann.post(f"{API}/operations/{rejected['id']}/actions/confirm")
    assert again.json["id"] == confirmed.json["id"]
    vai.run()
    assert operation_of(ann, confirmed.json)["state"] == "succeeded"
    machine = ann.get(f"{API}/virtual-machines/{confirmed.json['machine_id']}").json
    assert (machine["state"], machine["datacenter"]["name"], machine["labels"]) == ("active", "large", {"team": "blue"})
    assert [each["name"] for each in ann.get(f"{API}/virtual-machines?name=big-1").json["items"]] == ["big-1", "big-1"]


@pytest.mark.usefixtures("small", "large")
def test_a_recommendation_that_is_confirmed_takes_the_user_data_along_as_long_as_it_is_kept(
    vai: Installation, ann: FlaskClient, ask: Callable[..., Json]
) -> None:
    rejected, late = ask(user_data="c2VjcmV0"), ask(name="big-2", user_data="c2VjcmV0")
    collection_of(UserDataDocument).delete_one({"_id": late["machine_id"]})
    confirmed = ann.post(f"{API}/operations/{rejected['id']}/actions/confirm").json
    problem(ann.post(f"{API}/operations/{late['id']}/actions/confirm"), 409, "conflict")
    vai.run()
    machine = ann.get(f"{API}/virtual-machines/{confirmed['machine_id']}").json
    assert vai.control("large").user_data(machine["provider_ref"]) == "c2VjcmV0"


@pytest.mark.spec(10)
@pytest.mark.usefixtures("small")
def test_a_machine_goes_elsewhere_automatically_where_the_tenant_said_so(
    ann: FlaskClient, large: Json, ask: Callable[..., Json]
) -> None:
    made = ask(placement={"elsewhere": "automatically"})
    assert (made["state"], made["datacenter_id"]) == ("succeeded", large["id"])
    machine = ann.get(f"{API}/virtual-machines/{made['machine_id']}").json
    assert (machine["state"], machine["datacenter"]["name"]) == ("active", "large")
    explained = ann.get(f"{API}/operations/{made['id']}/explanation").json
    assert explained["chosen"] == large["id"]
    assert failed_checks(explained["datacenters"][0]) == {"memory"}


@pytest.mark.usefixtures("small", "large")
def test_a_machine_that_may_never_go_elsewhere_cannot_be_confirmed(ann: FlaskClient, ask: Callable[..., Json]) -> None:
    rejected = ask(placement={"elsewhere": "never"})
    assert rejected["state"] == "rejected"
    problem(ann.post(f"{API}/operations/{rejected['id']}/actions/confirm"), 409, "conflict")


@pytest.mark.usefixtures("small")
def test_nothing_is_confirmed_where_nothing_is_recommended(ann: FlaskClient, ask: Callable[..., Json]) -> None:
    rejected = ask()
    assert rejected["state"] == "rejected"
    problem(ann.post(f"{API}/operations/{rejected['id']}/actions/confirm"), 409, "conflict")


@pytest.mark.usefixtures("large")
def test_an_operation_that_was_not_rejected_cannot_be_confirmed(ann: FlaskClient, ask: Callable[..., Json]) -> None:
    made = ask(datacenter="large")
    problem(ann.post(f"{API}/operations/{made['id']}/actions/confirm"), 409, "conflict")


@pytest.mark.usefixtures("small", "large")
def test_another_tenant_sees_neither_explanation_nor_recommendation(eve: FlaskClient, ask: Callable[..., Json]) -> None:
    rejected = ask()
    problem(eve.get(f"{API}/operations/{rejected['id']}/explanation"), 404, "not-found")
    problem(eve.post(f"{API}/operations/{rejected['id']}/actions/confirm"), 404, "not-found")


@pytest.mark.usefixtures("small", "large")
def test_a_missing_image_leads_to_the_datacenter_that_has_it(
    vai: Installation, admin: FlaskClient, ask: Callable[..., Json]
) -> None:
    rich = _registered(vai, admin, "rich", images=["plan9"])
    made = ask(image="plan9", placement={"elsewhere": "automatically"})
    assert (made["state"], made["datacenter_id"]) == ("succeeded", rich["id"])


@pytest.mark.usefixtures("large")
def test_a_dry_run_explains_every_datacenter_and_creates_nothing(ann: FlaskClient, small: Json) -> None:
    response = ann.post(f"{API}/virtual-machines?dry_run=true", json=body(networks=["nowhere"]))
    assert response.status_code == 200, response.text
    explained = response.json
    assert explained["datacenters_total"] == 2
    assert explained["datacenters"][0]["datacenter_id"] == small["id"]
    assert failed_checks(explained["datacenters"][0]) == {"memory", "network"}
    assert failed_checks(explained["datacenters"][1]) == {"network"}
    assert (explained["alternative"], explained["smaller"]) == (None, None)
    for host in explained["datacenters"][1]["hosts"]:
        assert {check["name"] for check in host["checks"]} >= {"state", "cpu", "memory", "disk"}
    assert ann.get(f"{API}/virtual-machines").json["items"] == []
    assert ann.get(f"{API}/operations").json["items"] == []


def test_a_dry_run_of_what_fits_names_the_host(ann: FlaskClient, large: Json) -> None:
    explained = ann.post(f"{API}/virtual-machines?dry_run=true", json=body(datacenter="large")).json
    assert explained["chosen"] == large["id"]
    assert explained["chosen_host"] in {host["ref"] for host in explained["datacenters"][0]["hosts"] if host["fits"]}


def test_machines_that_must_be_apart_get_different_hosts(
    vai: Installation, ann: FlaskClient, large: Json, ask: Callable[..., Json]
) -> None:
    hosts = []
    for number in range(2):
        first = [ann.get(f"{API}/operations").json["items"][-1]["machine_id"]] if number else []
        made = ask(name=f"pair-{number}", datacenter=large["name"], **SMALL, placement={"apart_from": first})
        assert made["state"] == "succeeded"
        vai.reconcile("large")
        hosts.append(ann.get(f"{API}/virtual-machines/{made['machine_id']}").json["observed"]["host"])
    assert len(set(hosts)) == 2
    apart_from_both = [each["id"] for each in ann.get(f"{API}/virtual-machines").json["items"]]
    third = ask(name="pair-3", datacenter="large", **SMALL, placement={"apart_from": apart_from_both})
    assert third["state"] == "rejected"


@pytest.mark.usefixtures("large")
def test_a_machine_cannot_be_placed_by_another_tenants_machine(eve: FlaskClient, ask: Callable[..., Json]) -> None:
    made = ask(datacenter="large")
    wish = {"apart_from": [made["machine_id"]]}
    response = eve.post(f"{API}/virtual-machines", json=body(datacenter="large", placement=wish))
    problem(response, 404, "not-found")


def _set_placement(admin: FlaskClient, name: str, **settings: Any) -> Json:
    etag = admin.get(f"{API}/datacenters/{name}").headers["ETag"]
    response = admin.patch(f"{API}/datacenters/{name}", json={"placement": settings}, headers={"If-Match": etag})
    assert response.status_code == 200, response.text
    changed: Json = response.json
    return changed


def test_a_failover_reserve_is_kept_and_told_as_the_reason(
    admin: FlaskClient, ann: FlaskClient, large: Json, ask: Callable[..., Json]
) -> None:
    assert _set_placement(admin, "large", failover_hosts=1)["placement"]["failover_hosts"] == 1
    assert ask(datacenter="large", memory_mib=48 * GIB)["state"] == "succeeded"
    assert admin.get(f"{API}/datacenters/large").json["placement"]["strategy"] == "spread"
    _set_placement(admin, "large", failover_hosts=2)
    refused = ask(datacenter="large", name="big-2", memory_mib=GIB)
    assert (refused["state"], refused["problem"]["type"]) == ("rejected", "/problems/capacity-short")
    assert "room is kept for 2 hosts to fail" in refused["problem"]["detail"]
    explained = ann.get(f"{API}/operations/{refused['id']}/explanation").json
    assert failed_checks(explained["datacenters"][0]) == {"failover"}
    assert large["placement"]["failover_hosts"] == 0


@pytest.mark.usefixtures("small", "large")
def test_the_recommendation_is_the_datacenter_that_the_tenant_prefers_or_that_costs_least(
    vai: Installation, admin: FlaskClient, ask: Callable[..., Json]
) -> None:
    other = _registered(vai, admin, "other", host_memory_mib=64 * GIB)
    _set_placement(admin, "large", cost=2.5)
    assert ask()["recommended_datacenter_id"] == other["id"]
    _set_placement(admin, "large", cost=2.5, preferred_by=["acme"])
    assert ask(name="big-2")["recommended_datacenter_id"] != other["id"]


@pytest.mark.parametrize(
    "settings", [{"strategy": "dense"}, {"failover_hosts": -1}, {"cost": -1.0}, {"latency_ms": "fast"}, {"nonsense": 1}]
)
def test_placement_settings_that_mean_nothing_are_refused(admin: FlaskClient, large: Json, settings: Json) -> None:
    change = admin.patch(f"{API}/datacenters/{large['id']}", json={"placement": settings}, headers={"If-Match": '"1"'})
    problem(change, 422, "invalid-request")


FULL = CapacityShort("No valid host was found.")
FITTING = {"memory_mib": GIB}


@pytest.mark.spec(10)
def test_a_datacenter_that_says_it_is_full_when_it_is_asked_leads_elsewhere_if_that_was_consented_to(
    vai: Installation, ann: FlaskClient, small: Json, large: Json, ask: Callable[..., Json]
) -> None:
    vai.control("small").inject("create", FULL, as_task=True)
    made = ask(**FITTING, placement={"elsewhere": "automatically"})
    assert (made["state"], made["datacenter_id"], made["problem"]) == ("succeeded", large["id"], None)
    assert (vai.control("small").names(), vai.control("large").names()) == ([], ["big-1"])
    machine = ann.get(f"{API}/virtual-machines/{made['machine_id']}").json
    assert (machine["state"], machine["datacenter"]["name"]) == ("active", "large")
    explained = ann.get(f"{API}/operations/{made['id']}/explanation").json
    assert (explained["asked"], explained["chosen"]) == (small["id"], large["id"])
    assert failed_checks(explained["datacenters"][0]) == {"short"}
    held = vai.services.store.reservations
    assert [len(held.of_datacenter(each["id"])) for each in (small, large)] == [0, 1]


@pytest.mark.spec(10)
def test_a_datacenter_that_says_it_is_full_leads_to_a_recommendation_that_can_be_confirmed(
    vai: Installation, ann: FlaskClient, large: Json, small: Json, ask: Callable[..., Json]
) -> None:
    vai.control("small").inject("create", FULL, as_task=True)
    rejected = ask(**FITTING)
    assert (rejected["state"], rejected["problem"]["type"]) == ("rejected", "/problems/capacity-short")
    assert rejected["problem"]["detail"] == "Datacenter small: No valid host was found."
    assert (rejected["datacenter_id"], rejected["recommended_datacenter_id"]) == (small["id"], large["id"])
    confirmed = ann.post(f"{API}/operations/{rejected['id']}/actions/confirm").json
    vai.run()
    assert operation_of(ann, confirmed)["state"] == "succeeded"
    assert (vai.control("small").names(), vai.control("large").names()) == ([], ["big-1"])


@pytest.mark.usefixtures("small")
def test_a_project_whose_quota_is_used_up_is_told_so_and_led_elsewhere(
    vai: Installation, large: Json, ask: Callable[..., Json]
) -> None:
    vai.control("small").inject("request_create", QuotaExceeded("A quota of the project is used up."))
    refused = ask(**FITTING, placement={"elsewhere": "never"})
    assert (refused["state"], refused["problem"]["type"]) == ("rejected", "/problems/quota-exceeded")
    assert refused["recommended_datacenter_id"] is None
    made = ask(**FITTING, placement={"elsewhere": "automatically"})
    assert (made["state"], made["datacenter_id"]) == ("succeeded", large["id"])


@pytest.mark.usefixtures("small", "large")
def test_a_machine_that_was_sent_elsewhere_and_finds_that_full_too_is_judged_from_the_beginning(
    vai: Installation, admin: FlaskClient, ask: Callable[..., Json]
) -> None:
    response = admin.post(
        f"{API}/datacenters", json=vai.datacenter_body("third", options={"host_memory_mib": 64 * GIB})
    )
    vai.reconcile("third")
    for name in ("large", "third"):
        vai.control(name).inject("create", FULL, as_task=True)
    refused = ask(location={"cluster": "cluster-1"}, placement={"elsewhere": "automatically"})
    assert (refused["state"], refused["problem"]["type"]) == ("rejected", "/problems/capacity-short")
    assert [vai.control(name).names() for name in ("small", "large", "third")] == [[], [], []]
    vai.control("third").clear()
    made = ask(location={"cluster": "cluster-1"}, placement={"elsewhere": "automatically"})
    assert (made["state"], made["datacenter_id"]) == ("succeeded", response.json["id"])


def test_a_worker_that_dies_anywhere_on_the_way_elsewhere_leaves_one_machine(
    vai: Installation, ann: FlaskClient, small: Json, large: Json
) -> None:
    """Each message comes twice, and each step's answer is lost once before it is saved."""
    vai.control("small").inject("create", FULL, as_task=True)
    asked = body(**FITTING, placement={"elsewhere": "automatically"})
    operation = ann.post(f"{API}/virtual-machines", json=asked).json
    store = vai.services.operations
    looks = 0
    while (known := store.get(operation["id"], None)).state.open:
        looks += 1
        assert looks < 100
        begun = begin(known, utc_now())
        step = vai.services.workflow._steps[begun.step]
        with suppress(VaiError):  # a first attempt, whose worker is killed before it saves
            step.undo(begun) if begun.state is OperationState.UNDOING else step.do(begun)
        vai.services.watcher.watch_tasks_once(known.datacenter_id or "", 0)
        vai.services.workflow.run_step(known.step, known.id, "rescuer")
    assert store.get(operation["id"], None).state is OperationState.SUCCEEDED
    assert (vai.control("small").names(), vai.control("large").names()) == ([], ["big-1"])
    held = vai.services.store.reservations
    assert [len(held.of_datacenter(each["id"])) for each in (small, large)] == [0, 1]
