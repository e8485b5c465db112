"""Embedded tokens in MongoDB."""

from typing import Any

from pymongo.collection import Collection

from vai_app.domain.principals import ApiToken
from vai_app.store.codec import Codec
from vai_app.store.documents import TokenDocument, collection_of
from vai_app.store.errors import translated

_codec = Codec(ApiToken)


@translated
class MongoTokens:
    """Implements the ``TokenRepository`` port."""

    @property
    def _collection(self) -> Collection[dict[str, Any]]:
        return collection_of(TokenDocument)

    def insert(self, token: ApiToken) -> None:
        """Store a token."""
        self._collection.insert_one(_codec.to_document(token))

    def find(self, digest: str) -> ApiToken | None:
        """Return the token whose secret has this digest."""
        document = self._collection.find_one({"digest": digest})
        return _codec.from_document(document) if document else None
