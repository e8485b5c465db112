"""Identifiers: time-ordered, so that a list sorted by id is a list sorted by creation."""

import secrets
import uuid
from datetime import datetime

_RANDOM_BITS = 80


def new_id(prefix: str, now: datetime) -> str:
    """Return ``prefix-`` and 32 hexadecimal digits: milliseconds since 1970 (48 bits), then 80 random bits."""
    milliseconds = int(now.timestamp() * 1000)
    return f"{prefix}-{(milliseconds << _RANDOM_BITS) | secrets.randbits(_RANDOM_BITS):032x}"


def uuid_of(identifier: str) -> uuid.UUID:
    """Return the UUID that an identifier spells, for providers that key their objects by UUID."""
    return uuid.UUID(identifier.rpartition("-")[2])
