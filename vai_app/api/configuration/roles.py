"""``/roles``: who may do what."""

from dataclasses import dataclass
from typing import Annotated

from flask import Response
from flask_restx import Namespace
from pydantic import Field, StringConstraints

from vai_app.api.auth import Confirmed
from vai_app.api.configuration.resource import CHANGED, IF_MATCH, History, Name, Resource, Text
from vai_app.api.conventions import answer, expected_revision
from vai_app.api.documentation import documented
from vai_app.api.requests import Body, read_body
from vai_app.domain.policies import ConfigurationKind, Role
from vai_app.services.policy_manager import Configured

namespace = Namespace("roles", description="Roles and their permissions")
Permission = Annotated[str, StringConstraints(pattern=r"^([a-z-]{1,32}|\*):([a-z-]{1,32}|\*)$")]


class RoleChangeBody(Body):
    """What a role carries."""

    permissions: list[Permission] = Field(max_length=128, description="resource:verb, * stands for all.")
    description: Text = ""


class RoleBody(RoleChangeBody):
    """A role to create."""

    name: Name


@dataclass(slots=True)
class RoleView:
    """A role. Revision 0 is what a new installation comes with."""

    name: str
    permissions: list[str]
    description: str
    revision: int


@dataclass(slots=True)
class RoleList:
    """Every role."""

    items: list[RoleView]


def _role(found: Configured) -> RoleView:
    return RoleView(found.value.name, list(found.value.permissions), found.value.description, found.revision)


_resource = Resource(ConfigurationKind.ROLE, "roles", _role)


@namespace.route("")
class Roles(Confirmed):
    """All roles."""

    @documented(namespace, 200, RoleList, may="roles:read")
    def get(self) -> Response:
        """List roles in order of name."""
        return answer(RoleList([_role(each) for each in _resource.all()]))

    @documented(namespace, 201, RoleView, body=RoleBody, problems=(409, 412), may="roles:change")
    def post(self) -> Response:
        """Create a role."""
        body = read_body(RoleBody)
        role = Role(body.name, tuple(body.permissions), body.description)
        return _resource.created(role)


@namespace.route("/<string:name>")
class OneRole(Confirmed):
    """One role."""

    @documented(namespace, 200, RoleView, problems=(404,), may="roles:read")
    def get(self, name: str) -> Response:
        """Show a role."""
        return _resource.shown(_resource.get(name))

    @documented(namespace, 200, RoleView, body=RoleChangeBody, problems=CHANGED, headers=IF_MATCH, may="roles:change")
    def put(self, name: str) -> Response:
        """Replace what a role carries; it holds at once."""
        revision, body = expected_revision(), read_body(RoleChangeBody)
        role = Role(name, tuple(body.permissions), body.description)
        return _resource.changed(role, revision)

    @documented(namespace, 200, RoleView, problems=CHANGED, headers=IF_MATCH, may="roles:change")
    def delete(self, name: str) -> Response:
        """Delete a role."""
        return _resource.deleted(name)


@namespace.route("/<string:name>/history")
class RoleHistory(Confirmed):
    """A role's revisions."""

    @documented(namespace, 200, History, problems=(404,), may="roles:read")
    def get(self, name: str) -> Response:
        """List the revisions of a role, newest first."""
        return _resource.history(name)
