"""Health, metrics and the description of problems: what needs no token."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass

from flask import Response
from flask_restx import Namespace, Resource
from markupsafe import escape

from vai_app.api.auth import services
from vai_app.api.conventions import answer
from vai_app.api.documentation import before_it_is_read, documented, model_of, problem
from vai_app.api.metrics import exposition
from vai_app.domain.errors import NotFound, VaiError, all_errors


@dataclass(slots=True)
class Health:
    """Whether the process, or everything it needs, is well; parts by name."""

    status: str
    parts: Mapping[str, str]


namespace = Namespace("system", path="/", description="Health, metrics and problem types")


@namespace.route("/healthz")
class Liveness(Resource):
    """Whether this process answers."""

    @documented(namespace, 200, Health, public=True)
    def get(self) -> Response:
        """Say that the process is alive."""
        return answer(Health("ok", {}))


@namespace.route("/readyz")
class Readiness(Resource):
    """Whether requests can be served."""

    @documented(namespace, 200, Health, public=True)
    @namespace.response(503, "Service Unavailable", model_of(namespace, Health))
    def get(self) -> Response:
        """Say whether the database and the broker answer."""
        parts = services().readiness()
        ready = all(state == "ok" for state in parts.values())
        return answer(Health("ok" if ready else "unavailable", parts), 200 if ready else 503)


@namespace.route("/metrics")
class Metrics(Resource):
    """Figures for Prometheus."""

    @namespace.doc(security=[], produces=["text/plain"])
    @namespace.response(200, "OK")
    @before_it_is_read(namespace)
    def get(self) -> Response:
        """Give the figures of this process in Prometheus' text format."""
        body, content_type = exposition()
        return Response(body, content_type=content_type)


@namespace.route("/problems")
class Problems(Resource):
    """All problem types."""

    @namespace.doc(security=[], produces=["text/html"])
    @namespace.response(200, "OK")
    @before_it_is_read(namespace)
    def get(self) -> Response:
        """Describe every problem type."""
        rows = "".join(_row(error) for error in all_errors())
        return _page("Problem types", f"<dl>{rows}</dl>")


@namespace.route("/problems/<string:problem>")
class ProblemType(Resource):
    """One problem type."""

    @namespace.doc(security=[], produces=["text/html", "application/problem+json"])
    @namespace.response(200, "OK")
    @problem(namespace, 404)
    @before_it_is_read(namespace)
    def get(self, problem: str) -> Response:
        """Describe a problem type."""
        for error in all_errors():
            if error.problem == problem:
                return _page(error.title, f"<dl>{_row(error)}</dl>")
        raise NotFound("There is no such problem type. /problems lists them all.")


def _row(error: type[VaiError]) -> str:
    retry = "Asking again later may help." if error.retryable else "Asking again does not help."
    return f"<dt><code>{error.problem}</code></dt><dd>{escape(inspect.getdoc(error) or '')} {retry}</dd>"


def _page(title: str, body: str) -> Response:
    html = f"<!doctype html><html lang=en><title>{escape(title)}</title><h1>{escape(title)}</h1>{body}</html>"
    return Response(html, mimetype="text/html")
