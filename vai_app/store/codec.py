"""Turns domain dataclasses into documents and back, from the dataclasses' own types: no field is listed twice."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Generic, TypeVar

import msgspec

T = TypeVar("T")

_KEPT = (datetime, bytes)  # what MongoDB stores as it is


def to_stored(value: Any) -> Any:
    """Return what is stored of a dataclass or of a collection of them."""
    return msgspec.to_builtins(value, builtin_types=_KEPT)


def from_stored(stored: Any, kind: type[T]) -> T:
    """Return the value of a kind; fields that its dataclass does not know are left out."""
    return msgspec.convert(stored, kind)


class Codec(Generic[T]):
    """Between one dataclass with an ``id`` and its documents with an ``_id``."""

    def __init__(self, kind: type[T]) -> None:
        """``kind`` is a dataclass of the domain."""
        self._kind = kind
        self._list: type[list[T]] = list[kind]  # type: ignore[valid-type] # a type that is known at run time

    def to_document(self, value: T) -> dict[str, Any]:
        """Return the document, ready to be stored."""
        document: dict[str, Any] = to_stored(value)
        document["_id"] = document.pop("id")
        return document

    def from_documents(self, documents: Iterable[dict[str, Any]]) -> list[T]:
        """Return the values. Each document gains an ``id``."""
        found = list(documents)
        for document in found:
            document["id"] = document["_id"]
        return from_stored(found, self._list)

    def from_document(self, document: dict[str, Any]) -> T:
        """Return the value. The document gains an ``id``."""
        document["id"] = document["_id"]
        return from_stored(document, self._kind)
