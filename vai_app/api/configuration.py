"""``/roles``, ``/policies`` and ``/tenants``: who may do what, and how much of it; and the question why."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Annotated, Any

from flask import Response
from flask_restx import Namespace
from pydantic import Field, StringConstraints

from vai_app.api.auth import Confirmed, context, correlation_id, is_own, require_own, services
from vai_app.api.conventions import API, answer, etag, expected_revision
from vai_app.api.documentation import documented
from vai_app.api.requests import Body, Identifier, ObjectName, read_body
from vai_app.domain.errors import NotFound
from vai_app.domain.policies import (
    LIMIT_NAMES,
    ConfigurationDocument,
    ConfigurationKind,
    Limits,
    MachineAsk,
    Policy,
    Role,
    Subject,
    Tenant,
)
from vai_app.services.policy_manager import Configured

roles = Namespace("roles", description="Roles and their permissions")
policies = Namespace("policies", description="Policies and their limits")
tenants = Namespace("tenants", description="Tenants")

_CHANGED = (404, 409, 412, 422, 428)
_IF_MATCH = ("If-Match",)

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,62})$")]
Permission = Annotated[str, StringConstraints(pattern=r"^([a-z-]{1,32}|\*):([a-z-]{1,32}|\*)$")]
Text = Annotated[str, StringConstraints(max_length=1024, pattern=r"^[^\x00-\x1f\x7f]*$")]
Count = Annotated[int, Field(ge=0, le=2_000_000_000)]
Names = Annotated[list[Name], Field(max_length=256)]
ObjectNames = Annotated[list[ObjectName], Field(max_length=1024)]


class RoleChangeBody(Body):
    """What a role carries."""

    permissions: list[Permission] = Field(max_length=128, description="resource:verb, * stands for all.")
    description: Text = ""


class RoleBody(RoleChangeBody):
    """A role to create."""

    name: Name


class LimitsBody(Body):
    """How much may be asked; what is left out is not limited."""

    machine_cpus: Count | None = Field(default=None, description="Virtual CPUs of one machine.")
    machine_memory_mib: Count | None = Field(default=None, description="Memory of one machine, MiB.")
    machine_disk_gib: Count | None = Field(default=None, description="Disk of one machine, GiB.")
    machines: Count | None = Field(default=None, description="Machines of the tenant.")
    total_cpus: Count | None = Field(default=None, description="Virtual CPUs of the tenant.")
    total_memory_mib: Count | None = Field(default=None, description="Memory of the tenant, MiB.")
    total_disk_gib: Count | None = Field(default=None, description="Disk of the tenant, GiB.")
    datacenters: ObjectNames | None = Field(default=None, description="Names or ids of the only datacenters.")
    hypervisors: Names | None = Field(default=None, description="The only kinds of hypervisor.")
    networks: ObjectNames | None = Field(default=None, description="The only networks.")
    images: ObjectNames | None = Field(default=None, description="The only images.")
    lifetime_hours: Count | None = Field(default=None, description="After so long a machine is deleted.")
    lifetime_warning_hours: Count | None = Field(default=None, description="So long before, a warning is given.")
    snapshots: Count | None = Field(default=None, description="Snapshots kept of a machine.")
    auto_recovery: bool | None = Field(default=None, description="Whether machines may be recovered by themselves.")

    def limits(self) -> Limits:
        """Return the limits."""
        given: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in self.model_dump().items()
        }
        return Limits(**given)


class PolicyChangeBody(Body):
    """Whom a policy limits, and to what."""

    limits: LimitsBody
    roles: Names = Field(default=[], description="Whose bearers it limits; none: every role.")
    tenants: Names = Field(default=[], description="In which tenants; none: in every tenant.")
    description: Text = ""


class PolicyBody(PolicyChangeBody):
    """A policy to create."""

    name: Name


class TenantChangeBody(Body):
    """What is known of a tenant."""

    description: Text = ""
    enabled: bool = Field(default=True, description="A disabled tenant is refused everything.")


class TenantBody(TenantChangeBody):
    """A tenant to create."""

    name: Name


class EvaluationBody(Body):
    """A request that is judged and not carried out. Without subject, the caller's own."""

    permission: Permission = "virtual-machines:create"
    tenant: Identifier | None = Field(default=None, description="Whose; another than the caller's for administrators.")
    roles: Names | None = Field(default=None, description="With which roles; none given: the caller's.")
    cpus: Count = 0
    memory_mib: Count = 0
    disk_gib: Count = 0
    lifetime_hours: Count = 0
    datacenter: Identifier | None = None
    image: ObjectName | None = None
    networks: list[ObjectName] = Field(default=[], max_length=10)


@dataclass(slots=True)
class RoleView:
    """A role. Revision 0 is what a new installation comes with."""

    name: str
    permissions: list[str]
    description: str
    revision: int


@dataclass(slots=True)
class LimitsView:
    """Limits; ``null`` limits nothing."""

    machine_cpus: int | None
    machine_memory_mib: int | None
    machine_disk_gib: int | None
    machines: int | None
    total_cpus: int | None
    total_memory_mib: int | None
    total_disk_gib: int | None
    datacenters: list[str] | None
    hypervisors: list[str] | None
    networks: list[str] | None
    images: list[str] | None
    lifetime_hours: int | None
    lifetime_warning_hours: int | None
    snapshots: int | None
    auto_recovery: bool | None


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
class TenantView:
    """A tenant."""

    name: str
    description: str
    enabled: bool
    revision: int


@dataclass(slots=True)
class RoleList:
    """Every role."""

    items: list[RoleView]


@dataclass(slots=True)
class PolicyList:
    """Every policy."""

    items: list[PolicyView]


@dataclass(slots=True)
class TenantList:
    """Every tenant that the caller may see."""

    items: list[TenantView]


@dataclass(slots=True)
class RevisionView:
    """One revision; without content, it was deleted by it."""

    revision: int
    at: datetime
    by: str
    content: Mapping[str, Any] | None


@dataclass(slots=True)
class History:
    """Every stored revision, newest first."""

    items: list[RevisionView]


@dataclass(slots=True)
class BrokenLimit:
    """A limit that the request breaks."""

    policy: str
    limit: str
    asked: str
    allowed: str
    detail: str


@dataclass(slots=True)
class EvaluationView:
    """What would become of a request, and who could do it."""

    allowed: bool
    permission: str
    tenant: str
    roles: list[str]
    permitted: bool
    refusals: list[BrokenLimit]
    roles_that_could: list[str]
    limits: LimitsView
    limited_by: Mapping[str, str]


@roles.route("")
class Roles(Confirmed):
    """All roles."""

    @documented(roles, 200, RoleList, may="roles:read")
    def get(self) -> Response:
        """List roles in order of name."""
        return answer(RoleList([_role(each) for each in services().policies.list(ConfigurationKind.ROLE)]))

    @documented(roles, 201, RoleView, body=RoleBody, problems=(409, 412), may="roles:change")
    def post(self) -> Response:
        """Create a role."""
        body = read_body(RoleBody)
        role = Role(body.name, tuple(body.permissions), body.description)
        return _created("roles", _create(ConfigurationKind.ROLE, role), _role)


@roles.route("/<string:name>")
class OneRole(Confirmed):
    """One role."""

    @documented(roles, 200, RoleView, problems=(404,), may="roles:read")
    def get(self, name: str) -> Response:
        """Show a role."""
        return _shown(services().policies.get(ConfigurationKind.ROLE, name), _role)

    @documented(roles, 200, RoleView, body=RoleChangeBody, problems=_CHANGED, headers=_IF_MATCH, may="roles:change")
    def put(self, name: str) -> Response:
        """Replace what a role carries; it holds at once."""
        revision, body = expected_revision(), read_body(RoleChangeBody)
        role = Role(name, tuple(body.permissions), body.description)
        return _shown(_change(ConfigurationKind.ROLE, role, revision), _role)

    @documented(roles, 200, RoleView, problems=_CHANGED, headers=_IF_MATCH, may="roles:change")
    def delete(self, name: str) -> Response:
        """Delete a role."""
        return _shown(_delete(ConfigurationKind.ROLE, name), _role)


@roles.route("/<string:name>/history")
class RoleHistory(Confirmed):
    """A role's revisions."""

    @documented(roles, 200, History, problems=(404,), may="roles:read")
    def get(self, name: str) -> Response:
        """List the revisions of a role, newest first."""
        return answer(_history(services().policies.history(ConfigurationKind.ROLE, name)))


@policies.route("")
class Policies(Confirmed):
    """All policies."""

    @documented(policies, 200, PolicyList, may="policies:read")
    def get(self) -> Response:
        """List policies in order of name; without rights over all tenants, those that can concern the caller's."""
        found = services().policies.list(ConfigurationKind.POLICY)
        return answer(PolicyList([_policy(each) for each in found if _concerns_caller(each)]))

    @documented(policies, 201, PolicyView, body=PolicyBody, problems=(409, 412), may="policies:change")
    def post(self) -> Response:
        """Create a policy; it holds at once."""
        body = read_body(PolicyBody)
        return _created("policies", _create(ConfigurationKind.POLICY, _policy_of(body.name, body)), _policy)


@policies.route("/<string:name>")
class OnePolicy(Confirmed):
    """One policy."""

    @documented(policies, 200, PolicyView, problems=(404,), may="policies:read")
    def get(self, name: str) -> Response:
        """Show a policy."""
        return _shown(_visible_policy(name), _policy)

    @documented(
        policies, 200, PolicyView, body=PolicyChangeBody, problems=_CHANGED, headers=_IF_MATCH, may="policies:change"
    )
    def put(self, name: str) -> Response:
        """Replace a policy; it holds at once."""
        revision, body = expected_revision(), read_body(PolicyChangeBody)
        return _shown(_change(ConfigurationKind.POLICY, _policy_of(name, body), revision), _policy)

    @documented(policies, 200, PolicyView, problems=_CHANGED, headers=_IF_MATCH, may="policies:change")
    def delete(self, name: str) -> Response:
        """Delete a policy."""
        return _shown(_delete(ConfigurationKind.POLICY, name), _policy)


@policies.route("/<string:name>/history")
class PolicyHistory(Confirmed):
    """A policy's revisions."""

    @documented(policies, 200, History, problems=(404,), may="policies:change")
    def get(self, name: str) -> Response:
        """List the revisions of a policy, newest first."""
        return answer(_history(services().policies.history(ConfigurationKind.POLICY, name)))


@policies.route("/evaluate")
class Evaluation(Confirmed):
    """The question why."""

    @documented(policies, 200, EvaluationView, body=EvaluationBody, problems=(404,), may="policies:evaluate")
    def post(self) -> Response:
        """Say what would become of a request, which limits it breaks, and which roles could do it."""
        body, asking = read_body(EvaluationBody), context().principal
        tenant = body.tenant or asking.tenant
        require_own(tenant)
        subject = Subject(asking.name, tenant, asking.roles if body.roles is None else tuple(body.roles))
        manager, ask = services().policies, _ask(body)
        verdict, limits = manager.evaluate(subject, body.permission, ask), manager.limits_for(tenant, subject.roles)
        refusals = [
            BrokenLimit(each.policy, each.limit, each.asked, each.allowed, each.sentence) for each in verdict.refusals
        ]
        view = EvaluationView(
            allowed=verdict.allowed,
            permission=body.permission,
            tenant=tenant,
            roles=list(subject.roles),
            permitted=verdict.permitted,
            refusals=refusals,
            roles_that_could=list(manager.roles_that_could(tenant, body.permission, ask)),
            limits=_limits(limits),
            limited_by=limits.sources,
        )
        return answer(view)


@tenants.route("")
class Tenants(Confirmed):
    """All tenants."""

    @documented(tenants, 200, TenantList, may="tenants:read")
    def get(self) -> Response:
        """List the tenants that the caller may see, in order of name."""
        found = [each for each in services().policies.list(ConfigurationKind.TENANT) if is_own(each.value.name)]
        return answer(TenantList([_tenant(each) for each in found]))

    @documented(tenants, 201, TenantView, body=TenantBody, problems=(409, 412), may="tenants:change")
    def post(self) -> Response:
        """Create a tenant."""
        body = read_body(TenantBody)
        tenant = Tenant(body.name, body.description, body.enabled)
        return _created("tenants", _create(ConfigurationKind.TENANT, tenant), _tenant)


@tenants.route("/<string:name>")
class OneTenant(Confirmed):
    """One tenant."""

    @documented(tenants, 200, TenantView, problems=(404,), may="tenants:read")
    def get(self, name: str) -> Response:
        """Show a tenant."""
        require_own(name)
        return _shown(services().policies.get(ConfigurationKind.TENANT, name), _tenant)

    @documented(
        tenants, 200, TenantView, body=TenantChangeBody, problems=_CHANGED, headers=_IF_MATCH, may="tenants:change"
    )
    def put(self, name: str) -> Response:
        """Change a tenant; disable or enable it."""
        revision, body = expected_revision(), read_body(TenantChangeBody)
        tenant = Tenant(name, body.description, body.enabled)
        return _shown(_change(ConfigurationKind.TENANT, tenant, revision), _tenant)

    @documented(tenants, 200, TenantView, problems=_CHANGED, headers=_IF_MATCH, may="tenants:change")
    def delete(self, name: str) -> Response:
        """Forget what is known of a tenant; its machines stay."""
        return _shown(_delete(ConfigurationKind.TENANT, name), _tenant)


@tenants.route("/<string:name>/history")
class TenantHistory(Confirmed):
    """A tenant's revisions."""

    @documented(tenants, 200, History, problems=(404,), may="tenants:change")
    def get(self, name: str) -> Response:
        """List the revisions of a tenant, newest first."""
        return answer(_history(services().policies.history(ConfigurationKind.TENANT, name)))


def _create(kind: ConfigurationKind, value: Any) -> Configured:
    return services().policies.create(context().principal, correlation_id(), kind, value)


def _change(kind: ConfigurationKind, value: Any, revision: int) -> Configured:
    return services().policies.change(context().principal, correlation_id(), kind, value, revision)


def _delete(kind: ConfigurationKind, name: str) -> Configured:
    return services().policies.delete(context().principal, correlation_id(), kind, name, expected_revision())


def _created(resource: str, found: Configured, view: Any) -> Response:
    headers = {**etag(found.revision), "Location": f"{API}/{resource}/{found.value.name}"}
    return answer(view(found), 201, headers)


def _shown(found: Configured, view: Any) -> Response:
    return answer(view(found), 200, etag(found.revision))


def _concerns_caller(found: Configured) -> bool:
    return not found.value.tenants or any(is_own(each) for each in found.value.tenants)


def _visible_policy(name: str) -> Configured:
    found = services().policies.get(ConfigurationKind.POLICY, name)
    if not _concerns_caller(found):
        message = f"There is no policy {name!r}. 'vai policy list' shows those there are."
        raise NotFound(message)
    return found


def _policy_of(name: str, body: PolicyChangeBody) -> Policy:
    return Policy(name, body.limits.limits(), tuple(body.roles), tuple(body.tenants), body.description)


def _ask(body: EvaluationBody) -> MachineAsk:
    sizes = (body.cpus, body.memory_mib, body.disk_gib, body.lifetime_hours)
    ask = MachineAsk(*sizes, networks=tuple(body.networks), image=body.image)
    if body.datacenter is None:
        return ask
    found = services().datacenters.get(body.datacenter)
    return replace(ask, datacenter=found.name, datacenter_id=found.id, hypervisor=found.kind)


def _role(found: Configured) -> RoleView:
    return RoleView(found.value.name, list(found.value.permissions), found.value.description, found.revision)


def _policy(found: Configured) -> PolicyView:
    policy: Policy = found.value
    shown = [each for each in policy.tenants if is_own(each)]
    return PolicyView(
        policy.name, _limits(policy.limits), list(policy.roles), shown, policy.description, found.revision
    )


def _tenant(found: Configured) -> TenantView:
    return TenantView(found.value.name, found.value.description, found.value.enabled, found.revision)


def _limits(limits: Limits) -> LimitsView:
    given = asdict(limits)
    return LimitsView(**{name: given[name] for name in LIMIT_NAMES})


def _history(revisions: Any) -> History:
    return History([_revision(each) for each in revisions])


def _revision(document: ConfigurationDocument) -> RevisionView:
    return RevisionView(document.revision, document.at, document.by, document.content)
