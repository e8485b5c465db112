"""Datacenters in MongoDB, with a short memory: every step reads its datacenter."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from threading import Lock
from time import monotonic
from typing import Any

from pydantic import TypeAdapter
from pymongo import ReturnDocument
from pymongo.collection import Collection
from pymongo.errors import DuplicateKeyError

from vai_app.domain.datacenters import About, Connection, Datacenter, Inventory, Reachability
from vai_app.domain.errors import Conflict, NameTaken, NotFound, PreconditionFailed
from vai_app.domain.ports import Clock, DatacenterChange
from vai_app.store.codec import Codec
from vai_app.store.documents import DatacenterDocument, MachineDocument, collection_of
from vai_app.store.encryption import Cipher
from vai_app.store.errors import translated

REMEMBER_SECONDS = 1.0

_codec = Codec(Datacenter)
_inventory = TypeAdapter(Inventory)
_about = TypeAdapter(About)


@translated
class MongoDatacenters:
    """Implements the ``DatacenterRepository`` port."""

    def __init__(self, clock: Clock, cipher: Cipher) -> None:
        """``cipher`` seals the credentials."""
        self._clock = clock
        self._cipher = cipher
        self._lock = Lock()
        self._remembered: dict[str, tuple[float, Datacenter]] = {}

    @property
    def _collection(self) -> Collection[dict[str, Any]]:
        return collection_of(DatacenterDocument)

    def insert(self, datacenter: Datacenter, credentials: Mapping[str, str]) -> None:
        """Store a new datacenter."""
        document = _codec.to_document(datacenter)
        document["sealed_credentials"] = self._cipher.seal(datacenter.id, credentials)
        try:
            self._collection.insert_one(document)
        except DuplicateKeyError as error:
            raise _name_taken(datacenter.name) from error

    def get(self, datacenter_id: str) -> Datacenter:
        """By id or name, at most a second old."""
        with self._lock:
            remembered = self._remembered.get(datacenter_id)
        if remembered is not None and monotonic() < remembered[0]:
            return remembered[1]
        found = _codec.from_document(self._document(datacenter_id))
        with self._lock:
            self._remembered[datacenter_id] = (monotonic() + REMEMBER_SECONDS, found)
        return found

    def list(self) -> Sequence[Datacenter]:
        """Every datacenter, in order of name."""
        return [_codec.from_document(document) for document in self._collection.find().sort("name", 1)]

    def connection(self, datacenter_id: str) -> Connection:
        """Return how to reach it, credentials decrypted."""
        document = self._document(datacenter_id)
        return Connection(
            datacenter_id=document["_id"],
            credentials=self._cipher.open(document["_id"], document["sealed_credentials"]),
            **{name: document[name] for name in _CONNECTION_FIELDS},
        )

    def change(self, datacenter_id: str, change: DatacenterChange, revision: int) -> Datacenter:
        """Store a change based on ``revision``."""
        changes = {
            each.name: value
            for each in fields(change)
            if each.name != "credentials" and (value := getattr(change, each.name)) is not None
        }
        if change.credentials is not None:
            changes["sealed_credentials"] = self._cipher.seal(datacenter_id, change.credentials)
        try:
            document = self._collection.find_one_and_update(
                {"_id": datacenter_id, "revision": revision},
                {"$set": changes, "$inc": {"revision": 1}},
                return_document=ReturnDocument.AFTER,
            )
        except DuplicateKeyError as error:
            raise _name_taken(str(change.name)) from error
        self._forget()
        if document is None:
            raise self._stale(datacenter_id)
        return _codec.from_document(document)

    def delete(self, datacenter_id: str, revision: int) -> None:
        """Forget the datacenter and its strangers' machines."""
        machines = collection_of(MachineDocument)
        ours = {"datacenter_id": datacenter_id, "state": {"$in": ["requested", "active", "missing"]}}
        if machines.count_documents({**ours, "mark": {"$ne": None}}, limit=1) or machines.count_documents(
            {**ours, "state": "requested"}, limit=1
        ):
            message = "The datacenter holds machines that VAI manages. Delete them first."
            raise Conflict(message)
        if self._collection.delete_one({"_id": datacenter_id, "revision": revision}).deleted_count == 0:
            raise self._stale(datacenter_id)
        machines.delete_many({"datacenter_id": datacenter_id, "mark": None})
        self._forget()

    def record_reachable(self, datacenter_id: str, about: About | None, inventory: Inventory | None) -> bool:
        """Store what was observed."""
        changes: dict[str, Any] = {"reachability": Reachability.REACHABLE.value, "problem": None}
        if about is not None:
            changes["about"] = _about.dump_python(about)
        if inventory is not None:
            changes |= {"inventory": _inventory.dump_python(inventory), "observed_at": self._clock()}
        before = self._collection.find_one_and_update({"_id": datacenter_id}, {"$set": changes}, {"reachability": 1})
        return before is not None and before["reachability"] != Reachability.REACHABLE.value

    def record_unreachable(self, datacenter_id: str, problem: str) -> bool:
        """Store why not."""
        before = self._collection.find_one_and_update(
            {"_id": datacenter_id},
            {"$set": {"reachability": Reachability.UNREACHABLE.value, "problem": problem}},
            {"reachability": 1},
        )
        return before is not None and before["reachability"] != Reachability.UNREACHABLE.value

    def _document(self, datacenter_id: str) -> dict[str, Any]:
        document = self._collection.find_one({"$or": [{"_id": datacenter_id}, {"name": datacenter_id}]})
        if document is None:
            message = f"There is no datacenter {datacenter_id!r}. 'vai datacenter list' shows those there are."
            raise NotFound(message)
        return document

    def _stale(self, datacenter_id: str) -> PreconditionFailed:
        current = self._document(datacenter_id)["revision"]
        return PreconditionFailed(f"The datacenter's revision is {current} now. Read it again and repeat the change.")

    def _forget(self) -> None:
        with self._lock:
            self._remembered.clear()


_CONNECTION_FIELDS = ("kind", "endpoint", "verify_tls", "ca_certificate", "call_timeout_seconds", "options")


def _name_taken(name: str) -> NameTaken:
    return NameTaken(f"A datacenter named {name!r} is registered. Choose another name.")
