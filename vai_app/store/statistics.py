"""Samples of what machines used, in MongoDB, which forgets each at its time."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from pymongo.collection import Collection

from vai_app.domain.ports.paging import Page, PageRequest
from vai_app.domain.ports.statistics import SampleFilter
from vai_app.domain.statistics import Sample
from vai_app.store.codec import Codec
from vai_app.store.documents import SampleDocument, collection_of
from vai_app.store.errors import translated
from vai_app.store.insertion import insert_new
from vai_app.store.paging import NEWEST_FIRST, at_between, page_of

_codec = Codec(Sample)


@translated
class MongoStatistics:
    """Implements the ``StatisticsRepository`` port."""

    @property
    def _collection(self) -> Collection[dict[str, Any]]:
        return collection_of(SampleDocument)

    def append(self, samples: Sequence[Sample], keep_until: datetime) -> None:
        """Store each sample once."""
        insert_new(self._collection, [{**_codec.to_document(each), "forget_at": keep_until} for each in samples])

    def newest_totals(self, datacenter_id: str, since: datetime) -> Mapping[str, Sample]:
        """Return each machine's newest sample with totals."""
        counted = {"datacenter_id": datacenter_id, "at": {"$gte": since}, "totals": {"$ne": {}}}
        samples = _codec.from_documents(self._collection.find(counted).sort("at", 1))
        return {each.machine_id: each for each in samples}

    def page(self, wanted: SampleFilter, page: PageRequest) -> Page[Sample]:
        """Newest first."""
        query = {"machine_id": wanted.machine_id, **at_between(wanted.since, wanted.until)}
        return page_of(self._collection, query, page, load=_codec.from_documents, order=NEWEST_FIRST)
