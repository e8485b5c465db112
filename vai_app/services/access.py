"""The access service: confirms the token of every request before anything else, by one of its clients.

Confirmed tokens are remembered for a bounded time, so that a revoked one stops working within it. A client that cannot
be asked is no open door: unless another one knows the token, the request is answered 503.
"""

import secrets
from collections import OrderedDict
from collections.abc import Sequence
from datetime import datetime, timedelta
from threading import Lock

from vai_app.domain.errors import Forbidden, InvalidRequest, NotFound, ServiceUnavailable, Unauthenticated
from vai_app.domain.events import Event
from vai_app.domain.identifiers import new_id
from vai_app.domain.ports.access import TokenClient, TokenRepository
from vai_app.domain.ports.clock import Clock
from vai_app.domain.ports.events import EventRepository
from vai_app.domain.principals import ApiToken, Confirmation, Principal, digest_of

_REMEMBERED_TOKENS = 10_000
_LONGEST_TOKEN = 8192


class AccessService:
    """Confirms tokens, and issues and revokes the embedded ones."""

    def __init__(
        self,
        *,
        clients: Sequence[TokenClient],
        tokens: TokenRepository,
        events: EventRepository,
        clock: Clock,
        cache_seconds: float = 10.0,
    ) -> None:
        """``clients`` are asked in order; ``cache_seconds`` bounds how long a revoked token still works."""
        self._clients = clients
        self._tokens = tokens
        self._events = events
        self._clock = clock
        self._cache_seconds = cache_seconds
        self._confirmed: OrderedDict[str, tuple[datetime, Principal]] = OrderedDict()
        self._lock = Lock()

    def confirm(self, secret: str | None) -> Principal:
        """Return who bears the token. Raises Unauthenticated, ServiceUnavailable."""
        if not secret or len(secret) > _LONGEST_TOKEN:
            message = "Send a token: 'Authorization: Bearer <token>'. 'vai token show' prints the local one."
            raise Unauthenticated(message)
        digest = digest_of(secret)
        now = self._clock()
        with self._lock:
            known = self._confirmed.get(digest)
        if known is not None and now < known[0]:
            return known[1]
        found = self._ask(secret)
        if found is None or (found.expires_at is not None and found.expires_at <= now):
            message = "The token is unknown, expired or revoked. Ask for a new one."
            raise Unauthenticated(message)
        self._remember(digest, found, now)
        return found.principal

    def create(self, asking: Principal, bearer: Principal, expires_at: datetime | None) -> tuple[str, ApiToken]:
        """Issue a token in a principal's name and return its secret once.

        Nobody gives more than he has: who is no administrator issues for the own tenant and with own roles only.
        Raises Forbidden, InvalidRequest (it would have expired).
        """
        now = self._clock()
        if expires_at is not None and expires_at <= now:
            raise InvalidRequest("expires_at has passed.", [{"field": "expires_at", "message": "has passed"}])
        if not asking.is_admin and (bearer.tenant != asking.tenant or not {*bearer.roles} <= {*asking.roles}):
            message = "You may issue tokens for your own tenant and with your own roles only."
            raise Forbidden(message)
        secret = self.issue(bearer, expires_at)
        token = self._tokens.find(digest_of(secret))
        if token is None:
            raise NotFound("The token was revoked at once.")
        self._tell(asking.name, "created", token)
        return secret, token

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

    def tokens(self, tenant: str | None) -> Sequence[ApiToken]:
        """Return a tenant's embedded tokens, or all, oldest first."""
        return [each for each in self._tokens.list() if tenant in (None, each.principal.tenant)]

    def revoke(self, token_id: str, tenant: str | None, actor: str = "vai") -> ApiToken:
        """Delete a token and return what it was. Raises NotFound, also for another tenant's."""
        token = next((each for each in self.tokens(tenant) if each.id == token_id), None)
        if token is None:
            message = f"There is no token {token_id}."
            raise NotFound(message)
        self._tokens.delete(token.id)
        with self._lock:
            self._confirmed.pop(token.digest, None)
        self._tell(actor, "revoked", token)
        return token

    def close(self) -> None:
        """Close the clients."""
        for client in self._clients:
            client.close()

    def _ask(self, secret: str) -> Confirmation | None:
        away: ServiceUnavailable | None = None
        for client in self._clients:
            try:
                found = client.confirm(secret)
            except ServiceUnavailable as error:
                away = error
                continue
            if found is not None:
                return found
        if away is not None:
            raise away
        return None

    def _remember(self, digest: str, found: Confirmation, now: datetime) -> None:
        until = now + timedelta(seconds=self._cache_seconds)
        if found.expires_at is not None:
            until = min(until, found.expires_at)
        with self._lock:
            self._confirmed[digest] = (until, found.principal)
            self._confirmed.move_to_end(digest)
            while len(self._confirmed) > _REMEMBERED_TOKENS:
                self._confirmed.popitem(last=False)

    def _tell(self, actor: str, done: str, token: ApiToken) -> None:
        now = self._clock()
        bearer = token.principal
        self._events.append(
            Event(
                id=new_id("ev", now),
                at=now,
                kind=f"token.{done}",
                outcome="succeeded",
                message=f"{actor}: token {token.id} of {bearer.name} in {bearer.tenant} {done}.",
                actor=actor,
                correlation_id=token.id,
                tenant=bearer.tenant,
            )
        )
