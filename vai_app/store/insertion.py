"""Inserts of what has an id of its own: what is there already is left as it is."""

from collections.abc import Sequence
from typing import Any

from pymongo.collection import Collection
from pymongo.errors import BulkWriteError, DuplicateKeyError

from vai_app.store.errors import DUPLICATE_KEY


def insert_new(collection: Collection[dict[str, Any]], documents: Sequence[dict[str, Any]]) -> None:
    """Insert those documents whose ids are not there, in one statement."""
    try:
        if len(documents) == 1:
            collection.insert_one(documents[0])
        elif documents:
            collection.insert_many(documents, ordered=False)
    except DuplicateKeyError:
        return
    except BulkWriteError as error:
        refused = error.details["writeErrors"]
        if error.details["writeConcernErrors"] or any(each["code"] != DUPLICATE_KEY for each in refused):
            raise
