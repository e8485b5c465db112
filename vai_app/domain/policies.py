"""Roles, policies and tenants: what may be asked at all, and how much of it.

A role carries permissions, each a resource and a verb. A policy limits what the bearers of some roles in some tenants
may ask for. Where several policies apply, the strictest wins in every limit, and each limit remembers its policy.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

PERMISSIONS: Mapping[str, str] = {
    "virtual-machines:read": "list and show machines",
    "virtual-machines:create": "create machines, and have it explained where they would go",
    "virtual-machines:delete": "delete machines",
    "virtual-machines:power": "start, stop and reboot machines",
    "virtual-machines:resize": "give machines another size",
    "virtual-machines:migrate": "move machines to other hosts of their datacenter",
    "virtual-machines:renew": "give machines a new lifetime",
    "virtual-machines:adopt": "let VAI manage machines that it found",
    "snapshots:read": "list the snapshots of machines",
    "snapshots:take": "take snapshots of machines",
    "snapshots:restore": "restore machines to their snapshots",
    "snapshots:delete": "delete snapshots",
    "operations:read": "list and show operations",
    "operations:cancel": "turn operations back",
    "operations:confirm": "accept that a rejected machine goes elsewhere",
    "operations:resend": "publish an operation's step again",
    "events:read": "read the activity log",
    "consumption:read": "read what the tenant held",
    "datacenters:read": "list and show datacenters, their hosts, images and capacity",
    "datacenters:register": "register datacenters",
    "datacenters:change": "change datacenters",
    "datacenters:forget": "forget datacenters",
    "datacenters:verify": "try a datacenter's connection",
    "policies:read": "list and show policies",
    "policies:change": "create, change and delete policies",
    "policies:evaluate": "ask what policies and roles say of a request",
    "roles:read": "list and show roles",
    "roles:change": "create, change and delete roles",
    "tenants:read": "list and show tenants",
    "tenants:change": "create, change and delete tenants",
    "tokens:read": "list tokens",
    "tokens:create": "create tokens",
    "tokens:revoke": "revoke tokens",
}
"""Every permission, and what it lets its bearer do."""

ADMIN = "admin"


class ConfigurationKind(StrEnum):
    """What is configured in documents with revisions."""

    ROLE = "role"
    POLICY = "policy"
    TENANT = "tenant"


@dataclass(frozen=True, slots=True)
class ConfigurationDocument:
    """One revision of a role, policy or tenant; ``content`` is ``None`` where the revision is a removal."""

    kind: ConfigurationKind
    name: str
    revision: int
    content: Mapping[str, Any] | None
    at: datetime
    by: str


@dataclass(frozen=True, slots=True)
class Role:
    """Permissions under a name. ``virtual-machines:*`` are all of a resource, ``*:read`` all of a verb."""

    name: str
    permissions: tuple[str, ...]
    description: str = ""

    def granted(self) -> tuple[str, ...]:
        """Return every permission that the patterns stand for."""
        return tuple(each for each in PERMISSIONS if any(_matches(pattern, each) for pattern in self.permissions))


@dataclass(frozen=True, slots=True)
class Limits:
    """How much may be asked. ``None`` is no limit. ``sources`` names the policy behind each limit that is set."""

    machine_cpus: int | None = None
    machine_memory_mib: int | None = None
    machine_disk_gib: int | None = None
    machines: int | None = None
    total_cpus: int | None = None
    total_memory_mib: int | None = None
    total_disk_gib: int | None = None
    datacenters: tuple[str, ...] | None = None  # names or ids
    hypervisors: tuple[str, ...] | None = None  # kinds
    networks: tuple[str, ...] | None = None
    images: tuple[str, ...] | None = None
    lifetime_hours: int | None = None
    lifetime_warning_hours: int | None = None
    snapshots: int | None = None
    auto_recovery: bool | None = None  # False forbids it
    sources: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Policy:
    """Limits for the bearers of ``roles`` (none: every role) in ``tenants`` (none: every tenant)."""

    name: str
    limits: Limits
    roles: tuple[str, ...] = ()
    tenants: tuple[str, ...] = ()
    description: str = ""

    def applies_to(self, tenant: str, roles: Iterable[str]) -> bool:
        """Whether the policy limits a bearer of these roles in this tenant."""
        return (not self.tenants or tenant in self.tenants) and (not self.roles or bool({*self.roles} & {*roles}))


@dataclass(frozen=True, slots=True)
class Tenant:
    """A tenant that the installation knows more of than its name. A disabled one is refused everything."""

    name: str
    description: str = ""
    enabled: bool = True


@dataclass(frozen=True, slots=True)
class Subject:
    """Who asks, as far as policies look."""

    name: str
    tenant: str
    roles: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MachineAsk:
    """What is asked of a machine, as far as policies look. A size or lifetime of 0 was not asked for."""

    cpus: int = 0
    memory_mib: int = 0
    disk_gib: int = 0
    lifetime_hours: int = 0
    datacenter: str | None = None
    datacenter_id: str | None = None
    hypervisor: str | None = None
    networks: tuple[str, ...] = ()
    image: str | None = None


NOTHING_ASKED = MachineAsk()


@dataclass(frozen=True, slots=True)
class Refusal:
    """One limit of one policy that a request breaks, with its numbers."""

    policy: str
    limit: str
    asked: str
    allowed: str

    @property
    def sentence(self) -> str:
        """The refusal for people."""
        return f"Policy {self.policy!r} limits {self.limit} to {self.allowed}, {self.asked} asked."


@dataclass(frozen=True, slots=True)
class Verdict:
    """What roles and policies say of one request."""

    permitted: bool  # by a role
    refusals: tuple[Refusal, ...] = ()

    @property
    def allowed(self) -> bool:
        """Whether the request may be carried out."""
        return self.permitted and not self.refusals


def strictest(policies: Sequence[Policy]) -> Limits:
    """Return what all the policies together allow."""
    found = Limits()
    for policy in policies:
        for name in LIMIT_NAMES:
            value = getattr(policy.limits, name)
            if value is None:
                continue
            stricter = _stricter(getattr(found, name), value, name)
            if stricter != getattr(found, name):
                found = replace(found, sources={**found.sources, name: policy.name}, **{name: stricter})
    return found


def refusal_of(policy: Policy, limit: str, ask: MachineAsk) -> Refusal:
    """Return a limit that was broken, in words."""
    allowed = getattr(policy.limits, limit)
    shown = ", ".join(allowed) or "none" if isinstance(allowed, tuple) else str(allowed)
    return Refusal(policy.name, limit, str(_ASKED[limit](ask)), shown)


LIMIT_NAMES: tuple[str, ...] = tuple(each.name for each in fields(Limits) if each.name != "sources")

_ASKED: Mapping[str, Any] = {
    "machine_cpus": lambda ask: ask.cpus,
    "machine_memory_mib": lambda ask: ask.memory_mib,
    "machine_disk_gib": lambda ask: ask.disk_gib,
    "lifetime_hours": lambda ask: ask.lifetime_hours,
    "datacenters": lambda ask: ask.datacenter,
    "hypervisors": lambda ask: ask.hypervisor,
    "networks": lambda ask: ", ".join(ask.networks),
    "images": lambda ask: ask.image,
}


def _matches(pattern: str, permission: str) -> bool:
    resource, _, verb = pattern.partition(":")
    of_resource, _, of_verb = permission.partition(":")
    return resource in ("*", of_resource) and verb in ("*", of_verb)


def is_pattern(pattern: str) -> bool:
    """Whether a role's pattern stands for at least one permission."""
    return any(_matches(pattern, each) for each in PERMISSIONS)


def _stricter(one: Any, other: Any, name: str) -> Any:
    if one is None:
        return other
    if isinstance(other, bool):
        return one and other
    if isinstance(other, tuple):
        return tuple(each for each in one if each in other)
    return max(one, other) if name == "lifetime_warning_hours" else min(one, other)
