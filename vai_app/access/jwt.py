"""Signed tokens (JWT, RFC 7519) of an OpenID Connect provider, verified here with the provider's published keys.

Keys are read again at intervals, and when a token names one that is not known: a rotation needs no restart. A revoked
token works until it expires, for nobody is asked: providers give such tokens minutes.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Lock
from typing import Any

import msgspec
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from joserfc.util import urlsafe_b64decode

from vai_app.access.claims import ClaimMap
from vai_app.access.http import ServiceCaller
from vai_app.domain.errors import InvalidRequest
from vai_app.domain.principals import Confirmation

ASYMMETRIC = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519")
"""With these a key that everybody may read verifies and cannot sign. No other algorithm is ever accepted."""

_KEYS_SECONDS = 300.0
_SHORTEST_PAUSE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Issuer:
    """Whose tokens are accepted, and for whom they must be made out."""

    url: str
    audience: str
    algorithms: tuple[str, ...] = ("RS256", "ES256")
    clock_skew_seconds: int = 30


class JwtClient:
    """Implements the ``TokenClient`` port."""

    def __init__(
        self,
        issuer: Issuer,
        *,
        claims: ClaimMap,
        caller: ServiceCaller,
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """``now`` is UTC in seconds since 1970. Raises InvalidRequest for algorithms that a public key could sign."""
        wrong = [each for each in issuer.algorithms if each not in ASYMMETRIC]
        if wrong or not issuer.audience or not issuer.url:
            message = f"Signed tokens need an issuer, an audience and asymmetric algorithms, not {wrong}."
            raise InvalidRequest(message)
        self._issuer = issuer
        self._claims = claims
        self._caller = caller
        self._now = now
        self._monotonic = monotonic
        self._lock = Lock()
        self._keys = KeySet([])
        self._read_at: float | None = None
        self._tried_at: float | None = None

    def confirm(self, secret: str) -> Confirmation | None:
        """Return who bears the token, if its signature, issuer, audience and times are right."""
        header = _header_of(secret)
        if header is None or header.get("alg") not in self._issuer.algorithms:
            return None
        keys = self._keys_for(header.get("kid"))
        if keys is None:
            return None
        registry = jwt.JWTClaimsRegistry(
            now=lambda: int(self._now()),
            leeway=self._issuer.clock_skew_seconds,
            iss={"essential": True, "value": self._issuer.url},
            aud={"essential": True, "value": self._issuer.audience},
            exp={"essential": True},
        )
        try:
            token = jwt.decode(secret, keys, algorithms=list(self._issuer.algorithms))
            registry.validate(token.claims)
        except (JoseError, ValueError, TypeError):
            return None
        principal = self._claims.principal(token.claims)
        if principal is None:
            return None
        last = token.claims["exp"] + self._issuer.clock_skew_seconds
        return Confirmation(principal, datetime.fromtimestamp(last, UTC))

    def close(self) -> None:
        """Close the connections."""
        self._caller.close()

    def _keys_for(self, kid: Any) -> KeySet | None:
        """Return the keys if one is named ``kid``, read again if need be. Raises ServiceUnavailable."""
        with self._lock:
            now = self._monotonic()
            fresh = self._read_at is not None and now < self._read_at + _KEYS_SECONDS
            if not fresh or (not self._names(kid) and self._may_ask_again(now)):
                self._tried_at = now
                self._keys = self._read_keys()
                self._read_at = now
            return self._keys if self._names(kid) else None

    def _names(self, kid: Any) -> bool:
        # A token without a name is verified by the only key there is.
        return any(each.kid == kid for each in self._keys.keys) or (kid is None and len(self._keys.keys) == 1)

    def _may_ask_again(self, now: float) -> bool:
        """Whether a token may cause a call: anybody can write any name into one."""
        return self._tried_at is None or now >= self._tried_at + _SHORTEST_PAUSE_SECONDS

    def _read_keys(self) -> KeySet:
        url = f"{self._issuer.url.rstrip('/')}/.well-known/openid-configuration"
        found = self._caller.call("GET", url).body
        if found.get("issuer") != self._issuer.url:
            raise self._caller.garbled("issuer")
        address = found.get("jwks_uri")
        scheme = self._issuer.url.partition(":")[0]
        if not isinstance(address, str) or address.partition(":")[0] not in ("https", scheme):
            raise self._caller.garbled("jwks_uri")
        keys = self._caller.call("GET", address).body.get("keys")
        if not isinstance(keys, list):
            raise self._caller.garbled("keys")
        usable = [each for each in keys if _is_usable(each)]
        try:
            return KeySet.import_key_set({"keys": usable})
        except (JoseError, ValueError, TypeError, KeyError) as error:
            raise self._caller.garbled("keys") from error


def _is_usable(key: Any) -> bool:
    """Leave out what encrypts and what is secret."""
    return isinstance(key, dict) and key.get("use", "sig") == "sig" and key.get("kty") in ("RSA", "EC", "OKP")


def _header_of(secret: str) -> dict[str, Any] | None:
    parts = secret.split(".")
    if len(parts) != 3:  # noqa: PLR2004 - header, claims, signature
        return None
    try:
        header = msgspec.json.decode(urlsafe_b64decode(parts[0].encode()))
    except (ValueError, RecursionError, msgspec.DecodeError):
        return None
    return header if isinstance(header, dict) else None
