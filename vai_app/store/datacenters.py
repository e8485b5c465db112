"""Datacenters in MongoDB, with a short memory: every step reads its datacenter."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, is_dataclass
from threading import Lock
from time import monotonic
from typing import Any

from pymongo import ReturnDocument
from pymongo.client_session import ClientSession
from pymongo.collection import Collection
from pymongo.errors import DuplicateKeyError

from vai_app.domain.datacenters import About, Connection, Datacenter, Inventory, Reachability
from vai_app.domain.errors import Conflict, NameTaken, NotFound, PreconditionFailed
from vai_app.domain.ports.clock import Clock
from vai_app.domain.ports.datacenters import DatacenterChange
from vai_app.store.codec import Codec, to_stored
from vai_app.store.documents import DatacenterDocument, MachineDocument, collection_of
from vai_app.store.encryption import Cipher
from vai_app.store.errors import translated
from vai_app.store.listings import ENDED

REMEMBER_SECONDS = 1.0

_SEALED = "sealed_credentials"
_codec = Codec(Datacenter)
_SHARED_WITH_CONNECTION = {each.name for each in fields(Datacenter)} & {each.name for each in fields(Connection)}


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
        document[_SEALED] = self._cipher.seal(datacenter.id, credentials)
        try:
            self._collection.insert_one(document)
        except DuplicateKeyError as error:
            raise _name_taken(datacenter.name) from error
        self._seal_anew(document)

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
        return _codec.from_documents(self._collection.find().sort("name", 1))

    def connection(self, datacenter_id: str) -> Connection:
        """Return how to reach it, credentials decrypted."""
        document = self._document(datacenter_id)
        return Connection(
            datacenter_id=document["_id"],
            credentials=self._cipher.open(document["_id"], document[_SEALED]),
            **{name: document[name] for name in _SHARED_WITH_CONNECTION},
        )

    def change(self, datacenter_id: str, change: DatacenterChange, revision: int) -> Datacenter:
        """Store a change based on ``revision``."""
        changes = {
            each.name: asdict(value) if is_dataclass(value) and not isinstance(value, type) else value
            for each in fields(change)
            if each.name != "credentials" and (value := getattr(change, each.name)) is not None
        }
        if change.credentials is not None:
            changes[_SEALED] = self._cipher.seal(datacenter_id, change.credentials)
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
        self._seal_anew(document)
        return _codec.from_document(document)

    def seal_all_anew(self) -> int:
        """Seal with the newest key what is sealed with another. Returns how many were; may be interrupted.

        Raises ServiceUnavailable when the credentials of a datacenter cannot be opened; nothing of them is changed.
        """
        return sum(self._seal_anew(each) for each in self._collection.find({}, {_SEALED: 1}))

    def _seal_anew(self, document: Mapping[str, Any]) -> bool:
        return self._cipher.seal_anew(document["_id"], self._collection, _SEALED, document[_SEALED])

    def delete(self, datacenter_id: str, revision: int) -> None:
        """Forget the datacenter and its strangers' machines, both or nothing."""
        client = self._collection.database.client
        with client.start_session() as session:
            session.with_transaction(lambda session: self._delete(datacenter_id, revision, session))
        self._forget()

    def record_reachable(self, datacenter_id: str, about: About | None, inventory: Inventory | None) -> bool:
        """Store what was observed."""
        changes: dict[str, Any] = {"reachability": Reachability.REACHABLE.value, "problem": None}
        if about is not None:
            changes["about"] = to_stored(about)
        if inventory is not None:
            changes |= {"inventory": to_stored(inventory), "observed_at": self._clock()}
        return self._record(datacenter_id, changes)

    def record_unreachable(self, datacenter_id: str, problem: str) -> bool:
        """Store why not."""
        return self._record(datacenter_id, {"reachability": Reachability.UNREACHABLE.value, "problem": problem})

    def record_collected(self, datacenter_id: str, problem: str | None) -> None:
        """Store how it went."""
        changes: dict[str, Any] = {"collection_problem": problem}
        if problem is None:
            changes["collected_at"] = self._clock()
        self._collection.update_one({"_id": datacenter_id}, {"$set": changes})
        self._forget()

    def _record(self, datacenter_id: str, changes: Mapping[str, Any]) -> bool:
        """Store what was observed; whether the reachability changed by it."""
        before = self._collection.find_one_and_update({"_id": datacenter_id}, {"$set": changes}, {"reachability": 1})
        self._forget()
        return before is not None and before["reachability"] != changes["reachability"]

    def _delete(self, datacenter_id: str, revision: int, session: ClientSession) -> None:
        machines = collection_of(MachineDocument)
        here = {"datacenter_id": datacenter_id}
        if machines.find_one(
            {**here, "tenant": {"$ne": None}, "state": {"$nin": list(ENDED)}}, {"_id": 1}, session=session
        ):
            message = "The datacenter holds machines that VAI manages. Delete them first."
            raise Conflict(message)
        gone = self._collection.delete_one({"_id": datacenter_id, "revision": revision}, session=session)
        if gone.deleted_count == 0:
            raise self._stale(datacenter_id)
        machines.delete_many({**here, "tenant": None}, session=session)

    def _document(self, datacenter_id: str) -> dict[str, Any]:
        document = self._collection.find_one({"$or": [{"_id": datacenter_id}, {"name": datacenter_id}]})
        if document is None:
            raise _not_found(datacenter_id)
        return document

    def _stale(self, datacenter_id: str) -> NotFound | PreconditionFailed:
        """Say why a change met no document."""
        current = self._collection.find_one({"_id": datacenter_id}, {"revision": 1})
        if current is None:
            return _not_found(datacenter_id)
        message = f"The datacenter's revision is {current['revision']} now. Read it again and repeat the change."
        return PreconditionFailed(message)

    def _forget(self) -> None:
        with self._lock:
            self._remembered.clear()


def _not_found(datacenter_id: str) -> NotFound:
    return NotFound(f"There is no datacenter {datacenter_id!r}. 'vai datacenter list' shows those there are.")


def _name_taken(name: str) -> NameTaken:
    return NameTaken(f"A datacenter named {name!r} is registered. Choose another name.")
