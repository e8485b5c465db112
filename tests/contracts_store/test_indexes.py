"""What a machine's life asks of MongoDB looks at no more documents than it returns, however many there are."""

from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest

from tests.builders import NOW, a_machine, an_event, an_operation
from tests.fakes import SettableClock
from vai_app.domain.capacity import Room
from vai_app.domain.errors import NameTaken
from vai_app.domain.hypervisor import NativeTask, TaskObservation, TaskState
from vai_app.domain.operations import Wait, advance, begin
from vai_app.domain.ports.operations import PendingTask
from vai_app.domain.reservations import Account, Reservation, datastore_account, host_account
from vai_app.domain.virtual_machines import Mark, Power
from vai_app.store import Store
from vai_app.store.documents import OperationDocument, collection_of

_STRANGERS = 120
_ROOM = Room(cpus=2, memory_mib=1024, disk_gib=10)
_TO_SPARE = 2


@pytest.fixture
def store(mongo_store: Store) -> Store:
    """MongoDB alone, full of what others have."""
    for number in range(_STRANGERS):
        mongo_store.operations.insert(an_operation(idempotency_key=f"key-{number}"))
        machine = a_machine()
        mongo_store.machines.insert(machine)
        mongo_store.machines.record_active(machine.id, f"ref-{number}", Mark(machine.id, "op"))
        mongo_store.events.append(an_event())
    return mongo_store


@pytest.fixture
def looked_at(store: Store) -> Iterator[Callable[[], dict[str, int]]]:  # noqa: ARG001 - filled before we look
    """Return, by statement, the documents that were looked at beyond those returned or changed."""
    database = collection_of(OperationDocument).database
    database.command("profile", 0)
    database.drop_collection("system.profile")
    database.create_collection("system.profile", capped=True, size=32 << 20)
    database.command("profile", 2)

    def found() -> dict[str, int]:
        database.command("profile", 0)
        ours = {"ns": {"$not": {"$regex": "system"}}, "docsExamined": {"$exists": True}}
        return {
            f"{each['op']} {each['ns']} {each.get('command')}": each["docsExamined"] - each.get("nreturned", 0)
            for each in database["system.profile"].find(ours)
        }

    yield found
    database.command("profile", 0)
    database.drop_collection("system.profile")


def test_the_life_of_a_machine_looks_at_nothing_of_others(
    store: Store, clock: SettableClock, looked_at: Callable[[], dict[str, int]]
) -> None:
    machine, asked = a_machine(), an_operation(idempotency_key="ours")
    assert store.operations.repeated(asked) is None
    store.operations.insert(asked)
    assert store.operations.repeated(asked) == asked
    store.machines.insert(machine)
    with pytest.raises(NameTaken):
        store.machines.insert(a_machine(name=machine.name))
    store.reservations.open_accounts(
        [Account(host_account("dc-1", "host-1"), "dc-1"), Account(datastore_account("dc-1", "store-1"), "dc-1")]
    )
    held = Reservation(machine.id, "dc-1", "acme", _ROOM, NOW, "host-1", "store-1")
    assert store.reservations.take(held, None) is None
    claimed = store.operations.claim(asked.id, asked.step, "worker-1", 60)
    assert claimed is not None
    waiting = advance(begin(claimed, NOW), Wait(seconds=5, native_task=NativeTask("task-1")), NOW)
    waits = store.operations.save(waiting, claimed)
    assert store.operations.pending_tasks("dc-1") == [PendingTask(asked.id, asked.step, "task-1")]
    assert store.operations.record_task(
        PendingTask(asked.id, asked.step, "task-1"), TaskObservation("task-1", TaskState.SUCCEEDED)
    )
    store.machines.record_active(machine.id, "ref-0", Mark(machine.id, asked.id))  # which another record holds
    store.machines.record_power(machine.id, Power.ON)
    clock.now += timedelta(seconds=1)
    assert store.operations.open_on([waits.target_id])
    assert store.machines.get(machine.id, "acme").observed_power is Power.ON
    store.machines.record_deleted(machine.id)
    assert store.reservations.release(machine.id)

    statements = looked_at()

    assert len(statements) > 10
    assert {statement: extra for statement, extra in statements.items() if extra > _TO_SPARE} == {}
