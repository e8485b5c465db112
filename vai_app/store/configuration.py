"""Roles, policies and tenants in MongoDB: each revision is a document of its own and is never changed.

Whoever inserts revision N + 1 first has made the change; everybody else meets its key. So a change is one insert,
and the history needs no second write.
"""

from collections.abc import Sequence
from typing import Any

from pymongo.collection import Collection
from pymongo.errors import DuplicateKeyError

from vai_app.domain.errors import PreconditionFailed
from vai_app.domain.policies import ConfigurationDocument, ConfigurationKind
from vai_app.store.documents import ConfigurationRevision, collection_of
from vai_app.store.errors import translated


@translated
class MongoConfiguration:
    """Implements the ``ConfigurationRepository`` port."""

    @property
    def _collection(self) -> Collection[dict[str, Any]]:
        return collection_of(ConfigurationRevision)

    def newest(self) -> Sequence[ConfigurationDocument]:
        """The newest revision of everything, one query."""
        found: dict[tuple[str, str], ConfigurationDocument] = {}
        for document in self._collection.find().sort([("kind", 1), ("name", 1), ("revision", 1)]):
            found[document["kind"], document["name"]] = _from_document(document)
        return list(found.values())

    def store(self, document: ConfigurationDocument) -> None:
        """Store the next revision. Raises PreconditionFailed when somebody else did."""
        try:
            self._collection.insert_one(
                {
                    "_id": f"{document.kind}/{document.name}/{document.revision}",
                    "kind": document.kind.value,
                    "name": document.name,
                    "revision": document.revision,
                    "content": document.content,
                    "at": document.at,
                    "by": document.by,
                }
            )
        except DuplicateKeyError as error:
            message = f"The {document.kind} {document.name} has changed meanwhile. Read it again and repeat the change."
            raise PreconditionFailed(message) from error

    def history(self, kind: ConfigurationKind, name: str) -> Sequence[ConfigurationDocument]:
        """Every revision, newest first."""
        found = self._collection.find({"kind": kind.value, "name": name}).sort("revision", -1)
        return [_from_document(each) for each in found]


def _from_document(document: dict[str, Any]) -> ConfigurationDocument:
    return ConfigurationDocument(
        kind=ConfigurationKind(document["kind"]),
        name=document["name"],
        revision=document["revision"],
        content=document["content"],
        at=document["at"],
        by=document["by"],
    )
