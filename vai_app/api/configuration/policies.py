"""``/policies``: how much of it; and the question why."""

from dataclasses import dataclass

from flask import Response
from flask_restx import Namespace
from pydantic import Field

from vai_app.api.auth import Confirmed, context, is_own
from vai_app.api.configuration.evaluation import EvaluationBody, EvaluationView, evaluate
from vai_app.api.configuration.limits import LimitsBody, LimitsView, limits_view
from vai_app.api.configuration.resource import CHANGED, IF_MATCH, History, Name, Names, Resource, Text
from vai_app.api.conventions import answer, expected_revision
from vai_app.api.documentation import documented
from vai_app.api.requests import Body, read_body
from vai_app.domain.errors import NotFound
from vai_app.domain.policies import ConfigurationKind, Policy
from vai_app.services.policy_manager import Configured

namespace = Namespace("policies", description="Policies and their limits")


class PolicyChangeBody(Body):
    """Whom a policy limits, and to what."""

    limits: LimitsBody
    roles: Names = Field(default=[], description="Whose bearers it limits; none: every role.")
    tenants: Names = Field(default=[], description="In which tenants; none: in every tenant.")
    description: Text = ""


class PolicyBody(PolicyChangeBody):
    """A policy to create."""

    name: Name


@dataclass(slots=True)
class PolicyView:
    """A policy."""

    name: str
    limits: LimitsView
    roles: list[str]
    tenants: list[str]
    description: str
    revision: int


@dataclass(slots=True)
class PolicyList:
    """Every policy."""

    items: list[PolicyView]


def _policy(found: Configured) -> PolicyView:
    policy: Policy = found.value
    shown = [each for each in policy.tenants if is_own(each)]
    return PolicyView(
        policy.name, limits_view(policy.limits), list(policy.roles), shown, policy.description, found.revision
    )


_resource = Resource(ConfigurationKind.POLICY, "policies", _policy)


@namespace.route("")
class Policies(Confirmed):
    """All policies."""

    @documented(namespace, 200, PolicyList, may="policies:read")
    def get(self) -> Response:
        """List policies in order of name; without rights over all tenants, those that can concern the caller's."""
        found = _resource.all()
        return answer(PolicyList([_policy(each) for each in found if _concerns_caller(each)]))

    @documented(namespace, 201, PolicyView, body=PolicyBody, problems=(409, 412), may="policies:change")
    def post(self) -> Response:
        """Create a policy; it holds at once."""
        body = read_body(PolicyBody)
        return _resource.created(_policy_of(body.name, body))


@namespace.route("/<string:name>")
class OnePolicy(Confirmed):
    """One policy."""

    @documented(namespace, 200, PolicyView, problems=(404,), may="policies:read")
    def get(self, name: str) -> Response:
        """Show a policy."""
        return _resource.shown(_visible_policy(name))

    @documented(
        namespace, 200, PolicyView, body=PolicyChangeBody, problems=CHANGED, headers=IF_MATCH, may="policies:change"
    )
    def put(self, name: str) -> Response:
        """Replace a policy; it holds at once."""
        revision, body = expected_revision(), read_body(PolicyChangeBody)
        return _resource.changed(_policy_of(name, body), revision)

    @documented(namespace, 200, PolicyView, problems=CHANGED, headers=IF_MATCH, may="policies:change")
    def delete(self, name: str) -> Response:
        """Delete a policy."""
        return _resource.deleted(name)


@namespace.route("/<string:name>/history")
class PolicyHistory(Confirmed):
    """A policy's revisions."""

    @documented(namespace, 200, History, problems=(404,), may="policies:change")
    def get(self, name: str) -> Response:
        """List the revisions of a policy, newest first."""
        return _resource.history(name)


@namespace.route("/evaluate")
class Evaluation(Confirmed):
    """The question why."""

    @documented(namespace, 200, EvaluationView, body=EvaluationBody, problems=(404,), may="policies:evaluate")
    def post(self) -> Response:
        """Say what would become of a request, which limits it breaks, and which roles could do it."""
        return answer(evaluate(read_body(EvaluationBody), context().principal))


def _concerns_caller(found: Configured) -> bool:
    return not found.value.tenants or any(is_own(each) for each in found.value.tenants)


def _visible_policy(name: str) -> Configured:
    found = _resource.get(name)
    if not _concerns_caller(found):
        message = f"There is no policy {name!r}. 'vai policy list' shows those there are."
        raise NotFound(message)
    return found


def _policy_of(name: str, body: PolicyChangeBody) -> Policy:
    return Policy(name, body.limits.limits(), tuple(body.roles), tuple(body.tenants), body.description)
