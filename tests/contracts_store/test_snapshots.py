"""What both repositories of snapshots promise."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.fakes import FakeStore
from vai_app.domain.errors import NotFound
from vai_app.domain.snapshots import Snapshot
from vai_app.domain.virtual_machines import Mark, Size
from vai_app.store import Store

AnyStore = Store | FakeStore
TAKEN_AT = datetime(2026, 1, 1, tzinfo=UTC)


def a_snapshot(number: int, machine_id: str = "vm-1", tenant: str = "acme") -> Snapshot:
    return Snapshot(
        f"snap-{number}", machine_id, tenant, "dc-1", f"name-{number}", "m-1", f"ref-{number}",
        Mark(machine_id, f"op-{number}"), Size(2, 256, 4), TAKEN_AT + timedelta(seconds=number),
    )  # fmt: skip


def test_what_was_put_is_there_until_it_is_deleted(store: AnyStore) -> None:
    for _ in range(2):
        store.snapshots.put(a_snapshot(1))
    assert store.snapshots.get("snap-1", "acme") == a_snapshot(1)
    for _ in range(2):
        store.snapshots.delete("snap-1")
        with pytest.raises(NotFound, match="snap-1"):
            store.snapshots.get("snap-1", None)


def test_a_snapshot_is_its_tenants_alone(store: AnyStore) -> None:
    store.snapshots.put(a_snapshot(1))
    assert store.snapshots.get("snap-1", None) == a_snapshot(1)
    with pytest.raises(NotFound):
        store.snapshots.get("snap-1", "rival")


def test_a_machines_snapshots_are_listed_oldest_first(store: AnyStore) -> None:
    for number in (3, 1, 2):
        store.snapshots.put(a_snapshot(number))
    store.snapshots.put(a_snapshot(4, machine_id="vm-2"))
    assert [each.id for each in store.snapshots.of_machine("vm-1")] == ["snap-1", "snap-2", "snap-3"]
    assert list(store.snapshots.of_machine("vm-3")) == []
