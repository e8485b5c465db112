"""Opaque page tokens, and the one way all lists are paged: by the key of the last entry, never by counting."""

import base64
import binascii
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from pymongo.collection import Collection

from vai_app.domain.errors import InvalidRequest
from vai_app.domain.ports.paging import LARGEST_PAGE, Page, PageRequest

T = TypeVar("T")

_LONGEST_TOKEN = 512
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Order:
    """How a list is sorted: by ``fields`` in turn, the last of which is unique. Fields are strings or times."""

    fields: tuple[str, ...]
    descending: bool


BY_ID = Order(("_id",), descending=False)
NEWEST_ID_FIRST = Order(("_id",), descending=True)
NEWEST_FIRST = Order(("at", "_id"), descending=True)


def page_of(
    collection: Collection[dict[str, Any]],
    query: Mapping[str, Any],
    page: PageRequest,
    *,
    load: Callable[[list[dict[str, Any]]], Sequence[T]],
    order: Order,
) -> Page[T]:
    """Return one page. Raises InvalidRequest for a size or a token that cannot be."""
    if not 1 <= page.size <= LARGEST_PAGE:
        message = f"page_size must be between 1 and {LARGEST_PAGE}."
        raise InvalidRequest(message, [{"field": "page_size", "message": message}])
    filters: list[Mapping[str, Any]] = [query]
    if page.token is not None:
        filters.append(_beyond(order, read_token(page.token, order)))
    direction = -1 if order.descending else 1
    found = list(
        collection.find({"$and": filters} if len(filters) > 1 else query)
        .sort([(name, direction) for name in order.fields])
        .limit(page.size + 1)
    )
    following = write_token(found[page.size - 1], order) if len(found) > page.size else None
    return Page(items=load(found[: page.size]), next_token=following)


def at_between(since: datetime | None, until: datetime | None) -> dict[str, Any]:
    """Return the condition that ``at`` is from ``since`` on and before ``until``; none where neither is given."""
    bounds = {bound: moment for bound, moment in (("$gte", since), ("$lt", until)) if moment is not None}
    return {"at": bounds} if bounds else {}


def write_token(last: Mapping[str, Any], order: Order) -> str:
    """Return the token of the page after the document ``last``."""
    key = [_milliseconds(last[name]) if isinstance(last[name], datetime) else last[name] for name in order.fields]
    return base64.urlsafe_b64encode(json.dumps(key).encode()).decode().rstrip("=")


def read_token(token: str, order: Order) -> list[str | datetime]:
    """Return the key that a token names. Raises InvalidRequest for one that no list of this order returned."""
    if len(token) > _LONGEST_TOKEN:
        raise _invalid()
    try:
        padded = token + "=" * (-len(token) % 4)
        key = json.loads(base64.b64decode(padded.encode("ascii"), altchars=b"-_", validate=True))
        if not isinstance(key, list) or len(key) != len(order.fields):
            raise _invalid()
        return [_read_part(part, is_id=name == "_id") for part, name in zip(key, order.fields, strict=True)]
    except (ValueError, OverflowError, RecursionError, binascii.Error) as error:
        raise _invalid() from error


def _beyond(order: Order, key: list[str | datetime]) -> Mapping[str, Any]:
    beyond, or_at = ("$lt", "$lte") if order.descending else ("$gt", "$gte")
    if len(key) == 1:
        return {order.fields[0]: {beyond: key[0]}}
    first, last = order.fields
    # The first condition bounds the walk through the index, the second leaves out what was shown of it.
    return {first: {or_at: key[0]}, "$or": [{first: {beyond: key[0]}}, {last: {beyond: key[1]}}]}


def _read_part(part: object, *, is_id: bool) -> str | datetime:
    if is_id and isinstance(part, str):
        part.encode()  # MongoDB takes no lone surrogate
        return part
    if not is_id and type(part) is int:
        return _EPOCH + timedelta(milliseconds=part)
    raise _invalid()


def _milliseconds(at: datetime) -> int:
    return (at - _EPOCH) // timedelta(milliseconds=1)


def _invalid() -> InvalidRequest:
    message = "page_token is not one that this list returned. Leave it out to begin at the first page."
    return InvalidRequest(message, [{"field": "page_token", "message": message}])
