"""The envelope of every answer, whoever gives it: the request's correlation id, and what a browser is told.

A browser shall sniff nothing, frame nothing, keep nothing, run nothing but the page's own.
"""

import base64
import hashlib
import re
import secrets
from collections.abc import Callable, Iterable
from typing import Any, cast

from flask import Flask, Response

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
Application = Callable[[Environ, StartResponse], Iterable[bytes]]

CORRELATION_HEADER = "X-Request-ID"
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_STRICT_TRANSPORT = ("Strict-Transport-Security", "max-age=31536000")
_INLINE_SCRIPT = re.compile(rb"<script(?![^>]*\bsrc=)[^>]*>(.*?)</script>", re.DOTALL)
_CORRELATION_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_KNOWN = "vai.correlation_id"


class Envelope:
    """A WSGI middleware: adds what the answer does not say itself; HSTS where the request came by TLS."""

    def __init__(self, application: Application) -> None:
        """``application`` answers."""
        self._application = application

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer."""
        added = [(CORRELATION_HEADER, correlation_id_of(environ)), *HEADERS.items()]
        if environ["wsgi.url_scheme"] == "https":
            added.append(_STRICT_TRANSPORT)

        def started(status: str, given: list[tuple[str, str]], exc_info: Any = None) -> Any:
            said = {name for name, _ in given}
            return start_response(status, [*given, *(each for each in added if each[0] not in said)], exc_info)

        return self._application(environ, started)


def correlation_id_of(environ: Environ) -> str:
    """Return the client's id for a request if it is one, else one of ours; the same whenever it is asked for."""
    if _KNOWN not in environ:
        given = environ.get("HTTP_X_REQUEST_ID", "")
        environ[_KNOWN] = given if _CORRELATION_ID.fullmatch(given) else secrets.token_hex(16)
    return cast("str", environ[_KNOWN])


def allow_scripts_of_pages(app: Flask) -> None:
    """Let a page run its own files and exactly the scripts that stand in it (Swagger UI's start, which we render)."""

    @app.after_request
    def allow(response: Response) -> Response:
        if response.mimetype == "text/html" and not response.direct_passthrough:
            response.headers.setdefault("Content-Security-Policy", _policy_of_page(response.get_data()))
        return response


def _policy_of_page(page: bytes) -> str:
    digests = (hashlib.sha256(script).digest() for script in _INLINE_SCRIPT.findall(page))
    scripts = "".join(f" 'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
    return (
        f"default-src 'none'; script-src 'self'{scripts}; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
        "font-src 'self'; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
    )
