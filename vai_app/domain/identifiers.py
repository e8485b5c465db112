"""Identifiers: time-ordered, so that a list sorted by id is a list sorted by creation."""

import hashlib
import secrets
import uuid
from datetime import datetime

_RANDOM_BITS = 80


def new_id(prefix: str, now: datetime) -> str:
    """Return ``prefix-`` and 32 hexadecimal digits: milliseconds since 1970 (48 bits), then 80 random bits."""
    milliseconds = int(now.timestamp() * 1000)
    return f"{prefix}-{(milliseconds << _RANDOM_BITS) | secrets.randbits(_RANDOM_BITS):032x}"


def derived_id(prefix: str, identifier: str, number: int) -> str:
    """Return the id of the ``number``-th thing that an object brings about: of its time, the same whenever asked."""
    spelled = identifier.rpartition("-")[2]
    digest = hashlib.blake2b(f"{spelled}/{number}".encode(), digest_size=_RANDOM_BITS // 8).hexdigest()
    return f"{prefix}-{spelled[: -_RANDOM_BITS // 4]}{digest}"


def uuid_of(identifier: str) -> uuid.UUID:
    """Return the UUID that an identifier spells, for providers that key their objects by UUID."""
    return uuid.UUID(identifier.rpartition("-")[2])
