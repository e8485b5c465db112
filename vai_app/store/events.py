"""Events in MongoDB, and their archive."""

from datetime import datetime
from typing import Any

from pymongo import ReplaceOne
from pymongo.collection import Collection

from vai_app.domain.events import Event
from vai_app.domain.ports.events import EventFilter
from vai_app.domain.ports.paging import Page, PageRequest
from vai_app.store.codec import Codec
from vai_app.store.documents import ArchivedEventDocument, EventDocument, collection_of
from vai_app.store.errors import translated
from vai_app.store.insertion import insert_new
from vai_app.store.paging import NEWEST_FIRST, at_between, page_of

_codec = Codec(Event)
_ARCHIVE_BATCH = 1000


@translated
class MongoEvents:
    """Implements the ``EventRepository`` port."""

    @property
    def _collection(self) -> Collection[dict[str, Any]]:
        return collection_of(EventDocument)

    @property
    def _archive(self) -> Collection[dict[str, Any]]:
        return collection_of(ArchivedEventDocument)

    def append(self, *events: Event) -> None:
        """Store each event once."""
        insert_new(self._collection, [_codec.to_document(each) for each in events])

    def page(self, wanted: EventFilter, page: PageRequest) -> Page[Event]:
        """Newest first."""
        equal = {
            "tenant": wanted.tenant,
            "kind": wanted.kind,
            "operation_id": wanted.operation_id,
            "machine_id": wanted.machine_id,
            "datacenter_id": wanted.datacenter_id,
        }
        query: dict[str, Any] = {name: value for name, value in equal.items() if value is not None}
        query |= at_between(wanted.since, wanted.until)
        return page_of(self._collection, query, page, load=_codec.from_documents, order=NEWEST_FIRST)

    def archive(self, before: datetime) -> int:
        """Copy, then delete: an interruption leaves an event in both places, and the next run ends it."""
        moved = 0
        while batch := list(self._collection.find({"at": {"$lt": before}}).limit(_ARCHIVE_BATCH)):
            self._archive.bulk_write([ReplaceOne({"_id": each["_id"]}, each, upsert=True) for each in batch])
            self._collection.delete_many({"_id": {"$in": [each["_id"] for each in batch]}})
            moved += len(batch)
        return moved
