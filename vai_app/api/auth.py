"""Who is asking: the bearer token, confirmed by the access service before anything else, and the correlation id."""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

from flask import current_app, g, request
from flask_restx import Resource

from vai_app.api.envelope import correlation_id_of
from vai_app.bootstrap import Services
from vai_app.domain.errors import NotFound
from vai_app.services.acceptance import RequestContext

F = TypeVar("F", bound=Callable[..., Any])


def services() -> Services:
    """Return the services of this application."""
    return cast("Services", current_app.extensions["vai"])


def correlation_id() -> str:
    """Return the id of this request."""
    return correlation_id_of(request.environ)


def confirmed(method: F) -> F:
    """Confirm the token, and that its bearer carries the permission which the method declares.

    Raises Unauthenticated, Forbidden.
    """

    @wraps(method)
    def call(*arguments: Any, **named: Any) -> Any:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        principal = services().access.confirm(token.strip() if scheme.lower() == "bearer" else None)
        g.context = RequestContext(principal, correlation_id())
        # A method that declares none has a permission that no role can carry.
        services().policies.require(principal, getattr(method, "permission", "undeclared"))
        return method(*arguments, **named)

    return cast("F", call)


class Confirmed(Resource):
    """A resource that nobody reaches without a token."""

    method_decorators = [confirmed]  # noqa: RUF012 - flask-restx's own way


def context() -> RequestContext:
    """Return who asks."""
    return cast("RequestContext", g.context)


def is_own(tenant: str) -> bool:
    """Whether the caller may see this tenant."""
    return context().scope in (None, tenant)


def require_own(tenant: str) -> None:
    """Raise NotFound for a tenant that the caller may not see, there or not."""
    if not is_own(tenant):
        message = f"There is no tenant {tenant!r}. 'vai tenant list' shows those there are."
        raise NotFound(message)
