"""Lifetimes over REST: granted by policies, told before they end, renewed in time, and then the machine is removed."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.api.installation import API, SMALL, Installation, problem
from vai_app.bootstrap import utc_now
from vai_app.domain.errors import InvalidRequest
from vai_app.domain.lifetimes import Lifetime, Phase

Json = dict[str, Any]

WEEK = 168


@pytest.fixture(autouse=True)
def _policy(admin: FlaskClient) -> None:
    """Machines of ``acme`` are kept a week at most."""
    limits = {"lifetime_hours": WEEK, "lifetime_warning_hours": 48}
    admin.post(f"{API}/policies", json={"name": "a-week", "limits": limits, "tenants": ["acme"]})


def hours_left(machine: Json) -> float:
    return (datetime.fromisoformat(machine["expires_at"]) - utc_now()) / timedelta(hours=1)


def age(vai: Installation, machine: Json, *, left: timedelta, phase: Phase = Phase.RUNNING) -> None:
    """Let a machine's lifetime be due now, and end after what is ``left``."""
    known = vai.services.machines.get(machine["id"], None).lifetime
    now = utc_now()
    assert vai.services.machines.change_lifetime(machine["id"], known, Lifetime(now + left, now, phase))


def events_of(client: FlaskClient, machine: Json, kind: str) -> list[Json]:
    found: list[Json] = client.get(f"{API}/events?machine={machine['id']}&kind={kind}").json["items"]
    return found


def removals(client: FlaskClient, machine: Json) -> list[Json]:
    found: list[Json] = client.get(f"{API}/operations?machine={machine['id']}&kind=delete_vm").json["items"]
    return found


def renew(client: FlaskClient, machine: Json, hours: int | None = None) -> Any:
    return client.post(f"{API}/virtual-machines/{machine['id']}/actions/renew", json={"lifetime_hours": hours})


@pytest.mark.spec(26)
def test_a_machine_is_kept_as_long_as_asked_or_as_the_policy_allows(create: Any) -> None:
    assert hours_left(create("short", lifetime_hours=5)) == pytest.approx(5, abs=0.1)
    assert hours_left(create("long")) == pytest.approx(WEEK, abs=0.1)


def test_a_machine_that_no_policy_limits_is_kept(vai: Installation, eve: FlaskClient, berlin: Json) -> None:
    body = {"name": "web-1", "datacenter": berlin["name"], "image": "debian-12", **SMALL}
    operation = eve.post(f"{API}/virtual-machines", json=body).json
    vai.run()
    assert eve.get(f"{API}/virtual-machines/{operation['machine_id']}").json["expires_at"] is None


@pytest.mark.spec(26)
@pytest.mark.usefixtures("berlin")
def test_a_lifetime_beyond_the_limit_is_refused_with_the_policys_name(ann: FlaskClient) -> None:
    body = {"name": "web-1", "datacenter": "berlin", **SMALL, "lifetime_hours": WEEK + 1}
    refused = problem(ann.post(f"{API}/virtual-machines", json=body), 403, "policy-refused")
    assert refused["detail"] == "Policy 'a-week' limits lifetime_hours to 168, 169 asked."
    found = ann.post(f"{API}/policies/evaluate", json={"lifetime_hours": WEEK + 1}).json
    assert [(each["policy"], each["limit"]) for each in found["refusals"]] == [("a-week", "lifetime_hours")]


@pytest.mark.usefixtures("berlin")
def test_a_repeated_request_is_recognised_whatever_policies_say_by_then(admin: FlaskClient, ann: FlaskClient) -> None:
    body = {"name": "web-1", "datacenter": "berlin", **SMALL}
    first = ann.post(f"{API}/virtual-machines", json=body, headers={"Idempotency-Key": "k"}).json
    admin.delete(f"{API}/policies/a-week", headers={"If-Match": '"1"'})
    again = ann.post(f"{API}/virtual-machines", json=body, headers={"Idempotency-Key": "k"})
    assert (again.status_code, again.json["id"]) == (202, first["id"])


def test_the_machines_of_a_batch_have_lifetimes_too(vai: Installation, ann: FlaskClient, berlin: Json) -> None:
    machines = [{"name": "a", **SMALL, "lifetime_hours": 5}, {"name": "b", **SMALL}]
    body = {"machines": machines, "datacenters": [berlin["name"]]}
    assert ann.post(f"{API}/batches", json=body).status_code == 202
    vai.run()
    made = {each["name"]: each for each in ann.get(f"{API}/virtual-machines").json["items"]}
    assert hours_left(made["a"]) == pytest.approx(5, abs=0.1)
    assert hours_left(made["b"]) == pytest.approx(WEEK, abs=0.1)
    machines[0]["lifetime_hours"] = WEEK + 1
    problem(ann.post(f"{API}/batches", json=body), 403, "policy-refused")


def test_the_end_of_a_machine_is_told_once(vai: Installation, ann: FlaskClient, create: Any) -> None:
    machine = create()
    assert vai.services.lifetimes.follow() == 0
    age(vai, machine, left=timedelta(hours=2))
    assert vai.services.lifetimes.follow() == 1
    assert vai.services.lifetimes.follow() == 0
    (told,) = events_of(ann, machine, "machine.expiring")
    assert "vai vm renew web-1" in told["message"]
    assert ann.get(f"{API}/virtual-machines/{machine['id']}").json["state"] == "active"


def test_an_expired_machine_is_removed_and_its_room_given_back(
    vai: Installation, ann: FlaskClient, create: Any
) -> None:
    machine = create()
    age(vai, machine, left=timedelta(0), phase=Phase.WARNED)
    vai.services.lifetimes.follow()
    (removal,) = removals(ann, machine)
    assert removal["requested_by"] == "vai"
    vai.run()
    assert ann.get(f"{API}/virtual-machines/{machine['id']}").json["state"] == "deleted"
    assert vai.control("berlin").names() == []
    assert vai.services.store.reservations.get(machine["id"]) is None
    assert vai.services.lifetimes.follow() == 0


def test_a_machine_that_is_renewed_in_time_is_kept(vai: Installation, ann: FlaskClient, create: Any) -> None:
    machine = create()
    age(vai, machine, left=timedelta(0), phase=Phase.WARNED)
    renewed = renew(ann, machine, 10)
    assert renewed.status_code == 200
    assert hours_left(renewed.json) == pytest.approx(10, abs=0.1)
    assert vai.services.lifetimes.follow() == 0
    (told,) = events_of(ann, machine, "machine.renewed")
    assert told["actor"] == "ann"
    assert hours_left(renew(ann, machine).json) == pytest.approx(WEEK, abs=0.1)
    refused = problem(renew(ann, machine, WEEK + 1), 403, "policy-refused")
    assert "'a-week' limits lifetime_hours to 168, 169 asked" in refused["detail"]


def test_a_machine_whose_lifetime_passed_cannot_be_renewed(vai: Installation, ann: FlaskClient, create: Any) -> None:
    machine = create()
    age(vai, machine, left=timedelta(0))
    vai.services.lifetimes.follow()
    assert "is being removed" in problem(renew(ann, machine), 409, "conflict")["detail"]


def test_a_machine_that_was_never_made_cannot_be_renewed(vai: Installation, ann: FlaskClient, create: Any) -> None:
    vai.control("berlin").inject("request_create", InvalidRequest("not this one"), times=1)
    machine = create()
    assert machine["state"] == "failed"
    assert "was never made" in problem(renew(ann, machine), 409, "conflict")["detail"]


def test_a_removal_that_failed_is_asked_for_again(vai: Installation, ann: FlaskClient, create: Any) -> None:
    machine = create()
    age(vai, machine, left=timedelta(0))
    vai.services.lifetimes.follow()
    vai.control("berlin").inject("delete", InvalidRequest("not now"), times=1, as_task=True)
    assert vai.services.lifetimes.follow() == 0
    vai.run()
    assert [each["state"] for each in removals(ann, machine)] == ["failed"]
    age(vai, machine, left=timedelta(0), phase=Phase.PASSED)
    vai.services.lifetimes.follow()
    vai.run()
    assert [each["state"] for each in removals(ann, machine)] == ["succeeded", "failed"]
    assert vai.control("berlin").names() == []


def test_a_machine_that_is_being_removed_is_not_removed_twice(vai: Installation, ann: FlaskClient, create: Any) -> None:
    machine = create()
    for _ in range(2):
        age(vai, machine, left=timedelta(0), phase=Phase.PASSED)
        assert vai.services.lifetimes.follow() == 1
    assert len(removals(ann, machine)) == 1


def test_a_strangers_machine_and_another_tenants_cannot_be_renewed(
    vai: Installation, admin: FlaskClient, eve: FlaskClient, create: Any
) -> None:
    problem(renew(eve, create()), 404, "not-found")
    vai.control("berlin").add_stranger("theirs")
    vai.reconcile("berlin")
    (theirs,) = admin.get(f"{API}/virtual-machines?name=theirs").json["items"]
    assert "Adopt it first" in problem(renew(admin, theirs), 409, "conflict")["detail"]


def test_machines_are_listed_by_when_they_expire(ann: FlaskClient, create: Any) -> None:
    create("short", lifetime_hours=5)
    create("long")
    moment = (utc_now() + timedelta(hours=6)).strftime("%Y-%m-%dT%H:%M:%SZ")
    found = ann.get(f"{API}/virtual-machines?expires_before={moment}").json["items"]
    assert [each["name"] for each in found] == ["short"]
