"""Operations in MongoDB: every change is one compare-and-set."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, fields, replace
from datetime import datetime, timedelta
from typing import Any

from pymongo import ReturnDocument
from pymongo.collection import Collection as MongoCollection
from pymongo.errors import DuplicateKeyError

from vai_app.domain.errors import Conflict, IdempotencyKeyReused, MachineBusy, NotFound
from vai_app.domain.hypervisor import TaskObservation, TaskState
from vai_app.domain.operations import REPUBLISH_SECONDS, Operation, OperationState, StepName, problem_of
from vai_app.domain.ports.clock import Clock
from vai_app.domain.ports.operations import LeaseLost, OperationFilter, PendingTask
from vai_app.domain.ports.paging import Page, PageRequest
from vai_app.store.codec import Codec, to_stored
from vai_app.store.documents import ONE_OPEN_OPERATION, OperationDocument, collection_of
from vai_app.store.errors import translated
from vai_app.store.group_insert import GroupInsert
from vai_app.store.paging import NEWEST_ID_FIRST, page_of

_codec = Codec(Operation)
_STRANGERS_ON_THE_WAY = 100
_FIELDS = tuple(field.name for field in fields(Operation))
# What a save never writes: the wish to cancel is the user's, the version is counted by the database.
_NOT_SAVED = frozenset({"id", "version", "cancel_requested"})
# What a save always writes: the keeper of a lease moves them, and leaves the version as it is.
_ALWAYS_SAVED = frozenset({"due_at", "lease_owner", "lease_until"})


@translated
class MongoOperations:
    """Implements the ``OperationRepository`` port."""

    def __init__(self, clock: Clock) -> None:
        """``clock`` decides when leases end."""
        self._clock = clock
        self._inserts = GroupInsert(lambda: self._collection)

    @property
    def _collection(self) -> MongoCollection[dict[str, Any]]:
        return collection_of(OperationDocument)

    def insert(self, operation: Operation) -> Operation:
        """Store a new operation, or return the one stored before under the same idempotency key."""
        try:
            self._inserts.insert(_document(operation))
        except DuplicateKeyError as error:
            earlier = self.repeated(operation)
            if earlier is None:
                message = f"Machine {operation.target_id} has an open operation. Wait for its end, or cancel it."
                raise MachineBusy(message) from error
            return earlier
        return operation

    def repeated(self, operation: Operation) -> Operation | None:
        """Return the operation stored before under the same idempotency key."""
        if operation.idempotency_key is None:
            return None
        document = self._collection.find_one({"tenant": operation.tenant, "idempotency_key": operation.idempotency_key})
        if document is None:
            return None
        earlier = _codec.from_document(document)
        if earlier.payload_digest != operation.payload_digest:
            message = f"The idempotency key belongs to operation {earlier.id}, which asked for something else."
            raise IdempotencyKeyReused(message)
        return earlier

    def get(self, operation_id: str, tenant: str | None) -> Operation:
        """Return one operation of the tenant."""
        query = {"_id": operation_id} | ({"tenant": tenant} if tenant is not None else {})
        document = self._collection.find_one(query)
        if document is None:
            raise _not_found(operation_id)
        return _codec.from_document(document)

    def page(self, wanted: OperationFilter, page: PageRequest) -> Page[Operation]:
        """Newest first."""
        equal = {
            "tenant": wanted.tenant,
            "state": wanted.state,
            "kind": wanted.kind,
            "target_id": wanted.target_id,
            "datacenter_id": wanted.datacenter_id,
            "open": wanted.open,
        }
        query = {name: value for name, value in equal.items() if value is not None}
        return page_of(self._collection, query, page, load=_codec.from_documents, order=NEWEST_ID_FIRST)

    def open_on(self, target_ids: Collection[str]) -> Mapping[str, Operation]:
        """Return the open operation of each target that has one.

        The targets of a page lie close together and few operations are open, so that one walk between the first
        and the last target is much cheaper than a look for each; where it is not, each is looked for.
        """
        if not target_ids:
            return {}
        between = {"$gte": min(target_ids), "$lte": max(target_ids)}
        most = _STRANGERS_ON_THE_WAY + len(target_ids)
        found = list(self._collection.find({"open": True, "target_id": between}).hint(ONE_OPEN_OPERATION).limit(most))
        if len(found) == most:
            found = list(self._collection.find({"open": True, "target_id": {"$in": list(target_ids)}}))
        wanted = set(target_ids)
        return {each["target_id"]: _codec.from_document(each) for each in found if each["target_id"] in wanted}

    def claim(self, operation_id: str, step: StepName, owner: str, lease_seconds: float) -> Operation | None:
        """Take the lease and count the attempt."""
        now = self._clock()
        until = now + timedelta(seconds=lease_seconds)
        document = self._collection.find_one_and_update(
            {"_id": operation_id, "open": True, "step": step.value, **_unleased(now)},
            {
                "$set": {"lease_owner": owner, "lease_until": until, "due_at": until},
                "$inc": {"version": 1, "attempts": 1},
            },
            return_document=ReturnDocument.AFTER,
        )
        return _codec.from_document(document) if document else None

    def renew(self, claimed: Operation, lease_seconds: float) -> bool:
        """Move the end of the lease; the version stays, for nothing else is changed."""
        if claimed.lease_owner is None:
            return False
        now = self._clock()
        until = now + timedelta(seconds=lease_seconds)
        ours = {"_id": claimed.id, "version": claimed.version, "lease_owner": claimed.lease_owner}
        renewed = self._collection.update_one(
            {**ours, "deadline": {"$gt": now}}, {"$set": {"lease_until": until, "due_at": until}}
        )
        return renewed.matched_count == 1

    def save(self, operation: Operation, claimed: Operation) -> Operation:
        """Store what the claim's holder made of it, and keep a wish to cancel that came meanwhile."""
        stored = self._collection.find_one_and_update(
            {"_id": claimed.id, "version": claimed.version},
            {"$set": _changes(operation, claimed), "$inc": {"version": 1}},
            {"cancel_requested": 1},
            return_document=ReturnDocument.AFTER,
        )
        if stored is None:
            raise LeaseLost(operation.id)
        saved = replace(operation, version=operation.version + 1, cancel_requested=stored["cancel_requested"])
        if saved.state is OperationState.RUNNING and saved.cancel_requested and not operation.cancel_requested:
            return self._make_due(saved)
        return saved

    def record_task(self, pending: PendingTask, seen: TaskObservation) -> bool:
        """Write the end of an awaited native task, unless a worker is just looking at the operation."""
        now = self._clock()
        problem = problem_of(seen.error, pending.step) if seen.error else None
        changes: dict[str, Any] = {
            "native_task.state": seen.state.value,
            "due_at": now + timedelta(seconds=REPUBLISH_SECONDS),
        }
        if seen.machine_ref is not None:
            changes["native_task.machine_ref"] = seen.machine_ref
        if problem is not None:
            changes["native_task.problem"] = asdict(problem)
        written = self._collection.update_one(
            {
                "_id": pending.operation_id,
                "open": True,
                "native_task.ref": pending.task_ref,
                "native_task.state": TaskState.RUNNING.value,
                **_unleased(now),
            },
            {"$set": changes, "$inc": {"version": 1}},
        )
        return written.matched_count == 1

    def pending_tasks(self, datacenter_id: str) -> Sequence[PendingTask]:
        """Return what the datacenter's watcher must look at."""
        found = self._collection.find(
            {"open": True, "datacenter_id": datacenter_id, "native_task.state": TaskState.RUNNING.value},
            {"step": 1, "native_task.ref": 1},
        )
        return [PendingTask(each["_id"], StepName(each["step"]), each["native_task"]["ref"]) for each in found]

    def take_due(self, limit: int) -> Sequence[Operation]:
        """Return what is due, each postponed as it is taken."""
        taken: list[Operation] = []
        while len(taken) < limit:
            now = self._clock()
            document = self._collection.find_one_and_update(
                {"open": True, "due_at": {"$lte": now}, **_unleased(now)},
                {"$set": {"due_at": now + timedelta(seconds=REPUBLISH_SECONDS)}},
                sort=[("due_at", 1)],
            )
            if document is None:
                break
            taken.append(_codec.from_document(document))
        return taken

    def make_due(self, operation_id: str) -> None:
        """Move ``due_at`` to now; the holder of a lease decides for itself."""
        now = self._clock()
        self._collection.update_one({"_id": operation_id, "open": True, **_unleased(now)}, {"$set": {"due_at": now}})

    def request_cancel(self, operation_id: str, tenant: str | None) -> Operation:
        """Set the wish to cancel; the next claim obeys it."""
        operation = self.get(operation_id, tenant)
        document = self._collection.find_one_and_update(
            {"_id": operation.id, "open": True},
            {"$set": {"cancel_requested": True, "due_at": self._clock()}},
            return_document=ReturnDocument.AFTER,
        )
        if document is None:
            message = f"Operation {operation_id} has ended: it is {self.get(operation_id, tenant).state}."
            raise Conflict(message)
        return _codec.from_document(document)

    def clear_residue(self, operation_id: str) -> None:
        """Record that what a failed undo left is gone."""
        self._collection.update_one({"_id": operation_id}, {"$set": {"residue": []}})

    def _make_due(self, operation: Operation) -> Operation:
        """Let the sweeper pick up at once what a user cancelled while a worker held it."""
        now = self._clock()
        self._collection.update_one({"_id": operation.id, "version": operation.version}, {"$set": {"due_at": now}})
        return replace(operation, due_at=now)


def _document(operation: Operation) -> dict[str, Any]:
    return _codec.to_document(operation) | _derived(operation)


def _changes(operation: Operation, claimed: Operation) -> dict[str, Any]:
    """Return what is not as it was claimed. An explanation and what was asked for are large, and seldom change."""
    changed = {
        name: value
        for name in _FIELDS
        if name not in _NOT_SAVED
        and ((value := getattr(operation, name)) is not getattr(claimed, name) or name in _ALWAYS_SAVED)
    }
    stored: dict[str, Any] = to_stored(changed)
    return stored | _derived(operation)


def _derived(operation: Operation) -> dict[str, Any]:
    """Return what queries and indexes use besides the fields."""
    return {"open": operation.state.open, "step": operation.step.value}


def _unleased(now: datetime) -> dict[str, Any]:
    return {"$or": [{"lease_until": None}, {"lease_until": {"$lte": now}}]}


def _not_found(operation_id: str) -> NotFound:
    return NotFound(f"There is no operation {operation_id}.")
