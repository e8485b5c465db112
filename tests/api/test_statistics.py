"""What machines use: collected as the datacenter's settings say, shown to those whose machines they are."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.api.installation import API, Installation, problem
from vai_app.domain.errors import InvalidRequest, ProviderForbidden, ProviderTimeout, VaiError
from vai_app.domain.identifiers import new_id
from vai_app.domain.statistics import Metric
from vai_app.domain.virtual_machines import Power
from vai_app.store.documents import SampleDocument, collection_of

pytestmark = pytest.mark.spec(4)

Json = dict[str, Any]
Create = Callable[..., Json]
BERLIN = f"{API}/datacenters/berlin"
VALUES = {Metric.CPU_PERCENT, Metric.MEMORY_MIB, Metric.POWER_WATTS}  # as simulated datacenters measure them
DEFAULTS = {
    "enabled": True,
    "interval_seconds": 60,
    "retention_hours": 24,
    "batch_size": 100,
    "metrics": [each.value for each in Metric],
}


def change(admin: FlaskClient, **settings: Any) -> Any:
    now = admin.get(BERLIN).json
    body = {"statistics": {**now["statistics"], **settings}}
    return admin.patch(BERLIN, json=body, headers={"If-Match": f'"{now["revision"]}"'})


def samples_of(client: FlaskClient, machine: Json, **query: str) -> list[Json]:
    response = client.get(f"{API}/virtual-machines/{machine['id']}/statistics", query_string=query)
    assert response.status_code == 200, response.text
    found: list[Json] = response.json["items"]
    return found


def test_what_a_machine_used_is_shown_newest_first(
    vai: Installation, ann: FlaskClient, berlin: Json, create: Create
) -> None:
    machine, began = create(), datetime.now(UTC)
    assert samples_of(ann, machine) == []
    for _ in range(2):
        assert vai.services.stats_collector.collect(berlin["id"]) == 1
    second, first = samples_of(ann, machine)
    assert set(first) == {"at", *Metric}
    assert {name for name, value in first.items() if value is not None} == {"at", *VALUES}
    assert 0 < first["cpu_percent"] <= 100
    assert first["memory_mib"] == pytest.approx(256 * 0.6)
    assert second["network_sent_kib_s"] > 0  # which takes two totals
    times = [datetime.fromisoformat(each["at"]) for each in (first, second)]
    assert began - timedelta(milliseconds=1) <= times[0] <= times[1] <= datetime.now(UTC)
    assert samples_of(ann, machine, until=first["at"]) == []
    assert samples_of(ann, machine, since=second["at"]) == [second]
    assert samples_of(ann, machine, page_size="1") == [second]


def test_only_machines_that_run_are_measured(
    vai: Installation, ann: FlaskClient, admin: FlaskClient, berlin: Json, create: Create
) -> None:
    off = create("web-2", power_on=False)
    control = vai.control("berlin")
    control.set_power(control.add_stranger("legacy"), Power.ON)
    vai.reconcile("berlin")
    (stranger,) = admin.get(f"{API}/virtual-machines?managed=false").json["items"]
    assert vai.services.stats_collector.collect(berlin["id"]) == 1
    assert samples_of(ann, off) == []
    assert len(samples_of(admin, stranger)) == 1
    problem(ann.get(f"{API}/virtual-machines/{stranger['id']}/statistics"), 404, "not-found")


@pytest.mark.spec(1)
@pytest.mark.spec(2)
def test_settings_are_read_from_the_database_and_a_change_counts_at_once(
    vai: Installation, ann: FlaskClient, admin: FlaskClient, berlin: Json, create: Create
) -> None:
    machine, collector = create(), vai.services.stats_collector
    assert admin.get(BERLIN).json["statistics"] == DEFAULTS
    assert collector.take_due() == [berlin["id"]]
    assert collector.take_due() == []  # its turn is over until the interval has passed

    assert change(admin, interval_seconds=30, metrics=["memory_mib", "memory_mib"]).status_code == 200
    assert admin.get(BERLIN).json["statistics"]["metrics"] == ["memory_mib"]
    assert collector.take_due() == [berlin["id"]]
    collector.collect(berlin["id"])
    (sample,) = samples_of(ann, machine)
    assert [name for name, value in sample.items() if value is not None] == ["at", "memory_mib"]

    assert change(admin, enabled=False, interval_seconds=45).status_code == 200
    assert collector.take_due() == []
    assert collector.collect(berlin["id"]) == 0


def test_a_datacenter_is_registered_with_settings_of_its_own(vai: Installation, admin: FlaskClient) -> None:
    body = vai.datacenter_body("oslo", statistics={"interval_seconds": 300, "metrics": ["cpu_percent"]})
    registered = admin.post(f"{API}/datacenters", json=body)
    assert registered.status_code == 201, registered.text
    own = {"interval_seconds": 300, "metrics": ["cpu_percent"]}
    assert admin.get(f"{API}/datacenters/oslo").json["statistics"] == {**DEFAULTS, **own}


@pytest.mark.usefixtures("berlin")
@pytest.mark.parametrize("settings", [
    {"interval_seconds": 4}, {"interval_seconds": 86_401}, {"retention_hours": 0}, {"batch_size": 0},
    {"metrics": []}, {"metrics": ["temperature"]}, {"colour": "blue"},
])  # fmt: skip
def test_settings_that_cannot_be_are_refused_by_name(admin: FlaskClient, settings: Json) -> None:
    refused = problem(change(admin, **settings), 422, "invalid-request")
    assert refused["errors"][0]["field"].startswith(f"statistics.{next(iter(settings))}")
    assert admin.get(BERLIN).json["statistics"] == DEFAULTS


def test_samples_are_kept_as_long_as_the_settings_say(
    vai: Installation, admin: FlaskClient, berlin: Json, create: Create
) -> None:
    create()
    assert change(admin, retention_hours=3).status_code == 200
    began = datetime.now(UTC)
    vai.services.stats_collector.collect(berlin["id"])
    (kept,) = collection_of(SampleDocument).find()
    assert timedelta(0) <= kept["forget_at"] - began - timedelta(hours=3, milliseconds=-1) < timedelta(minutes=1)


@pytest.mark.parametrize("kind", [ProviderTimeout, ProviderForbidden, InvalidRequest])
def test_what_goes_wrong_is_told_with_the_datacenter_until_it_went_well(
    vai: Installation, admin: FlaskClient, berlin: Json, create: Create, kind: type[VaiError]
) -> None:
    create()
    collector = vai.services.stats_collector
    vai.control("berlin").inject("observe_statistics", error=kind("It hangs."), times=1)
    assert collector.collect(berlin["id"]) == 0
    shown = admin.get(BERLIN).json
    assert (shown["collection_problem"], shown["collected_at"]) == ("It hangs.", None)
    assert shown["revision"] == berlin["revision"]
    assert collector.collect(berlin["id"]) == 1
    shown = admin.get(BERLIN).json
    assert shown["collection_problem"] is None
    assert datetime.fromisoformat(shown["collected_at"]) <= datetime.now(UTC)


def test_what_was_read_before_it_went_wrong_is_kept(
    vai: Installation, ann: FlaskClient, admin: FlaskClient, berlin: Json, create: Create
) -> None:
    machines = [create(f"web-{number}") for number in range(3)]
    assert change(admin, batch_size=2).status_code == 200
    control = vai.control("berlin")
    original = vai.services.statistics.append

    def then_it_hangs(*given: Any) -> None:
        original(*given)
        control.inject("observe_statistics", error=ProviderTimeout("It hangs."), times=1)

    object.__setattr__(vai.services.statistics, "append", then_it_hangs)
    vai.services.stats_collector.collect(berlin["id"])
    assert sorted(len(samples_of(ann, each)) for each in machines) == [0, 1, 1]
    assert admin.get(BERLIN).json["collection_problem"] == "It hangs."


def test_two_collections_of_a_datacenter_do_not_overlap_and_a_dead_one_holds_nobody_up_for_ever(
    vai: Installation, berlin: Json, create: Create
) -> None:
    create()
    leases, other = vai.services.leases, new_id("st", datetime.now(UTC))
    assert leases.hold(f"statistics/{berlin['id']}", other, 60)
    assert vai.services.stats_collector.collect(berlin["id"]) == 0
    assert leases.hold(f"statistics/{berlin['id']}", other, 0)  # it died, and its time has passed
    assert vai.services.stats_collector.collect(berlin["id"]) == 1
    assert leases.hold(f"statistics/{berlin['id']}", other, 60)  # given back


def test_a_datacenter_that_was_not_listed_or_is_disabled_is_not_asked(
    vai: Installation, admin: FlaskClient, berlin: Json
) -> None:
    assert admin.post(f"{API}/datacenters", json=vai.datacenter_body("oslo")).status_code == 201
    collector = vai.services.stats_collector
    assert collector.take_due() == [berlin["id"]]
    assert collector.collect(admin.get(f"{API}/datacenters/oslo").json["id"]) == 0
    headers = {"If-Match": f'"{berlin["revision"]}"'}
    assert admin.patch(BERLIN, json={"enabled": False}, headers=headers).status_code == 200
    assert collector.collect(berlin["id"]) == 0
    assert change(admin, interval_seconds=30).status_code == 200
    assert collector.take_due() == []
