"""Principals: who is asking."""

import hashlib
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Principal:
    """The bearer of a confirmed token. ``roles`` are names; ``admin`` sees what belongs to no tenant."""

    name: str
    tenant: str
    roles: tuple[str, ...] = ()

    @property
    def is_admin(self) -> bool:
        """Whether the principal steers the installation: datacenters, machines that nobody adopted."""
        return "admin" in self.roles


@dataclass(frozen=True, slots=True)
class Confirmation:
    """An access service's word for a token: whose it is, and when it ends."""

    principal: Principal
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class ApiToken:
    """An embedded token as it is stored: never the secret itself, only its SHA-256 digest (hexadecimal)."""

    id: str
    digest: str
    principal: Principal
    created_at: datetime
    expires_at: datetime | None = None


def digest_of(secret: str) -> str:
    """Return the SHA-256 digest under which a secret is stored, hexadecimal."""
    return hashlib.sha256(secret.encode()).hexdigest()
