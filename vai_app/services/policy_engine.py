"""The policy engine: roles and policies as Cedar, and Cedar's verdict on a request, with the reasons.

Roles become ``permit`` and every limit of a policy one ``forbid``, so what no role permits is refused, and one broken
limit is enough. The language and its semantics: https://docs.cedarpolicy.com/.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

import cedarpy

from vai_app.domain.policies import (
    LIMIT_NAMES,
    NOTHING_ASKED,
    PERMISSIONS,
    MachineAsk,
    Policy,
    Role,
    Subject,
    Verdict,
    refusal_of,
)

_LIMITED = ("virtual-machines:create", "virtual-machines:resize", "virtual-machines:renew", "operations:confirm")
_MOST = {
    "machine_cpus": "cpus",
    "machine_memory_mib": "memory_mib",
    "machine_disk_gib": "disk_gib",
    "lifetime_hours": "lifetime_hours",
}
_MOST_REMEMBERED = 10_000
_RESOURCE = 'Installation::"vai"'
_PERMIT, _FORBID = "permit", "forbid"


class PolicyEngine:
    """Roles and policies at one moment, compiled once."""

    def __init__(self, roles: Iterable[Role], policies: Iterable[Policy]) -> None:
        """Compile."""
        self.roles = {role.name: role for role in roles}
        self.policies = {policy.name: policy for policy in policies}
        rules = [_permit(role) for role in self.roles.values()]
        rules += [rule for policy in self.policies.values() for rule in _forbids(policy)]
        self._verdicts: dict[tuple[str, tuple[str, ...], str, MachineAsk], Verdict] = {}
        self._rules = cedarpy.PolicySet.from_str("\n".join(rule for rule in rules if rule))

    def judge(self, subject: Subject, permission: str, ask: MachineAsk = NOTHING_ASKED) -> Verdict:
        """Return what Cedar says, and every limit that is broken; remembered, for rules look at no name."""
        asked = (subject.tenant, subject.roles, permission, ask)
        verdict = self._verdicts.get(asked)
        if verdict is None:
            if len(self._verdicts) >= _MOST_REMEMBERED:
                self._verdicts.clear()
            verdict = self._verdicts[asked] = self._ask_cedar(subject, permission, ask)
        return verdict

    def permits(self, roles: Iterable[str], permission: str) -> bool:
        """Whether one of the roles carries the permission, whatever policies say."""
        return any(role in self.roles and permission in self.roles[role].granted() for role in roles)

    def policies_on(self, tenant: str, roles: Iterable[str]) -> list[Policy]:
        """Return the policies that limit a bearer of these roles in this tenant, in order of name."""
        carried = tuple(roles)
        return [policy for _, policy in sorted(self.policies.items()) if policy.applies_to(tenant, carried)]

    def _ask_cedar(self, subject: Subject, permission: str, ask: MachineAsk) -> Verdict:
        if permission not in PERMISSIONS:
            return Verdict(permitted=False)
        request = {
            "principal": _uid("User", subject.name),
            "action": _uid("Action", permission),
            "resource": _RESOURCE,
            "context": _context(ask),
        }
        parents = [{"type": "Role", "id": role} for role in subject.roles]
        parents.append({"type": "Tenant", "id": subject.tenant})
        entity = {"uid": {"type": "User", "id": subject.name}, "attrs": {}, "parents": parents}
        answer = cedarpy.is_authorized(request, self._rules, [entity])
        if answer.allowed:
            return Verdict(permitted=True)
        # Cedar names the rules that decided: the broken limits, or none where no role permits.
        named = [json.loads(each) for each in answer.diagnostics.id_annotations_by_reason.values()]
        named.sort(key=lambda each: (each[1], LIMIT_NAMES.index(each[2]) if each[2] else 0))
        refusals = tuple(refusal_of(self.policies[name], limit, ask) for kind, name, limit in named if kind == _FORBID)
        return Verdict(permitted=bool(refusals) and self.permits(subject.roles, permission), refusals=refusals)


def _permit(role: Role) -> str:
    actions = ", ".join(_uid("Action", each) for each in role.granted())
    if not actions:
        return ""
    whom = _uid("Role", role.name)
    return f"{_named(_PERMIT, role.name, '')} permit(principal in {whom}, action in [{actions}], resource);"


def _forbids(policy: Policy) -> Iterable[str]:
    actions = ", ".join(_uid("Action", each) for each in _LIMITED)
    whom = [_among("Role", policy.roles), _among("Tenant", policy.tenants)]
    for limit, broken in _broken(policy):
        when = " && ".join([*(each for each in whom if each), broken])
        yield (
            f"{_named(_FORBID, policy.name, limit)} "
            f"forbid(principal, action in [{actions}], resource) when {{ {when} }};"
        )


def _broken(policy: Policy) -> Iterable[tuple[str, str]]:
    """Yield each limit that one request can break, with the Cedar expression of its being broken."""
    limits = policy.limits
    for limit, asked in _MOST.items():
        if getattr(limits, limit) is not None:
            yield limit, f"context.{asked} > {getattr(limits, limit)}"
    if limits.datacenters is not None:
        known = _set(limits.datacenters)
        named = f"{known}.contains(context.datacenter) || {known}.contains(context.datacenter_id)"
        yield "datacenters", f"context has datacenter && !({named})"
    if limits.hypervisors is not None:
        yield "hypervisors", f"context has hypervisor && !{_set(limits.hypervisors)}.contains(context.hypervisor)"
    if limits.networks is not None:
        yield "networks", f"!{_set(limits.networks)}.containsAll(context.networks)"
    if limits.images is not None:
        yield "images", f"context has image && !{_set(limits.images)}.contains(context.image)"


def _context(ask: MachineAsk) -> Mapping[str, Any]:
    context: dict[str, Any] = {
        "cpus": ask.cpus,
        "memory_mib": ask.memory_mib,
        "disk_gib": ask.disk_gib,
        "lifetime_hours": ask.lifetime_hours,
        "networks": list(ask.networks),
    }
    if ask.datacenter is not None:
        context |= {"datacenter": ask.datacenter, "datacenter_id": ask.datacenter_id or ask.datacenter}
    if ask.hypervisor is not None:
        context["hypervisor"] = ask.hypervisor
    if ask.image is not None:
        context["image"] = ask.image
    return context


def _among(kind: str, names: tuple[str, ...]) -> str:
    return f"principal in [{', '.join(_uid(kind, each) for each in names)}]" if names else ""


def _named(kind: str, name: str, limit: str) -> str:
    return f"@id({_quoted(json.dumps([kind, name, limit]))})"


def _uid(kind: str, name: str) -> str:
    return f"{kind}::{_quoted(name)}"


def _set(values: tuple[str, ...]) -> str:
    return f"[{', '.join(map(_quoted, values))}]"


def _quoted(text: str) -> str:
    """Return a Cedar string; control characters never come so far."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
