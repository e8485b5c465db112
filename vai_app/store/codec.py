"""Turns domain dataclasses into documents and back, from the dataclasses' own types: no field is listed twice."""

from typing import Any, Generic, TypeVar

from pydantic import TypeAdapter

T = TypeVar("T")


class Codec(Generic[T]):
    """Between one dataclass with an ``id`` and its documents with an ``_id``."""

    def __init__(self, kind: type[T]) -> None:
        """``kind`` is a dataclass of the domain."""
        self._adapter: TypeAdapter[T] = TypeAdapter(kind)

    def to_document(self, value: T) -> dict[str, Any]:
        """Return the document, ready to be stored."""
        document: dict[str, Any] = self._adapter.dump_python(value, warnings=False)
        document["_id"] = document.pop("id")
        return document

    def from_document(self, document: dict[str, Any]) -> T:
        """Return the value; fields that the dataclass does not know are left out. The document gains an ``id``."""
        document["id"] = document["_id"]
        return self._adapter.validate_python(document)
