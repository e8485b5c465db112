"""Protection: who asks too much is refused before anything is parsed or looked up, and refusals are recorded.

A WSGI middleware. Order: the address's rate, wrong tokens from the address, the token's rate. An address
that tried too many wrong tokens is not locked out: tokens that were right within a day are still looked at.
"""

import hashlib
import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from http import HTTPStatus
from threading import Lock
from typing import Any

import msgspec
from flask import Flask, Response, g, request

from vai_app.api.documentation import PROBLEM_TYPE
from vai_app.api.envelope import Application, Environ, StartResponse, correlation_id_of
from vai_app.api.rate_limits import RateLimit, SharedCounts, Verdict
from vai_app.api.views import ProblemDetails
from vai_app.bootstrap import Services
from vai_app.domain.errors import TooManyRequests
from vai_app.domain.principals import Principal
from vai_app.services.refusals import Refusal, RefusalLog

HOLD, HELD = "vai.hold_seconds", "vai.held"
"""In the environment after the answer: how long the server should leave this connection alone, and which limit says
so. What ``address`` or ``token`` holds may be held on every connection."""

_PRINCIPAL = "vai.principal"
_ALWAYS_SERVED = "/healthz"
_LONGEST_HOLD_SECONDS = 2.0
_HOLD_PER_WRONG_TOKEN_SECONDS = 0.05
_KNOWN_SECONDS = 24 * 3600
_MOST_KNOWN = 10_000
_REFUSED = f"{HTTPStatus.TOO_MANY_REQUESTS.value} {HTTPStatus.TOO_MANY_REQUESTS.phrase}"
_RECORDED = {HTTPStatus.UNAUTHORIZED: "unauthenticated", HTTPStatus.FORBIDDEN: "forbidden"}


def protected(app: Flask, services: Services) -> Application:
    """Return the application behind its limits; what it refuses is recorded."""

    @app.after_request
    def tell(response: Response) -> Response:
        asking = g.get("context")
        principal: Principal | None = asking.principal if asking else None
        request.environ[_PRINCIPAL] = principal
        problem = g.get("refused") or _RECORDED.get(HTTPStatus(response.status_code))
        if problem is not None:
            route = request.url_rule.rule if request.url_rule else "(none)"
            refusal = Refusal(
                problem,
                principal.name if principal else "unknown",
                address_of(request.environ),
                request.method,
                route,
                principal.tenant if principal else None,
            )
            services.refusals.record(refusal, correlation_id_of(request.environ))
        return response

    settings = services.settings
    counts = SharedCounts(settings.redis_url.get_secret_value(), settings.api_processes)
    return Protection(
        app.wsgi_app,
        addresses=RateLimit("address", settings.rate_per_address, counts),
        tokens=RateLimit("token", settings.rate_per_token, counts),
        wrong_tokens=RateLimit("wrong-tokens", settings.wrong_tokens_per_address, counts),
        known=KnownTokens(counts),
        refusals=services.refusals,
    )


class KnownTokens:
    """Tokens that were right within a day, by digest; all API processes learn of them."""

    def __init__(self, counts: SharedCounts, clock: Callable[[], float] = time.monotonic) -> None:
        """``counts`` is where the processes tell each other."""
        self._counts = counts
        self._clock = clock
        self._known: OrderedDict[str, tuple[float, str]] = OrderedDict()
        self._lock = Lock()

    def add(self, digest: str, bearer: str) -> None:
        """Remember that a token was right, and whose it is."""
        now = self._clock()
        with self._lock:
            known = self._known.get(digest)
            if known is not None and now < known[0]:
                return
            self._known[digest] = (now + _KNOWN_SECONDS / 2, bearer)
            self._known.move_to_end(digest)
            if len(self._known) > _MOST_KNOWN:
                self._known.popitem(last=False)
        self._counts.remember(f"known:{digest}", _KNOWN_SECONDS)

    def forget(self, digest: str) -> None:
        """A token was wrong; what other processes remember runs out by itself."""
        with self._lock:
            self._known.pop(digest, None)

    def bearer(self, digest: str) -> str | None:
        """Return whose token this is, if this process knows."""
        with self._lock:
            known = self._known.get(digest)
        return known[1] if known else None

    def knows(self, digest: str) -> bool:
        """Whether any process saw the token be right."""
        return self.bearer(digest) is not None or self._counts.knows(f"known:{digest}")


class Protection:
    """The middleware."""

    def __init__(
        self,
        application: Application,
        *,
        addresses: RateLimit,
        tokens: RateLimit,
        wrong_tokens: RateLimit,
        known: KnownTokens,
        refusals: RefusalLog,
    ) -> None:
        """Collaborators: three limits, the tokens that were right, and where refusals are recorded."""
        self._application = application
        self._addresses = addresses
        self._tokens = tokens
        self._wrong_tokens = wrong_tokens
        self._known = known
        self._refusals = refusals
        self._policy = f"{addresses.policy}, {tokens.policy}"

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Refuse, or serve and add the RateLimit headers."""
        if environ.get("PATH_INFO") == _ALWAYS_SERVED:
            return self._application(environ, start_response)
        address = address_of(environ)
        digest = _digest_of_token(environ)
        by, verdict = self._judge(address, digest)
        if not verdict.allowed:
            return self._refuse(environ, start_response, by, verdict, address, digest)
        headers = [("RateLimit-Policy", self._policy), ("RateLimit", _header(by, verdict))]

        def started(status: str, given: list[tuple[str, str]], exc_info: Any = None) -> Any:
            if digest is not None:
                self._learn(environ, int(status[:3]), address, digest)
            return start_response(status, [*given, *headers], exc_info)

        return self._application(environ, started)

    def _judge(self, address: str, digest: str | None) -> tuple[RateLimit, Verdict]:
        """Return the limit that decides, and what it says."""
        verdict = self._addresses.spend(address)
        if digest is None or not verdict.allowed:
            return self._addresses, verdict
        wrong = self._wrong_tokens.look(address)
        if not wrong.allowed and not self._known.knows(digest):
            return self._wrong_tokens, wrong
        return self._tokens, self._tokens.spend(digest)

    def _learn(self, environ: Environ, status: int, address: str, digest: str) -> None:
        """Draw the conclusions from an answer."""
        principal: Principal | None = environ.get(_PRINCIPAL)
        if status == HTTPStatus.UNAUTHORIZED:
            self._known.forget(digest)
            wrong = self._wrong_tokens.spend(address)
            tried = wrong.limit - wrong.remaining
            environ[HOLD] = min(_LONGEST_HOLD_SECONDS, tried * _HOLD_PER_WRONG_TOKEN_SECONDS)
        elif principal is not None:
            self._known.add(digest, principal.name)

    def _refuse(
        self,
        environ: Environ,
        start_response: StartResponse,
        by: RateLimit,
        verdict: Verdict,
        address: str,
        digest: str | None,
    ) -> Iterable[bytes]:
        request_id = correlation_id_of(environ)
        error = TooManyRequests(_DETAIL[by.name].format(seconds=verdict.reset_seconds))
        view = ProblemDetails(
            type=f"/problems/{error.problem}",
            title=error.title,
            status=HTTPStatus.TOO_MANY_REQUESTS.value,
            detail=error.detail,
            instance=environ.get("PATH_INFO", ""),
            correlation_id=request_id,
            errors=[],
        )
        body = msgspec.json.encode(view)
        actor = (self._known.bearer(digest) if digest else None) or "unknown"
        refusal = Refusal(f"{error.problem} ({by.name})", actor, address, environ["REQUEST_METHOD"], "(any)")
        self._refusals.record(refusal, request_id)
        environ[HOLD], environ[HELD] = min(_LONGEST_HOLD_SECONDS, verdict.reset_seconds), by.name
        headers = [
            ("Content-Type", PROBLEM_TYPE),
            ("Content-Length", str(len(body))),
            ("Retry-After", str(verdict.reset_seconds)),
            ("RateLimit-Policy", by.policy),
            ("RateLimit", _header(by, verdict)),
        ]
        start_response(_REFUSED, headers)
        return [body]


_DETAIL = {
    "address": "Your address sent more requests than it may. Go on in {seconds} s.",
    "token": "Your token sent more requests than it may. Go on in {seconds} s.",
    "wrong-tokens": "Too many wrong tokens came from your address. Try again in {seconds} s.",
}


def address_of(environ: Environ) -> str:
    """Return who sent the request, as far as it matters for limits: one IPv4 address, or one IPv6 /64 network."""
    address: str = environ.get("REMOTE_ADDR") or "unknown"
    if ":" not in address:
        return address
    try:
        found = ipaddress.IPv6Address(address.partition("%")[0])
    except ValueError:
        return "unknown"
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.IPv6Network((found, 64), strict=False))


def _digest_of_token(environ: Environ) -> str | None:
    header: str = environ.get("HTTP_AUTHORIZATION", "")
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer" or not token:
        return None
    return hashlib.sha256(token.strip().encode("latin-1", "replace")).hexdigest()[:32]


def _header(by: RateLimit, verdict: Verdict) -> str:
    return f'"{by.name}";r={verdict.remaining};t={verdict.reset_seconds}'
