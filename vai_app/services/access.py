"""The access service: confirms the token of every request before anything else. Here, the embedded store.

A token is 256 random bits; what is stored is its SHA-256 digest, which is enough for a secret of that length.
Confirmed tokens are remembered for a bounded time, so that a revoked one stops working within it.
"""

import hashlib
import secrets
from collections import OrderedDict
from datetime import datetime, timedelta
from threading import Lock

from vai_app.domain.errors import Unauthenticated
from vai_app.domain.identifiers import new_id
from vai_app.domain.ports import Clock, TokenRepository
from vai_app.domain.principals import ApiToken, Principal

_REMEMBERED_TOKENS = 10_000
_LONGEST_TOKEN = 512


class AccessService:
    """Issues and confirms embedded tokens."""

    def __init__(self, *, tokens: TokenRepository, clock: Clock, cache_seconds: float = 10.0) -> None:
        """``cache_seconds`` bounds how long a revoked token still works."""
        self._tokens = tokens
        self._clock = clock
        self._cache_seconds = cache_seconds
        self._confirmed: OrderedDict[str, tuple[datetime, Principal]] = OrderedDict()
        self._lock = Lock()

    def confirm(self, secret: str | None) -> Principal:
        """Return who bears the token. Raises Unauthenticated."""
        if not secret or len(secret) > _LONGEST_TOKEN:
            message = "Send a token: 'Authorization: Bearer <token>'. 'vai token show' prints the local one."
            raise Unauthenticated(message)
        digest = digest_of(secret)
        now = self._clock()
        with self._lock:
            known = self._confirmed.get(digest)
        if known is not None and now < known[0]:
            return known[1]
        token = self._tokens.find(digest)
        if token is None or (token.expires_at is not None and token.expires_at <= now):
            message = "The token is unknown, expired or revoked. Ask for a new one."
            raise Unauthenticated(message)
        self._remember(digest, token, now)
        return token.principal

    def issue(self, principal: Principal, expires_at: datetime | None = None) -> str:
        """Store a new token and return its secret, which cannot be read again."""
        secret = f"vai_{secrets.token_urlsafe(32)}"
        self.enrol(secret, principal, expires_at)
        return secret

    def enrol(self, secret: str, principal: Principal, expires_at: datetime | None = None) -> None:
        """Accept a secret that was generated elsewhere; the same secret again changes nothing."""
        digest = digest_of(secret)
        if self._tokens.find(digest) is None:
            now = self._clock()
            self._tokens.insert(ApiToken(new_id("tok", now), digest, principal, now, expires_at))

    def _remember(self, digest: str, token: ApiToken, now: datetime) -> None:
        until = now + timedelta(seconds=self._cache_seconds)
        if token.expires_at is not None:
            until = min(until, token.expires_at)
        with self._lock:
            self._confirmed[digest] = (until, token.principal)
            self._confirmed.move_to_end(digest)
            while len(self._confirmed) > _REMEMBERED_TOKENS:
                self._confirmed.popitem(last=False)


def digest_of(secret: str) -> str:
    """Return the SHA-256 digest under which a secret is stored, hexadecimal."""
    return hashlib.sha256(secret.encode()).hexdigest()
