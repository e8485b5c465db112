"""What both repositories of statistics promise."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.builders import NOW, a_datacenter, an_active_machine
from tests.fakes import FakeStore, SettableClock
from vai_app.domain.identifiers import new_id
from vai_app.domain.ports.paging import PageRequest
from vai_app.domain.ports.statistics import SampleFilter
from vai_app.domain.statistics import Metric, Sample
from vai_app.domain.virtual_machines import MachineState, Power
from vai_app.store import Store
from vai_app.store.documents import SampleDocument, collection_of

pytestmark = pytest.mark.spec(4)

AnyStore = Store | FakeStore
LATER = datetime(2100, 1, 1, tzinfo=UTC)  # MongoDB forgets by its own clock


def a_sample(second: int, machine_id: str = "vm-1", datacenter_id: str = "dc-1", **totals: float) -> Sample:
    counted = {Metric(name): total for name, total in totals.items()}
    at = NOW + timedelta(seconds=second)
    return Sample(new_id("st", NOW), machine_id, datacenter_id, at, {Metric.MEMORY_MIB: float(second)}, counted)


def seconds_of(store: AnyStore, wanted: SampleFilter) -> list[float]:
    return [each.values[Metric.MEMORY_MIB] for each in store.statistics.page(wanted, PageRequest()).items]


def test_a_machines_samples_come_back_newest_first_and_once(store: AnyStore) -> None:
    samples = [a_sample(2), a_sample(1), a_sample(3)]
    for stored in (samples, samples[:1], [], [*samples, a_sample(9, "vm-2")]):
        store.statistics.append(stored, LATER)
    found = store.statistics.page(SampleFilter("vm-1"), PageRequest()).items
    assert list(found) == [samples[2], samples[0], samples[1]]


def test_samples_of_an_interval(store: AnyStore) -> None:
    store.statistics.append([a_sample(second) for second in range(5)], LATER)
    since, until = NOW + timedelta(seconds=1), NOW + timedelta(seconds=3)
    assert seconds_of(store, SampleFilter("vm-1", since, until)) == [2, 1]
    assert seconds_of(store, SampleFilter("vm-1", since=until)) == [4, 3]


def test_pages_go_on_where_the_one_before_ended_also_within_one_moment(store: AnyStore) -> None:
    store.statistics.append([a_sample(second // 2) for second in range(6)], LATER)
    found, token = [], None
    while True:
        page = store.statistics.page(SampleFilter("vm-1"), PageRequest(2, token))
        found += [each.id for each in page.items]
        token = page.next_token
        if token is None:
            break
    assert len(found) == len(set(found)) == 6


def test_the_newest_totals_of_each_machine_of_a_datacenter(store: AnyStore) -> None:
    sent = Metric.NETWORK_SENT_KIB_S.value
    newest, other = a_sample(5, **{sent: 50.0}), a_sample(4, "vm-2", **{sent: 7.0})
    old = a_sample(0, "vm-3", **{sent: 1.0})
    elsewhere = a_sample(6, "vm-4", "dc-2", **{sent: 2.0})
    store.statistics.append([a_sample(3, **{sent: 30.0}), newest, a_sample(6), other, old, elsewhere], LATER)
    found = store.statistics.newest_totals("dc-1", NOW + timedelta(seconds=1))
    assert found == {"vm-1": newest, "vm-2": other}


def test_mongodb_is_told_when_to_forget_a_sample(mongo_store: Store) -> None:
    mongo_store.statistics.append([a_sample(1)], LATER)
    mongo_store.prepare()
    collection = collection_of(SampleDocument)
    assert [each["forget_at"] for each in collection.find()] == [LATER]
    assert collection.index_information()["forget_at_1"]["expireAfterSeconds"] == 0


def test_machines_that_run_are_those_that_are_there_and_on(store: AnyStore) -> None:
    runs = an_active_machine()
    stranger = an_active_machine(tenant=None, mark=None)
    others = [
        an_active_machine(observed_power=Power.OFF),
        an_active_machine(datacenter_id="dc-2"),
        an_active_machine(state=MachineState.MISSING),
        an_active_machine(provider_ref=None),
    ]
    for machine in (runs, stranger, *others):
        store.machines.insert(machine)
    assert store.machines.running("dc-1") == {runs.provider_ref: runs.id, stranger.provider_ref: stranger.id}


def test_how_a_collection_went_stays_with_the_datacenter(store: AnyStore, clock: SettableClock) -> None:
    store.datacenters.insert(a_datacenter(), {})
    store.datacenters.record_collected("dc-1", None)
    collected_at = clock.now
    clock.advance(60)
    store.datacenters.record_collected("dc-1", "It hangs.")
    found = store.datacenters.get("dc-1")
    assert (found.collected_at, found.collection_problem) == (collected_at, "It hangs.")
    store.datacenters.record_collected("dc-1", None)
    found = store.datacenters.get("dc-1")
    assert (found.collected_at, found.collection_problem, found.revision) == (clock.now, None, 1)
