"""Machines in MongoDB: what VAI records, machine by machine."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from pymongo import WriteConcern
from pymongo.collection import Collection as MongoCollection
from pymongo.errors import DuplicateKeyError

from vai_app.domain.errors import NameTaken, NotFound
from vai_app.domain.lifetimes import Lifetime
from vai_app.domain.ports.clock import Clock
from vai_app.domain.ports.machines import Changes, MachineFilter
from vai_app.domain.ports.paging import Page, PageRequest
from vai_app.domain.virtual_machines import (
    MachineObservation,
    MachineState,
    Mark,
    Power,
    Size,
    VirtualMachine,
)
from vai_app.store.codec import Codec, to_stored
from vai_app.store.documents import ANY_TEXT, ANY_TIME, MachineDocument, collection_of
from vai_app.store.errors import translated
from vai_app.store.group_insert import GroupInsert
from vai_app.store.listings import ENDED, record_listing, recorded_at
from vai_app.store.paging import BY_ID, page_of

_codec = Codec(VirtualMachine)
_LAST_CHARACTER = "\U0010ffff"


@translated
class MongoMachines:
    """Implements the ``MachineRepository`` port."""

    def __init__(self, clock: Clock) -> None:
        """``clock`` dates what is recorded."""
        self._clock = clock
        self._inserts = GroupInsert(lambda: self._early_collection)

    @property
    def _collection(self) -> MongoCollection[dict[str, Any]]:
        return collection_of(MachineDocument)

    @property
    def _early_collection(self) -> MongoCollection[dict[str, Any]]:
        """Acknowledge from memory: a machine is stored again from its operation, should a crash lose it."""
        return self._collection.with_options(write_concern=WriteConcern(w=1, j=False))

    def insert(self, machine: VirtualMachine) -> None:
        """Store a new machine once."""
        document = _codec.to_document(machine)
        name_held = machine.managed and machine.state not in ENDED
        document |= {"name_held": name_held, "recorded_at": recorded_at(self._clock())}
        try:
            self._inserts.insert(document)
        except DuplicateKeyError as error:
            if self._collection.find_one({"_id": machine.id}, {"_id": 1}) is None:
                raise _name_taken(machine.name) from error

    def get(self, machine_id: str, tenant: str | None) -> VirtualMachine:
        """Return one machine of the tenant."""
        query = {"_id": machine_id} | ({"tenant": tenant} if tenant is not None else {})
        document = self._collection.find_one(query)
        if document is None:
            message = f"There is no machine {machine_id}."
            raise NotFound(message)
        return _codec.from_document(document)

    def get_all(self, machine_ids: Collection[str]) -> list[VirtualMachine]:
        """Return those that exist."""
        return _codec.from_documents(self._collection.find({"_id": {"$in": list(machine_ids)}}).sort("_id", 1))

    def page(self, wanted: MachineFilter, page: PageRequest) -> Page[VirtualMachine]:
        """In order of id."""
        equal = {
            "tenant": wanted.tenant,
            "datacenter_id": wanted.datacenter_id,
            "state": wanted.state,
            "observed_power": wanted.power,
            "name": wanted.name,
        }
        filters: list[dict[str, Any]] = [{name: value} for name, value in equal.items() if value is not None]
        if wanted.name_prefix:
            filters.append({"name": {"$gte": wanted.name_prefix, "$lt": wanted.name_prefix + _LAST_CHARACTER}})
        if wanted.managed is not None:
            filters.append({"tenant": {"$ne": None} if wanted.managed else None})
        if wanted.expires_before is not None:
            filters.append({"lifetime.expires_at": {"$lt": wanted.expires_before}})
        if not wanted.include_deleted and wanted.state is None:
            filters.append({"state": {"$ne": MachineState.DELETED.value}})
        query = {"$and": filters} if filters else {}
        return page_of(self._collection, query, page, load=_codec.from_documents, order=BY_ID)

    def running(self, datacenter_id: str) -> Mapping[str, str]:
        """Return the ids by reference."""
        query = {
            "datacenter_id": datacenter_id,
            "provider_ref": ANY_TEXT,
            "observed_power": Power.ON.value,
            "state": MachineState.ACTIVE.value,
        }
        return {each["provider_ref"]: each["_id"] for each in self._collection.find(query, {"provider_ref": 1})}

    def record_datacenter(self, machine_id: str, datacenter_id: str) -> None:
        """Placement chose."""
        self._record(machine_id, {"datacenter_id": datacenter_id})

    def record_active(self, machine_id: str, provider_ref: str, mark: Mark) -> None:
        """The machine exists at the provider, powered off."""
        changes = {
            "state": MachineState.ACTIVE.value,
            "provider_ref": provider_ref,
            "mark": asdict(mark),
            "observed_power": Power.OFF.value,
            "problem": None,
        }
        try:
            self._record_seen(machine_id, changes)
        except DuplicateKeyError:
            self._take_ref(self.get(machine_id, None).datacenter_id, provider_ref)
            self._record_seen(machine_id, changes)

    def record_power(self, machine_id: str, power: Power) -> None:
        """An operation of ours changed the power."""
        self._record_seen(machine_id, {"observed_power": power.value})

    def record_size(self, machine_id: str, size: Size) -> None:
        """An operation of ours changed the size."""
        self._record_seen(machine_id, {"spec.size": asdict(size), "observed_size": asdict(size), "drift": []})

    def record_host(self, machine_id: str, host: str) -> None:
        """An operation of ours moved the machine."""
        self._record_seen(machine_id, {"observed_host": host})

    def record_adopted(self, machine_id: str, tenant: str, mark: Mark) -> None:
        """A stranger's machine became ours. Raises NameTaken."""
        changes = {"tenant": tenant, "mark": asdict(mark), "name_held": True, "problem": None}
        try:
            self._record(machine_id, changes)
        except DuplicateKeyError as error:
            raise _name_taken(self.get(machine_id, None).name) from error

    def record_failed(self, machine_id: str, problem: str) -> None:
        """The creation failed."""
        self._close(machine_id, {"state": MachineState.FAILED.value, "problem": problem})

    def record_deleted(self, machine_id: str) -> None:
        """VAI removed the machine."""
        self._close(machine_id, {"state": MachineState.DELETED.value, "observed_power": Power.UNKNOWN.value})

    def lifetimes_due(self, now: datetime, limit: int) -> list[VirtualMachine]:
        """Return machines about whose lifetime something is to be done."""
        due = {"name_held": True, "lifetime.due_at": {**ANY_TIME, "$lte": now}}
        found = self._collection.find(due).sort("lifetime.due_at", 1).limit(limit)
        return _codec.from_documents(found)

    def change_lifetime(self, machine_id: str, known: Lifetime | None, new: Lifetime | None) -> bool:
        """Write a lifetime in place of the one that is known."""
        unchanged = {"_id": machine_id, "name_held": True, "lifetime": to_stored(known)}
        return self._collection.update_one(unchanged, {"$set": {"lifetime": to_stored(new)}}).matched_count > 0

    def observe(
        self,
        datacenter_id: str,
        seen: Iterable[MachineObservation],
        started_at: datetime,
        tell: Callable[[Changes], None] | None = None,
    ) -> Changes:
        """Bring all machines of a datacenter up to date with one complete listing."""
        return record_listing(self._collection, datacenter_id, seen, started_at, self._clock(), tell)

    def _record_seen(self, machine_id: str, changes: dict[str, Any]) -> None:
        self._record(machine_id, {**changes, "observed_at": self._clock()})

    def _record(self, machine_id: str, changes: dict[str, Any]) -> None:
        changes = {**changes, "recorded_at": recorded_at(self._clock())}
        self._collection.update_one({"_id": machine_id}, {"$set": changes})

    def _close(self, machine_id: str, changes: dict[str, Any]) -> None:
        """End the record. Its reference is kept aside: it tells the machine from a copy that bears its mark."""
        changes = {**changes, "recorded_at": recorded_at(self._clock())}
        self._collection.update_one(
            {"_id": machine_id},
            {"$set": changes, "$unset": {"name_held": ""}, "$rename": {"provider_ref": "former_ref"}},
        )

    def _take_ref(self, datacenter_id: str, provider_ref: str) -> None:
        """Take a reference from the record of a machine that cannot be there any more."""
        holder = {"datacenter_id": datacenter_id, "provider_ref": provider_ref}
        self._collection.delete_one({**holder, "tenant": None})
        missing = {"provider_ref": None, "state": MachineState.MISSING.value, "recorded_at": recorded_at(self._clock())}
        self._collection.update_one(holder, {"$set": missing})


def _name_taken(name: str) -> NameTaken:
    return NameTaken(f"A machine named {name!r} exists already. Choose another name.")
