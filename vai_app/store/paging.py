"""Opaque page tokens, and the one way all lists are paged."""

import base64
import binascii
import json
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pymongo.collection import Collection

from vai_app.domain.errors import InvalidRequest
from vai_app.domain.ports import LARGEST_PAGE, Page, PageRequest

T = TypeVar("T")


def page_of(
    collection: Collection[dict[str, Any]],
    query: Mapping[str, Any],
    page: PageRequest,
    *,
    load: Callable[[Mapping[str, Any]], T],
    descending: bool,
) -> Page[T]:
    """Return one page in order of ``_id``, which is the order of creation. Raises InvalidRequest."""
    if not 1 <= page.size <= LARGEST_PAGE:
        message = f"page_size must be between 1 and {LARGEST_PAGE}."
        raise InvalidRequest(message, [{"field": "page_size", "message": message}])
    filters: list[Mapping[str, Any]] = [query]
    if page.token is not None:
        filters.append({"_id": {"$lt" if descending else "$gt": _read(page.token)}})
    found = list(
        collection.find({"$and": filters} if len(filters) > 1 else query)
        .sort("_id", -1 if descending else 1)
        .limit(page.size + 1)
    )
    following = _write(found[page.size - 1]["_id"]) if len(found) > page.size else None
    return Page(items=[load(document) for document in found[: page.size]], next_token=following)


def _write(last_id: str) -> str:
    return base64.urlsafe_b64encode(json.dumps(last_id).encode()).decode().rstrip("=")


def _read(token: str) -> str:
    try:
        padded = token + "=" * (-len(token) % 4)
        last_id = json.loads(base64.b64decode(padded.encode("ascii"), altchars=b"-_", validate=True))
    except (ValueError, binascii.Error) as error:
        raise _invalid() from error
    if not isinstance(last_id, str):
        raise _invalid()
    return last_id


def _invalid() -> InvalidRequest:
    message = "page_token is not one that this list returned. Leave it out to begin at the first page."
    return InvalidRequest(message, [{"field": "page_token", "message": message}])
