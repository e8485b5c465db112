"""Snapshots in MongoDB."""

from collections.abc import Sequence
from typing import Any

from pymongo.collection import Collection

from vai_app.domain.errors import NotFound
from vai_app.domain.snapshots import Snapshot
from vai_app.store.codec import Codec
from vai_app.store.documents import SnapshotDocument, collection_of
from vai_app.store.errors import translated

_codec = Codec(Snapshot)


@translated
class MongoSnapshots:
    """Implements the ``SnapshotRepository`` port."""

    @property
    def _collection(self) -> Collection[dict[str, Any]]:
        return collection_of(SnapshotDocument)

    def put(self, snapshot: Snapshot) -> None:
        """Record a snapshot by its id."""
        document = _codec.to_document(snapshot)
        self._collection.replace_one({"_id": snapshot.id}, document, upsert=True)

    def get(self, snapshot_id: str, tenant: str | None) -> Snapshot:
        """Return one snapshot of the tenant."""
        query = {"_id": snapshot_id} | ({"tenant": tenant} if tenant is not None else {})
        document = self._collection.find_one(query)
        if document is None:
            message = f"There is no snapshot {snapshot_id}."
            raise NotFound(message)
        return _codec.from_document(document)

    def of_machine(self, machine_id: str) -> Sequence[Snapshot]:
        """Return a machine's snapshots; ids are in order of time."""
        return _codec.from_documents(self._collection.find({"machine_id": machine_id}).sort("_id", 1))

    def delete(self, snapshot_id: str) -> None:
        """Forget a snapshot."""
        self._collection.delete_one({"_id": snapshot_id})
