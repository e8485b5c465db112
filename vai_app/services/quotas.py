"""Quotas: how much policies let a tenant hold in total, beside what it holds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vai_app.domain.capacity import Room
from vai_app.domain.datacenters import Datacenter
from vai_app.domain.errors import QuotaExceeded
from vai_app.domain.placement.asks import PlacementAsk
from vai_app.domain.placement.checks import Check, CheckName
from vai_app.domain.ports.capacity import ReservationRepository
from vai_app.domain.reservations import Amounts, Owner, tenant_account, total_of
from vai_app.services.policy_manager import PolicyManager

_LIMITS = {
    "machines": "machines",
    "cpus": "total_cpus",
    "memory_mib": "total_memory_mib",
    "disk_gib": "total_disk_gib",
}
"""The policies' limit of each dimension of an account."""


@dataclass(frozen=True, slots=True)
class Quota:
    """What an owner's tenant may hold together; ``policies`` names the policy behind each dimension."""

    limits: Amounts
    policies: Mapping[str, str]
    is_counted: bool  # whether a policy limits anybody in the tenant


class Quotas:
    """Reads policies for what a tenant may hold in total."""

    def __init__(self, *, policies: PolicyManager, reservations: ReservationRepository) -> None:
        """Collaborators."""
        self._policies = policies
        self._reservations = reservations

    def of(self, owner: Owner) -> Quota:
        """Return the quota; a dimension that no policy limits is left out."""
        found = self._policies.limits_for(owner.tenant, owner.roles)
        limits = {name: most for name, limit in _LIMITS.items() if (most := getattr(found, limit)) is not None}
        counted = bool(limits) or self._policies.limits_anybody_in(owner.tenant, tuple(_LIMITS.values()))
        return Quota(limits, {name: found.sources[_LIMITS[name]] for name in limits}, counted)

    def checks(self, owner: Owner, machine_id: str | None, room: Room) -> Sequence[Check]:
        """Return a check for each dimension that is limited, of a machine in place of what is held for it."""
        quota = self.of(owner)
        if not quota.limits:
            return ()
        held = self._held(owner.tenant, machine_id)
        asked = total_of(room)
        return tuple(
            Check(
                CheckName.QUOTA,
                passed=held.get(name, 0) + asked[name] <= most,
                detail=(
                    f"Policy {quota.policies[name]!r} limits {_LIMITS[name]} of tenant {owner.tenant} to {most}; "
                    f"{held.get(name, 0)} are held, {asked[name]} more asked."
                ),
                asked=asked[name],
                free=max(0, most - held.get(name, 0)),
            )
            for name, most in quota.limits.items()
        )

    def exceeded(self, owner: Owner, machine_id: str, room: Room) -> QuotaExceeded:
        """Return the error of a reservation that the tenant's account had no room for."""
        broken = [each.detail for each in self.checks(owner, machine_id, room) if not each.passed]
        return QuotaExceeded(" ".join(broken) or f"Tenant {owner.tenant} has used up its quota. Try again.")

    def _held(self, tenant: str, machine_id: str | None) -> Amounts:
        """Return what the tenant holds, without what is held for the machine itself."""
        account = self._reservations.account(tenant_account(tenant)) or self._reservations.count_tenant(tenant)
        own = self._reservations.get(machine_id) if machine_id is not None else None
        if own is None or own.tenant != tenant:
            return account.reserved
        return {name: by - total_of(own.room).get(name, 0) for name, by in account.reserved.items()}


class PoliciesAndQuotas:
    """Implements the ``Permissions`` port: what policies say of one machine, and of all of the tenant's."""

    def __init__(self, *, policies: PolicyManager, quotas: Quotas) -> None:
        """Collaborators."""
        self._policies = policies
        self._quotas = quotas

    def judge(self, ask: PlacementAsk, datacenter: Datacenter) -> Sequence[Check]:
        """Return the checks of a machine in a datacenter."""
        owner = Owner(ask.tenant, ask.roles)
        return (*self._policies.judge(ask, datacenter), *self._quotas.checks(owner, ask.machine_id, ask.room))
