"""What every answer tells a browser: sniff nothing, frame nothing, keep nothing, run nothing but the page's own."""

import base64
import hashlib
import re

from flask import Flask, Response, request

HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_STRICT_TRANSPORT = "max-age=31536000"
_INLINE_SCRIPT = re.compile(rb"<script(?![^>]*\bsrc=)[^>]*>(.*?)</script>", re.DOTALL)


def add_security_headers(app: Flask) -> None:
    """Add the headers to every answer; HSTS where the request came by TLS."""

    @app.after_request
    def add(response: Response) -> Response:
        if response.mimetype == "text/html" and not response.direct_passthrough:
            response.headers.setdefault("Content-Security-Policy", _policy_of_page(response.get_data()))
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        if request.is_secure:
            response.headers.setdefault("Strict-Transport-Security", _STRICT_TRANSPORT)
        return response


def _policy_of_page(page: bytes) -> str:
    """Allow the page's own files and exactly the scripts that stand in it (Swagger UI's start, which we render)."""
    digests = (hashlib.sha256(script).digest() for script in _INLINE_SCRIPT.findall(page))
    scripts = "".join(f" 'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
    return (
        f"default-src 'none'; script-src 'self'{scripts}; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
        "font-src 'self'; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
    )
