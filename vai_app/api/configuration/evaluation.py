"""The question why: what would become of a request, and who could do it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from pydantic import Field

from vai_app.api.auth import require_own, services
from vai_app.api.configuration.limits import Count, LimitsView, limits_view
from vai_app.api.configuration.resource import Names
from vai_app.api.configuration.roles import Permission
from vai_app.api.requests import Body, Identifier, ObjectName
from vai_app.domain.policies import MachineAsk, Subject
from vai_app.domain.principals import Principal


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


def evaluate(body: EvaluationBody, asking: Principal) -> EvaluationView:
    """Return what would become of the request. Raises NotFound, also for a tenant that the caller may not see."""
    tenant = body.tenant or asking.tenant
    require_own(tenant)
    subject = Subject(asking.name, tenant, asking.roles if body.roles is None else tuple(body.roles))
    manager, ask = services().policies, _ask(body)
    verdict, limits = manager.evaluate(subject, body.permission, ask), manager.limits_for(tenant, subject.roles)
    return EvaluationView(
        allowed=verdict.allowed,
        permission=body.permission,
        tenant=tenant,
        roles=list(subject.roles),
        permitted=verdict.permitted,
        refusals=[
            BrokenLimit(each.policy, each.limit, each.asked, each.allowed, each.sentence) for each in verdict.refusals
        ],
        roles_that_could=list(manager.roles_that_could(tenant, body.permission, ask)),
        limits=limits_view(limits),
        limited_by=limits.sources,
    )


def _ask(body: EvaluationBody) -> MachineAsk:
    sizes = (body.cpus, body.memory_mib, body.disk_gib, body.lifetime_hours)
    ask = MachineAsk(*sizes, networks=tuple(body.networks), image=body.image)
    if body.datacenter is None:
        return ask
    found = services().datacenters.get(body.datacenter)
    return replace(ask, datacenter=found.name, datacenter_id=found.id, hypervisor=found.kind)
