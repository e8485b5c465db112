"""The API's own figures."""

from time import perf_counter

from flask import Flask, Response, g, request
from prometheus_client import CONTENT_TYPE_LATEST, Counter, Histogram, generate_latest

_REQUESTS = Counter("vai_http_requests", "Requests", ["method", "route", "status"])
_SECONDS = Histogram("vai_http_request_seconds", "Time to answer", ["method", "route"])


def count_requests(app: Flask) -> None:
    """Count every request by its route, never by its path, which anyone may invent."""

    @app.before_request
    def begin() -> None:
        g.began = perf_counter()

    @app.after_request
    def end(response: Response) -> Response:
        route = request.url_rule.rule if request.url_rule else "(none)"
        _REQUESTS.labels(request.method, route, response.status_code).inc()
        _SECONDS.labels(request.method, route).observe(perf_counter() - g.began)
        return response


def exposition() -> tuple[bytes, str]:
    """Return the figures and their content type."""
    return generate_latest(), CONTENT_TYPE_LATEST
