"""What tenants held, over REST and on a terminal, as JSON and CSV."""

import csv
import io
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.api.installation import API, SMALL, Installation, problem
from vai_app.store.documents import ReservationDocument, collection_of

Json = dict[str, Any]


def held_for(machine: Json, hours: float) -> None:
    """Let a machine's reservation have begun so many hours ago."""
    since = datetime.now(UTC) - timedelta(hours=hours)
    collection_of(ReservationDocument).update_one({"_id": machine["id"]}, {"$set": {"since": since}})


def report(client: FlaskClient, **query: Any) -> list[Json]:
    since = (datetime.now(UTC) - timedelta(days=30)).isoformat()
    response = client.get(f"{API}/consumption", query_string={"since": since, **query})
    assert response.status_code == 200, response.text
    found: list[Json] = response.json["items"]
    return found


@pytest.mark.spec(17)
def test_a_machine_is_consumed_while_it_is_there_and_stays_in_the_report_when_it_is_gone(
    vai: Installation, ann: FlaskClient, create: Any
) -> None:
    machine = create(cpus=2, memory_mib=512, disk_gib=4)
    held_for(machine, 3)
    (found,) = report(ann)
    assert (found["tenant"], found["datacenter"]["name"], found["machines"]) == ("acme", "berlin", 1)
    for name, per_hour in (("machine", 1), ("cpu", 2), ("memory_gib", 0.5), ("disk_gib", 4)):
        assert found[f"{name}_hours"] == pytest.approx(3 * per_hour, abs=0.01 * per_hour)
    ann.delete(f"{API}/virtual-machines/{machine['id']}")
    vai.run()
    (after,) = report(ann)
    assert after["cpu_hours"] == pytest.approx(6, abs=0.02)


@pytest.mark.spec(17)
def test_a_resize_is_consumed_as_what_was_held_before_and_after(
    vai: Installation, ann: FlaskClient, create: Any
) -> None:
    machine = create(cpus=1)
    held_for(machine, 4)
    ann.post(f"{API}/virtual-machines/{machine['id']}/actions/power", json={"action": "stop"})
    vai.run()
    ann.post(f"{API}/virtual-machines/{machine['id']}/actions/resize", json={"cpus": 3, "memory_mib": 256})
    vai.run()
    held_for(machine, 2)  # the larger size for two hours more
    assert report(ann)[0]["cpu_hours"] == pytest.approx(4 + 2 * 3, abs=0.05)


@pytest.mark.usefixtures("berlin", "madrid")
def test_a_tenant_sees_its_own_and_an_administrator_all(
    vai: Installation, admin: FlaskClient, ann: FlaskClient, eve: FlaskClient, create: Any
) -> None:
    held_for(create(), 2)
    body = {"name": "theirs", "datacenter": "madrid", "image": "debian-12", **SMALL}
    operation = eve.post(f"{API}/virtual-machines", json=body).json
    vai.run()
    held_for({"id": operation["machine_id"]}, 2)
    assert [each["tenant"] for each in report(ann)] == ["acme"]
    assert [each["tenant"] for each in report(eve)] == ["rival"]
    assert [(each["tenant"], each["datacenter"]["name"]) for each in report(admin)] == [
        ("acme", "berlin"),
        ("rival", "madrid"),
    ]
    assert [each["tenant"] for each in report(admin, tenant="rival")] == ["rival"]
    assert [each["tenant"] for each in report(admin, datacenter="berlin")] == ["acme"]
    problem(ann.get(f"{API}/consumption?tenant=rival"), 404, "not-found")
    problem(ann.get(f"{API}/consumption?datacenter=atlantis"), 404, "not-found")


def test_the_report_is_a_table_for_who_accepts_one(ann: FlaskClient, create: Any) -> None:
    held_for(create(), 1)
    since = (datetime.now(UTC) - timedelta(hours=2)).isoformat()
    answer = ann.get(f"{API}/consumption", query_string={"since": since}, headers={"Accept": "text/csv"})
    assert (answer.status_code, answer.mimetype) == (200, "text/csv")
    (row,) = csv.DictReader(io.StringIO(answer.text))
    assert (row["tenant"], row["datacenter"], row["machines"]) == ("acme", "berlin", "1")
    assert float(row["machine_hours"]) == pytest.approx(1, abs=0.01)
    refused = ann.get(f"{API}/events", headers={"Accept": "text/csv"})
    assert refused.status_code == 406


def test_what_is_to_come_is_not_counted(ann: FlaskClient, create: Any) -> None:
    held_for(create(), 1)
    assert report(ann, until="2099-01-01T00:00:00Z")[0]["machine_hours"] == pytest.approx(1, abs=0.01)
    assert ann.get(f"{API}/consumption?since=2099-01-01T00:00:00Z").json["items"] == []
