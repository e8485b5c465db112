"""Embedded tokens in MongoDB."""

from collections.abc import Sequence
from typing import Any

from pymongo.collection import Collection
from pymongo.errors import DuplicateKeyError

from vai_app.domain.errors import NotFound
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
        """Store a token; the same secret again changes nothing, also when two processes enrol it at once."""
        try:
            self._collection.insert_one(_codec.to_document(token))
        except DuplicateKeyError:
            return

    def find(self, digest: str) -> ApiToken | None:
        """Return the token whose secret has this digest."""
        document = self._collection.find_one({"digest": digest})
        return _codec.from_document(document) if document else None

    def list(self) -> Sequence[ApiToken]:
        """Every token, oldest first."""
        return _codec.from_documents(self._collection.find().sort("_id", 1))

    def delete(self, token_id: str) -> None:
        """Revoke a token. Raises NotFound."""
        if self._collection.delete_one({"_id": token_id}).deleted_count == 0:
            message = f"There is no token {token_id}."
            raise NotFound(message)
