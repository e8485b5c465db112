"""A small access service on loopback: OpenID Connect discovery and keys, introspection, and Keystone's tokens.

It signs real tokens with real keys. ``trouble`` makes it slow, garbled, broken or cut off.
"""

import json
import threading
import time
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, OKPKey, RSAKey

CLIENT = ("vai", "vais-own-secret")
AUDIENCE = "vai-api"


_ANSWERS_OF_NO_USE = {
    "garbage": b"<html>502 Bad Gateway</html>",
    "no text": b'{"active": "\xff"}',
    "deep": b"[" * 20_000,
    "a list": b"[]",
    "nothing": b"{}",
    "huge": b'{"x": "' + b"x" * 1_000_000 + b'"}',
}


class AccessServicePeer:
    """State and address of the service."""

    def __init__(self) -> None:
        self.keys: list[Any] = []
        self.published: list[Any] | None = None  # other keys than those that sign
        self.active: dict[str, dict[str, Any]] = {}  # introspection, by token
        self.keystone: dict[str, dict[str, Any]] = {}
        self.trouble: str | None = None
        self.calls: list[str] = []
        self.issuer_says: str | None = None
        self.rotate("first")
        peer = self

        class Handler(_Handler):
            service = peer

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    def rotate(self, kid: str, kind: str = "RSA") -> None:
        """Sign with a new key from now on, and publish no older one."""
        self.keys = [_key(kid, kind)]

    def token(self, header: dict[str, Any] | None = None, key: Any = None, **claims: Any) -> str:
        """Return a signed token of ann; a claim that is ``None`` is left out."""
        now = int(time.time())
        given = {
            "iss": self.url,
            "aud": AUDIENCE,
            "sub": "ann",
            "tenant": "acme",
            "roles": ["dev"],
            "iat": now,
            "exp": now + 300,
            **claims,
        }
        signing = key or self.keys[0]
        whole = {"alg": "RS256", "kid": signing.kid, **(header or {})}
        body = {name: value for name, value in given.items() if value is not None}
        return jwt.encode({k: v for k, v in whole.items() if v is not None}, body, signing, algorithms=[whole["alg"]])

    def jwks(self) -> Any:
        """Return what is published."""
        return KeySet(self.keys if self.published is None else self.published).as_dict(private=False)

    @contextmanager
    def running(self) -> Iterator["AccessServicePeer"]:
        """Serve until the end."""
        self._thread.start()
        try:
            yield self
        finally:
            self.stop()

    def stop(self) -> None:
        """Be down; may be called twice."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()


@cache
def _key(kid: str, kind: str) -> Any:
    """Return a key, made once: making one takes long."""
    parameters: Any = {"kid": kid, "use": "sig"}
    if kind == "EC":
        return ECKey.generate_key("P-256", parameters)
    if kind == "OKP":
        return OKPKey.generate_key("Ed25519", parameters)
    return RSAKey.generate_key(2048, parameters)


class _Handler(BaseHTTPRequestHandler):
    service: AccessServicePeer

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name in the standard library
        """Say nothing."""

    def do_GET(self) -> None:
        service = self.service
        path = self.path.partition("?")[0]
        service.calls.append(path)
        if self._in_trouble():
            return
        if path == "/.well-known/openid-configuration":
            issuer = service.issuer_says or service.url
            self._answer(200, {"issuer": issuer, "jwks_uri": f"{service.url}/keys"})
        elif path == "/keys":
            self._answer(200, service.jwks())
        elif path == "/v3/auth/tokens":
            self._keystone()
        else:
            self._answer(404, {})

    def do_POST(self) -> None:
        service = self.service
        service.calls.append(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        if self._in_trouble():
            return
        account = b64decode(self.headers.get("Authorization", "Basic ").partition(" ")[2]).decode()
        if account != ":".join(CLIENT):
            self._answer(401, {"error": "invalid_client"})
            return
        token = parse_qs(body).get("token", [""])[0]
        found = service.active.get(token)
        self._answer(200, {"active": True, **found} if found is not None else {"active": False})

    def _keystone(self) -> None:
        asking, asked = self.headers.get("X-Auth-Token", ""), self.headers.get("X-Subject-Token", "")
        known = self.service.keystone
        if asking not in known:
            self._answer(401, {"error": {"code": 401, "title": "Unauthorized"}})
        elif asked not in known:
            self._answer(404, {"error": {"code": 404, "title": "Not Found"}})
        else:
            self._answer(200, {"token": known[asked]})

    def _in_trouble(self) -> bool:
        trouble = self.service.trouble
        if trouble is None:
            return False
        if trouble in _ANSWERS_OF_NO_USE:
            self._send(200, _ANSWERS_OF_NO_USE[trouble])
        elif trouble == "500":
            self._send(500, b"{}")
        elif trouble == "redirect":
            self.send_response(302)
            self.send_header("Location", "http://127.0.0.1:1/")
            self.end_headers()
        elif trouble == "slow":
            self._drip()
        return True

    def _drip(self) -> None:
        """Send a byte from time to time, so that no single read ever times out."""
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        try:
            for _ in range(100):
                self.wfile.write(b" ")
                self.wfile.flush()
                time.sleep(0.05)
        except OSError:
            return

    def _answer(self, status: int, body: Any) -> None:
        self._send(status, json.dumps(body).encode())

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        try:
            self.wfile.write(body)
        except OSError:
            return
