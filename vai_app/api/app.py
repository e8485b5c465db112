"""Builds the Flask application."""

from typing import Any

from flask import Flask, Response, current_app, request
from flask_restx import Api
from werkzeug.exceptions import HTTPException, NotAcceptable
from werkzeug.middleware.proxy_fix import ProxyFix

import vai_app
from vai_app.api import consumption, events, operations, system, tokens
from vai_app.api.configuration import policies, roles, tenants
from vai_app.api.conventions import API, JSON
from vai_app.api.datacenters import endpoints as datacenters
from vai_app.api.documentation import PROBLEM_TYPE
from vai_app.api.envelope import Envelope, allow_scripts_of_pages
from vai_app.api.errors import problem_response
from vai_app.api.metrics import count_requests
from vai_app.api.protection import protected
from vai_app.api.virtual_machines import endpoints as virtual_machines
from vai_app.api.virtual_machines import snapshots, statistics
from vai_app.bootstrap import Services

_ANYTHING = ("", "*/*")


class VaiApi(Api):
    """Flask-RESTX for routing and documentation; errors are ours."""

    def handle_error(self, e: Exception) -> Response:
        """Return any error as a problem."""
        return problem_response(e)


def create_app(services: Services) -> Flask:
    """Return the application over the given services."""
    app = Flask(__name__)
    app.extensions["vai"] = services
    app.config.update(
        MAX_CONTENT_LENGTH=services.settings.largest_body_bytes,
        RESTX_INCLUDE_ALL_MODELS=True,
        RESTX_MASK_SWAGGER=False,
        PROPAGATE_EXCEPTIONS=False,
    )
    app.register_error_handler(HTTPException, problem_response)
    app.register_error_handler(Exception, problem_response)
    count_requests(app)
    app.before_request(_accepts_what_is_offered)
    allow_scripts_of_pages(app)
    api = VaiApi(
        app,
        version=vai_app.__version__,
        title="VAI, the Virtual Abstraction Interface",
        description="One API over datacenters that run different hypervisors.",
        doc="/",
        catch_all_404s=True,
        authorizations={"token": {"type": "apiKey", "in": "header", "name": "Authorization"}},
        security="token",
        license="Apache-2.0",
        default_mediatype="application/json",
    )
    for namespace, path in (
        (virtual_machines.namespace, f"{API}/virtual-machines"),
        (snapshots.namespace, f"{API}/virtual-machines"),
        (statistics.namespace, f"{API}/virtual-machines"),
        (virtual_machines.batches, f"{API}/batches"),
        (operations.namespace, f"{API}/operations"),
        (datacenters.namespace, f"{API}/datacenters"),
        (datacenters.hosts, f"{API}/hosts"),
        (datacenters.images, f"{API}/images"),
        (events.namespace, f"{API}/events"),
        (consumption.namespace, f"{API}/consumption"),
        (roles.namespace, f"{API}/roles"),
        (policies.namespace, f"{API}/policies"),
        (tenants.namespace, f"{API}/tenants"),
        (tokens.namespace, f"{API}/tokens"),
        (system.namespace, None),
    ):
        api.add_namespace(namespace, path=path)
    enclosed: Any = Envelope(protected(app, services))
    if services.settings.trusted_proxies:
        proxies = services.settings.trusted_proxies
        enclosed = ProxyFix(enclosed, x_for=proxies, x_proto=proxies, x_host=proxies)
    app.wsgi_app = enclosed  # type: ignore[method-assign] # Flask's own way to add a middleware
    return app


def _accepts_what_is_offered() -> None:
    """Raise NotAcceptable early, before anything is changed."""
    if request.path.startswith(API) and request.headers.get("Accept", "") not in _ANYTHING:
        resource = getattr(current_app.view_functions.get(request.endpoint or ""), "view_class", None)
        method = getattr(resource, request.method.lower(), None)
        offered: Any = getattr(method, "produces", [JSON, PROBLEM_TYPE])
        if request.accept_mimetypes.best_match(offered) is None:
            raise NotAcceptable
