"""User data in MongoDB, sealed, and forgotten by MongoDB itself after a day."""

from datetime import timedelta
from typing import Any

from pymongo.collection import Collection

from vai_app.domain.ports.clock import Clock
from vai_app.store.documents import UserDataDocument, collection_of
from vai_app.store.encryption import Cipher
from vai_app.store.errors import translated

KEPT = timedelta(days=1)
_NAME = "user_data"


@translated
class MongoUserData:
    """Implements the ``UserDataRepository`` port."""

    def __init__(self, clock: Clock, cipher: Cipher) -> None:
        """``cipher`` seals, each for its machine; ``clock`` says when it is to be forgotten."""
        self._clock = clock
        self._cipher = cipher

    @property
    def _collection(self) -> Collection[dict[str, Any]]:
        return collection_of(UserDataDocument)

    def put(self, machine_id: str, user_data: str) -> None:
        """Keep it, sealed."""
        kept = {"sealed": self._cipher.seal(machine_id, {_NAME: user_data}), "forget_at": self._clock() + KEPT}
        self._collection.update_one({"_id": machine_id}, {"$set": kept}, upsert=True)

    def get(self, machine_id: str) -> str | None:
        """Return it. Raises ServiceUnavailable when it was sealed with a key that is gone."""
        document = self._collection.find_one({"_id": machine_id, "forget_at": {"$gt": self._clock()}})
        return self._cipher.open(machine_id, document["sealed"])[_NAME] if document else None

    def delete(self, machine_id: str) -> None:
        """Forget it."""
        self._collection.delete_one({"_id": machine_id})

    def seal_all_anew(self) -> int:
        """Seal with the newest key; what another put or removed meanwhile is left to him."""
        found = self._collection.find({}, {"sealed": 1})
        return sum(self._cipher.seal_anew(each["_id"], self._collection, "sealed", each["sealed"]) for each in found)
