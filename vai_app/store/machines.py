"""Machines in MongoDB: what VAI records, machine by machine."""

from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime
from typing import Any

from pymongo.collection import Collection
from pymongo.errors import DuplicateKeyError

from vai_app.domain.errors import NameTaken, NotFound
from vai_app.domain.ports import Changes, Clock, MachineFilter, Page, PageRequest
from vai_app.domain.virtual_machines import (
    MachineObservation,
    MachineState,
    Mark,
    Power,
    Size,
    VirtualMachine,
)
from vai_app.store.codec import Codec
from vai_app.store.documents import MachineDocument, collection_of
from vai_app.store.errors import translated
from vai_app.store.listings import record_listing
from vai_app.store.paging import page_of

_codec = Codec(VirtualMachine)


@translated
class MongoMachines:
    """Implements the ``MachineRepository`` port."""

    def __init__(self, clock: Clock) -> None:
        """``clock`` dates what is recorded."""
        self._clock = clock

    @property
    def _collection(self) -> Collection[dict[str, Any]]:
        return collection_of(MachineDocument)

    def insert(self, machine: VirtualMachine) -> None:
        """Store a new machine once."""
        document = _codec.to_document(machine)
        document["name_lock"] = _name_lock(machine.tenant, machine.name)
        document["recorded_at"] = self._clock()
        try:
            self._collection.insert_one(document)
        except DuplicateKeyError as error:
            if self._collection.count_documents({"_id": machine.id}, limit=1) == 0:
                raise _name_taken(machine.name) from error

    def get(self, machine_id: str, tenant: str | None) -> VirtualMachine:
        """Return one machine of the tenant."""
        query = {"_id": machine_id} | ({"tenant": tenant} if tenant is not None else {})
        document = self._collection.find_one(query)
        if document is None:
            message = f"There is no machine {machine_id}."
            raise NotFound(message)
        return _codec.from_document(document)

    def page(self, wanted: MachineFilter, page: PageRequest) -> Page[VirtualMachine]:
        """In order of id."""
        equal = {
            "tenant": wanted.tenant,
            "datacenter_id": wanted.datacenter_id,
            "state": wanted.state,
            "observed_power": wanted.power,
            "name": wanted.name,
        }
        query: dict[str, Any] = {name: value for name, value in equal.items() if value is not None}
        if wanted.name_prefix is not None and wanted.name is None:
            query["name"] = {"$gte": wanted.name_prefix, "$lt": wanted.name_prefix + "\U0010ffff"}
        if wanted.managed is not None:
            owned: dict[str, Any] = {"$ne": None} if wanted.managed else {"$eq": None}
            query["tenant"] = wanted.tenant if wanted.tenant is not None and wanted.managed else owned
        if not wanted.include_deleted and wanted.state is None:
            query["state"] = {"$ne": MachineState.DELETED.value}
        return page_of(self._collection, query, page, load=_codec.from_document, descending=False)

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
            self._record(machine_id, changes)
        except DuplicateKeyError:
            # The provider gave the reference of a machine that is no more to this one.
            datacenter_id = self.get(machine_id, None).datacenter_id
            self._collection.update_one(
                {"datacenter_id": datacenter_id, "provider_ref": provider_ref},
                {"$set": {"provider_ref": None, "state": MachineState.MISSING.value}},
            )
            self._record(machine_id, changes)

    def record_power(self, machine_id: str, power: Power) -> None:
        """An operation of ours changed the power."""
        self._record(machine_id, {"observed_power": power.value})

    def record_size(self, machine_id: str, size: Size) -> None:
        """An operation of ours changed the size."""
        self._record(machine_id, {"spec.size": asdict(size), "observed_size": asdict(size), "drift": []})

    def record_adopted(self, machine_id: str, tenant: str, mark: Mark) -> None:
        """A stranger's machine became ours."""
        name = self.get(machine_id, None).name
        changes = {"tenant": tenant, "mark": asdict(mark), "name_lock": _name_lock(tenant, name)}
        try:
            self._record(machine_id, changes)
        except DuplicateKeyError as error:
            raise _name_taken(name) from error

    def record_failed(self, machine_id: str, problem: str) -> None:
        """The creation failed."""
        self._close(machine_id, {"state": MachineState.FAILED.value, "problem": problem})

    def record_deleted(self, machine_id: str) -> None:
        """VAI removed the machine."""
        self._close(machine_id, {"state": MachineState.DELETED.value, "observed_power": Power.UNKNOWN.value})

    def observe(self, datacenter_id: str, seen: Iterable[MachineObservation], started_at: datetime) -> Changes:
        """Bring all machines of a datacenter up to date with one complete listing."""
        return record_listing(self._collection, datacenter_id, seen, started_at, self._clock())

    def _record(self, machine_id: str, changes: dict[str, Any]) -> None:
        now = self._clock()
        self._collection.update_one({"_id": machine_id}, {"$set": {**changes, "recorded_at": now, "observed_at": now}})

    def _close(self, machine_id: str, changes: dict[str, Any]) -> None:
        now = self._clock()
        self._collection.update_one(
            {"_id": machine_id},
            {"$set": {**changes, "provider_ref": None, "recorded_at": now}, "$unset": {"name_lock": ""}},
        )


def _name_lock(tenant: str | None, name: str) -> str | None:
    return f"{tenant}/{name}" if tenant is not None else None


def _name_taken(name: str) -> NameTaken:
    return NameTaken(f"A machine named {name!r} exists already. Choose another name.")
