"""``/tenants``: in whose name."""

from dataclasses import dataclass

from flask import Response
from flask_restx import Namespace
from pydantic import Field

from vai_app.api.auth import Confirmed, is_own, require_own
from vai_app.api.configuration.resource import CHANGED, IF_MATCH, History, Name, Resource, Text
from vai_app.api.conventions import answer, expected_revision
from vai_app.api.documentation import documented
from vai_app.api.requests import Body, read_body
from vai_app.domain.policies import ConfigurationKind, Tenant
from vai_app.services.policy_manager import Configured

namespace = Namespace("tenants", description="Tenants")


class TenantChangeBody(Body):
    """What is known of a tenant."""

    description: Text = ""
    enabled: bool = Field(default=True, description="A disabled tenant is refused everything.")


class TenantBody(TenantChangeBody):
    """A tenant to create."""

    name: Name


@dataclass(slots=True)
class TenantView:
    """A tenant."""

    name: str
    description: str
    enabled: bool
    revision: int


@dataclass(slots=True)
class TenantList:
    """Every tenant that the caller may see."""

    items: list[TenantView]


def _tenant(found: Configured) -> TenantView:
    return TenantView(found.value.name, found.value.description, found.value.enabled, found.revision)


_resource = Resource(ConfigurationKind.TENANT, "tenants", _tenant)


@namespace.route("")
class Tenants(Confirmed):
    """All tenants."""

    @documented(namespace, 200, TenantList, may="tenants:read")
    def get(self) -> Response:
        """List the tenants that the caller may see, in order of name."""
        found = [each for each in _resource.all() if is_own(each.value.name)]
        return answer(TenantList([_tenant(each) for each in found]))

    @documented(namespace, 201, TenantView, body=TenantBody, problems=(409, 412), may="tenants:change")
    def post(self) -> Response:
        """Create a tenant."""
        body = read_body(TenantBody)
        tenant = Tenant(body.name, body.description, body.enabled)
        return _resource.created(tenant)


@namespace.route("/<string:name>")
class OneTenant(Confirmed):
    """One tenant."""

    @documented(namespace, 200, TenantView, problems=(404,), may="tenants:read")
    def get(self, name: str) -> Response:
        """Show a tenant."""
        require_own(name)
        return _resource.shown(_resource.get(name))

    @documented(
        namespace, 200, TenantView, body=TenantChangeBody, problems=CHANGED, headers=IF_MATCH, may="tenants:change"
    )
    def put(self, name: str) -> Response:
        """Change a tenant; disable or enable it."""
        revision, body = expected_revision(), read_body(TenantChangeBody)
        tenant = Tenant(name, body.description, body.enabled)
        return _resource.changed(tenant, revision)

    @documented(namespace, 200, TenantView, problems=CHANGED, headers=IF_MATCH, may="tenants:change")
    def delete(self, name: str) -> Response:
        """Forget what is known of a tenant; its machines stay."""
        return _resource.deleted(name)


@namespace.route("/<string:name>/history")
class TenantHistory(Confirmed):
    """A tenant's revisions."""

    @documented(namespace, 200, History, problems=(404,), may="tenants:change")
    def get(self, name: str) -> Response:
        """List the revisions of a tenant, newest first."""
        return _resource.history(name)
