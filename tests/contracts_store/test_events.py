"""What both event repositories promise: activity is stored once, found, and moved to the archive."""

from datetime import timedelta

import pytest

from tests.builders import NOW, an_event
from tests.fakes import FakeStore
from vai_app.domain.ports.events import EventFilter
from vai_app.domain.ports.paging import PageRequest
from vai_app.store import Store

AnyStore = Store | FakeStore
ALL = EventFilter(tenant=None)


@pytest.mark.spec(23)
def test_an_appended_event_is_read_back_as_it_was(store: AnyStore) -> None:
    event = an_event(
        level=3, operation_id="op-1", machine_id="vm-1", datacenter_id="dc-1", data={"a.b": "$c"}
    )  # fmt: skip
    store.events.append(event)
    assert store.events.page(ALL, PageRequest()).items == [event]


@pytest.mark.spec(23)
def test_appending_an_event_again_does_nothing(store: AnyStore) -> None:
    event = an_event()
    store.events.append(event)
    store.events.append(an_event(id=event.id, message="changed"))
    assert store.events.page(ALL, PageRequest()).items == [event]


@pytest.mark.spec(23)
def test_of_many_events_at_once_each_is_stored_once(store: AnyStore) -> None:
    known = an_event()
    store.events.append(known)
    others = [an_event() for _ in range(50)]
    store.events.append(*others[:25], an_event(id=known.id, message="changed"), *others[25:])
    store.events.append()
    found = store.events.page(ALL, PageRequest(size=100)).items
    assert sorted(found, key=lambda each: each.id) == sorted([known, *others], key=lambda each: each.id)


@pytest.mark.spec(23)
def test_events_are_listed_newest_first_whatever_their_ids(store: AnyStore) -> None:
    ids_and_ages = (("ev-op-9", 3), ("ev-1", 1), ("ev-z", 2), ("ev-2", 1))
    for name, age in ids_and_ages:
        store.events.append(an_event(id=name, at=NOW - timedelta(seconds=age)))
    listed, token = [], None
    while True:
        page = store.events.page(ALL, PageRequest(size=1, token=token))
        listed += [each.id for each in page.items]
        if (token := page.next_token) is None:
            break
    assert listed == ["ev-2", "ev-1", "ev-z", "ev-op-9"]


def test_events_are_filtered(store: AnyStore) -> None:
    old = an_event(at=NOW - timedelta(hours=1), operation_id="op-1")
    theirs = an_event(tenant="globex", machine_id="vm-1")
    common = an_event(tenant=None, kind="datacenter.unreachable", datacenter_id="dc-1")
    for event in (old, theirs, common):
        store.events.append(event)

    def ids(**properties: object) -> list[str]:
        wanted = EventFilter(**{"tenant": None, **properties})  # type: ignore[arg-type]
        return [each.id for each in store.events.page(wanted, PageRequest()).items]

    assert ids() == [common.id, theirs.id, old.id]
    assert ids(tenant="acme") == [old.id]
    assert ids(kind="datacenter.unreachable") == [common.id]
    assert ids(operation_id="op-1") == [old.id]
    assert ids(machine_id="vm-1") == [theirs.id]
    assert ids(datacenter_id="dc-1") == [common.id]
    assert ids(since=NOW) == [common.id, theirs.id]
    assert ids(until=NOW) == [old.id]
    assert ids(since=NOW - timedelta(hours=1), until=NOW) == [old.id]


@pytest.mark.spec(25)
def test_older_events_move_to_the_archive_and_newer_ones_stay(store: AnyStore) -> None:
    old = [an_event(at=NOW - timedelta(days=age)) for age in (2, 3)]
    fresh = [an_event(at=NOW - timedelta(days=1)), an_event()]
    for event in old + fresh:
        store.events.append(event)
    assert store.events.archive(NOW - timedelta(days=1)) == 2
    assert {each.id for each in store.events.page(ALL, PageRequest()).items} == {each.id for each in fresh}
    assert store.events.archive(NOW - timedelta(days=1)) == 0
