"""Leases in MongoDB."""

from datetime import timedelta
from typing import Any

from pymongo.collection import Collection
from pymongo.errors import DuplicateKeyError

from vai_app.domain.ports.clock import Clock
from vai_app.store.documents import LeaseDocument, collection_of
from vai_app.store.errors import translated


@translated
class MongoLeases:
    """Implements the ``LeaseRepository`` port."""

    def __init__(self, clock: Clock) -> None:
        """``clock`` decides when a lease ends."""
        self._clock = clock

    @property
    def _collection(self) -> Collection[dict[str, Any]]:
        return collection_of(LeaseDocument)

    def hold(self, name: str, owner: str, seconds: float) -> bool:
        """Take or renew the lease. Of two that take an expired one at once, the second meets the first's document."""
        now = self._clock()
        try:
            self._collection.update_one(
                {"_id": name, "$or": [{"owner": owner}, {"until": {"$lte": now}}]},
                {"$set": {"owner": owner, "until": now + timedelta(seconds=seconds)}},
                upsert=True,
            )
        except DuplicateKeyError:
            return False
        return True

    def release(self, name: str, owner: str) -> None:
        """Give it back, if it is the owner's."""
        self._collection.delete_one({"_id": name, "owner": owner})
