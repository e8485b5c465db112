"""The policy manager: judges every request by roles, tenants and policies, and keeps them as documents.

What was changed holds in every process within ``refresh_seconds``: each reads the documents again when they are older,
and compiles them again when they differ. A database that is away is no open door: what is older is not used.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from threading import Lock
from time import monotonic
from typing import Any

from pydantic import TypeAdapter

from vai_app.domain.datacenters import Datacenter
from vai_app.domain.errors import (
    Conflict,
    Forbidden,
    InvalidRequest,
    NameTaken,
    NotFound,
    PolicyRefused,
    PreconditionFailed,
)
from vai_app.domain.events import Event
from vai_app.domain.identifiers import new_id
from vai_app.domain.installation_defaults import DEFAULT_POLICIES, DEFAULT_ROLES
from vai_app.domain.lifetimes import LifetimeTerms
from vai_app.domain.placement.asks import PlacementAsk
from vai_app.domain.placement.checks import Check, CheckName
from vai_app.domain.policies import (
    ADMIN,
    NOTHING_ASKED,
    ConfigurationDocument,
    ConfigurationKind,
    Limits,
    MachineAsk,
    Policy,
    Role,
    Subject,
    Tenant,
    Verdict,
    is_pattern,
    strictest,
)
from vai_app.domain.ports.access import ConfigurationRepository
from vai_app.domain.ports.clock import Clock
from vai_app.domain.ports.events import EventRepository
from vai_app.domain.principals import Principal
from vai_app.domain.virtual_machines import MachineSpec, Size
from vai_app.services.policy_engine import PolicyEngine

_SHAPES: Mapping[ConfigurationKind, TypeAdapter[Any]] = {
    ConfigurationKind.ROLE: TypeAdapter(Role),
    ConfigurationKind.POLICY: TypeAdapter(Policy),
    ConfigurationKind.TENANT: TypeAdapter(Tenant),
}
_DEFAULTS: Mapping[ConfigurationKind, Mapping[str, Any]] = {
    ConfigurationKind.ROLE: DEFAULT_ROLES,
    ConfigurationKind.POLICY: DEFAULT_POLICIES,
    ConfigurationKind.TENANT: {},
}
CREATE = "virtual-machines:create"
RESIZE = "virtual-machines:resize"
RENEW = "virtual-machines:renew"


@dataclass(frozen=True, slots=True)
class Configured:
    """A role, policy or tenant as it holds now. Revision 0 is what a new installation comes with."""

    kind: ConfigurationKind
    value: Any
    revision: int


@dataclass(frozen=True)
class _Snapshot:
    documents: Sequence[ConfigurationDocument]
    configured: Mapping[ConfigurationKind, Mapping[str, Configured]]
    engine: PolicyEngine
    disabled_tenants: frozenset[str] = field(default=frozenset())


class PolicyManager:
    """Judges, and keeps what it judges by."""

    def __init__(
        self,
        *,
        configuration: ConfigurationRepository,
        events: EventRepository,
        clock: Clock,
        refresh_seconds: float = 0.5,
    ) -> None:
        """``refresh_seconds`` bounds how long another process's change is not seen."""
        self._configuration = configuration
        self._events = events
        self._clock = clock
        self._refresh_seconds = refresh_seconds
        self._lock = Lock()
        self._until = 0.0
        self._held: _Snapshot | None = None

    def require(self, principal: Principal, permission: str) -> None:
        """Raise Forbidden where no role of the principal carries the permission, or the tenant is disabled."""
        snapshot = self._snapshot()
        if principal.tenant in snapshot.disabled_tenants and ADMIN not in principal.roles:
            message = f"Tenant {principal.tenant} is disabled. Ask your administrator."
            raise Forbidden(message)
        if not snapshot.engine.judge(_subject(principal), permission).permitted:
            able = ", ".join(self.roles_with(permission)) or "none"
            carried = ", ".join(principal.roles) or "none"
            message = f"Your roles ({carried}) do not carry {permission}. Roles that do: {able}."
            raise Forbidden(message)

    def require_machine(self, principal: Principal, permission: str, ask: MachineAsk) -> None:
        """Raise PolicyRefused, with every broken limit and its numbers; Forbidden without the permission."""
        verdict = self._snapshot().engine.judge(_subject(principal), permission, ask)
        if verdict.refusals:
            raise PolicyRefused(" ".join(each.sentence for each in verdict.refusals))
        if not verdict.permitted:
            self.require(principal, permission)

    def judge(self, ask: PlacementAsk, datacenter: Datacenter) -> Sequence[Check]:
        """Return what policies say of a machine in a datacenter, as placement asks."""
        policies = self._snapshot().engine.policies_on(ask.tenant, ask.roles)
        if not policies:
            return ()
        # The roles decided who may; what is left is whether the limits hold in this datacenter.
        subject = Subject("placement", ask.tenant, ask.roles)
        verdict = self._snapshot().engine.judge(subject, CREATE, ask_of(ask.spec, datacenter))
        names = ", ".join(policy.name for policy in policies)
        if not verdict.refusals:
            return (Check(CheckName.POLICY, passed=True, detail=f"{names} allow it"),)
        return tuple(Check(CheckName.POLICY, passed=False, detail=each.sentence) for each in verdict.refusals)

    def limits_for(self, tenant: str, roles: Sequence[str]) -> Limits:
        """Return what all policies together allow a bearer of these roles in this tenant."""
        return strictest(self._snapshot().engine.policies_on(tenant, roles))

    def lifetime_terms(self, owner: Principal) -> LifetimeTerms:
        """Return how long a machine that this principal makes or renews may be kept."""
        limits = self.limits_for(owner.tenant, owner.roles)
        return LifetimeTerms(limits.lifetime_hours, limits.lifetime_warning_hours)

    def limits_anybody_in(self, tenant: str, limits: Sequence[str]) -> bool:
        """Whether a policy sets one of these limits for a bearer of any role in this tenant."""
        return any(
            getattr(policy.limits, limit) is not None
            for policy in self._snapshot().engine.policies.values()
            if not policy.tenants or tenant in policy.tenants
            for limit in limits
        )

    def evaluate(self, subject: Subject, permission: str, ask: MachineAsk = NOTHING_ASKED) -> Verdict:
        """Return what would become of a request, and why."""
        return self._snapshot().engine.judge(subject, permission, ask)

    def roles_that_could(self, tenant: str, permission: str, ask: MachineAsk = NOTHING_ASKED) -> Sequence[str]:
        """Return the roles whose bearers in this tenant could do it."""
        engine = self._snapshot().engine
        return [
            name
            for name in sorted(engine.roles)
            if engine.judge(Subject("anybody", tenant, (name,)), permission, ask).allowed
        ]

    def roles_with(self, permission: str) -> Sequence[str]:
        """Return the roles that carry a permission, whatever policies say."""
        engine = self._snapshot().engine
        return [name for name in sorted(engine.roles) if engine.permits((name,), permission)]

    def list(self, kind: ConfigurationKind) -> Sequence[Configured]:
        """Return all of a kind, in order of name."""
        return [found for _, found in sorted(self._snapshot().configured[kind].items())]

    def get(self, kind: ConfigurationKind, name: str) -> Configured:
        """Raises NotFound."""
        found = self._snapshot().configured[kind].get(name)
        if found is None:
            raise _not_found(kind, name)
        return found

    def history(self, kind: ConfigurationKind, name: str) -> Sequence[ConfigurationDocument]:
        """Return every stored revision, newest first; what a new installation comes with has none. Raises NotFound."""
        found = self._configuration.history(kind, name)
        if not found and name not in _DEFAULTS[kind]:
            raise _not_found(kind, name)
        return found

    def create(self, principal: Principal, correlation_id: str, kind: ConfigurationKind, value: Any) -> Configured:
        """Store a new role, policy or tenant. Raises NameTaken, InvalidRequest."""
        with self._lock:
            snapshot = self._read()
        if value.name in snapshot.configured[kind]:
            message = f"There is a {kind} {value.name!r} already. Change it, or choose another name."
            raise NameTaken(message)
        return self._store(principal, correlation_id, kind, value.name, self._last(snapshot, kind, value.name), value)

    def change(
        self, principal: Principal, correlation_id: str, kind: ConfigurationKind, value: Any, revision: int
    ) -> Configured:
        """Store a change that is based on ``revision``.

        Raises NotFound, PreconditionFailed, InvalidRequest, Conflict (the role ``admin``).
        """
        self._check_revision(kind, value.name, revision)
        return self._store(principal, correlation_id, kind, value.name, revision, value)

    def delete(
        self, principal: Principal, correlation_id: str, kind: ConfigurationKind, name: str, revision: int
    ) -> Configured:
        """Remove it and return what it was. Raises NotFound, PreconditionFailed, Conflict."""
        before = self._check_revision(kind, name, revision)
        self._store(principal, correlation_id, kind, name, revision, None)
        return before

    def _check_revision(self, kind: ConfigurationKind, name: str, revision: int) -> Configured:
        with self._lock:
            found = self._read().configured[kind].get(name)
        if found is None:
            raise _not_found(kind, name)
        if kind is ConfigurationKind.ROLE and name == ADMIN:
            message = "The role 'admin' always carries everything, so that nobody locks everybody out."
            raise Conflict(message)
        if found.revision != revision:
            message = f"The {kind}'s revision is {found.revision} now. Read it again and repeat the change."
            raise PreconditionFailed(message)
        return found

    def _store(
        self,
        principal: Principal,
        correlation_id: str,
        kind: ConfigurationKind,
        name: str,
        revision: int,
        value: Any | None,
    ) -> Configured:
        if value is not None:
            _check(value)
        now = self._clock()
        content = None if value is None else _SHAPES[kind].dump_python(value, mode="json")
        document = ConfigurationDocument(kind, name, revision + 1, content, now, principal.name)
        if value is not None:
            _check_compiles(document)
        self._configuration.store(document)
        with self._lock:
            self._until = 0.0
        done = "deleted" if value is None else "created" if revision == 0 and name not in _DEFAULTS[kind] else "changed"
        self._events.append(
            Event(
                id=new_id("ev", now),
                at=now,
                kind=f"{kind}.{done}",
                outcome="succeeded",
                message=f"{principal.name}: {kind} {name} {done}, revision {revision + 1}.",
                actor=principal.name,
                correlation_id=correlation_id,
            )
        )
        return Configured(kind, value, revision + 1)

    def _last(self, snapshot: _Snapshot, kind: ConfigurationKind, name: str) -> int:
        return max((each.revision for each in snapshot.documents if (each.kind, each.name) == (kind, name)), default=0)

    def _snapshot(self) -> _Snapshot:
        with self._lock:
            if self._held is not None and monotonic() < self._until:
                return self._held
            return self._read()

    def _read(self) -> _Snapshot:
        """Read the documents; the lock is held. Raises ServiceUnavailable."""
        documents = self._configuration.newest()
        if self._held is None or self._held.documents != documents:
            self._held = _compile(documents)
        self._until = monotonic() + self._refresh_seconds
        return self._held


def ask_of(spec: MachineSpec, datacenter: Datacenter | None = None) -> MachineAsk:
    """Return a creation as policies look at it; without a datacenter while none is chosen."""
    ask = MachineAsk(
        cpus=spec.size.cpus,
        memory_mib=spec.size.memory_mib,
        disk_gib=spec.size.disk_gib,
        lifetime_hours=spec.lifetime_hours or 0,
        networks=spec.networks,
        image=spec.image,
    )
    if datacenter is None:
        return ask
    return replace(ask, datacenter=datacenter.name, datacenter_id=datacenter.id, hypervisor=datacenter.kind)


def ask_of_size(size: Size) -> MachineAsk:
    """Return a change of size as policies look at it."""
    return MachineAsk(cpus=size.cpus, memory_mib=size.memory_mib, disk_gib=size.disk_gib)


def _compile(documents: Sequence[ConfigurationDocument]) -> _Snapshot:
    configured = {
        kind: {name: Configured(kind, value, 0) for name, value in defaults.items()}
        for kind, defaults in _DEFAULTS.items()
    }
    for each in documents:
        if each.content is None:
            configured[each.kind].pop(each.name, None)
        else:
            value = _SHAPES[each.kind].validate_python(dict(each.content))
            configured[each.kind][each.name] = Configured(each.kind, value, each.revision)
    engine = PolicyEngine(
        [found.value for found in configured[ConfigurationKind.ROLE].values()],
        [found.value for found in configured[ConfigurationKind.POLICY].values()],
    )
    tenants = configured[ConfigurationKind.TENANT].values()
    return _Snapshot(documents, configured, engine, frozenset(t.value.name for t in tenants if not t.value.enabled))


def _check(value: Any) -> None:
    """Refuse what means nothing: a pattern that stands for no permission, a policy without a limit."""
    if isinstance(value, Role):
        wrong = [each for each in value.permissions if not is_pattern(each)]
        if wrong:
            message = f"{wrong[0]!r} stands for no permission"
            raise InvalidRequest(f"{message}.", [{"field": "permissions", "message": message}])
    if isinstance(value, Policy) and replace(value.limits, sources={}) == Limits():
        message = "must hold at least one limit"
        raise InvalidRequest(f"limits {message}.", [{"field": "limits", "message": message}])


def _check_compiles(document: ConfigurationDocument) -> None:
    """Refuse before it is stored what the engine cannot read."""
    try:
        _compile([document])
    except ValueError as error:
        message = "a name in it cannot be used in a policy"
        raise InvalidRequest(f"{message}.", [{"field": "body", "message": message}]) from error


def _subject(principal: Principal) -> Subject:
    return Subject(principal.name, principal.tenant, principal.roles)


def _not_found(kind: ConfigurationKind, name: str) -> NotFound:
    return NotFound(f"There is no {kind} {name!r}. 'vai {kind} list' shows those there are.")
