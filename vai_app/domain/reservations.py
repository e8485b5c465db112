"""Reservations: what VAI promised to one machine, and the accounts of hosts, datastores and tenants it counts in."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from vai_app.domain.capacity import Room
from vai_app.domain.consumption import Held

DIMENSIONS = ("machines", "cpus", "memory_mib", "disk_gib")
Amounts = Mapping[str, int]
"""How much of each dimension; one that is left out is not counted (of a reservation) or not limited (of a limit)."""
UNLIMITED: Amounts = {}


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose machine it is, and by which roles it was asked for: both decide what the tenant may hold."""

    tenant: str
    roles: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Reservation:
    """What a machine holds from its placement until it is deleted, failed or forgotten; one for each machine.

    ``host`` and ``datastore`` are provider references, ``None`` where the hypervisor chooses. ``since`` is when it
    became as it is: whoever looked at the hypervisor before knows less.
    """

    machine_id: str
    datacenter_id: str
    tenant: str
    room: Room
    since: datetime
    host: str | None = None
    datastore: str | None = None

    def held(self, until: datetime | None = None) -> Held:
        """Return what the machine holds by it, until it changed or was given back."""
        return Held(self.machine_id, self.tenant, self.datacenter_id, self.room, self.since, until)


@dataclass(frozen=True, slots=True)
class Account:
    """What is reserved at one host or datastore, or by one tenant.

    ``limit`` is what VAI's machines may hold together; ``used`` is what others take and the limit leaves out. In the
    account of a hypervisor's quota nothing is reserved: all reservations of the datacenter count.
    """

    id: str
    datacenter_id: str | None = None
    reserved: Amounts = field(default_factory=dict)
    limit: Amounts = field(default_factory=dict)
    used: Amounts = field(default_factory=dict)


class AccountMissing(Exception):
    """A reservation counts in an account that was never opened."""

    def __init__(self, account: str) -> None:
        """Name the account."""
        super().__init__(account)
        self.account = account


def host_account(datacenter_id: str, ref: str) -> str:
    """Return the id of a host's account."""
    return f"host/{datacenter_id}/{ref}"


def datastore_account(datacenter_id: str, ref: str) -> str:
    """Return the id of a datastore's account."""
    return f"datastore/{datacenter_id}/{ref}"


def quota_account(datacenter_id: str) -> str:
    """Return the id of the account of what the hypervisor lets VAI's account have."""
    return f"quota/{datacenter_id}"


def tenant_account(tenant: str) -> str:
    """Return the id of a tenant's account."""
    return f"tenant/{tenant}"


def is_of_tenant(account_id: str) -> bool:
    """Whether an account is a tenant's, which counts only where a policy limits the tenant."""
    return account_id.startswith(tenant_account(""))


def tenant_of(account_id: str) -> str:
    """Return whose account it is."""
    return account_id.removeprefix(tenant_account(""))


def total_of(room: Room) -> dict[str, int]:
    """Return what one machine of this room counts for in its tenant's account, and in a hypervisor's quota."""
    return {"machines": 1, "cpus": room.cpus, "memory_mib": room.memory_mib, "disk_gib": room.disk_gib}


def changes_between(old: Reservation | None, new: Reservation | None) -> dict[str, dict[str, int]]:
    """Return what is added to each account when ``new`` takes the place of ``old``; nothing that stays the same."""
    total: dict[str, dict[str, int]] = {}
    for reservation, sign in ((old, -1), (new, 1)):
        for account, amounts in _held(reservation):
            found = total.setdefault(account, {})
            for dimension, amount in amounts.items():
                found[dimension] = found.get(dimension, 0) + sign * amount
    changed = {account: {name: by for name, by in amounts.items() if by} for account, amounts in total.items()}
    return {account: amounts for account, amounts in changed.items() if amounts}


def fits(account: Account, change: Amounts, limit: Amounts) -> bool:
    """Whether the change leaves every dimension that it makes larger within the limit."""
    return all(
        by <= 0 or name not in limit or account.reserved.get(name, 0) + by <= limit[name] for name, by in change.items()
    )


def _held(reservation: Reservation | None) -> Iterable[tuple[str, Amounts]]:
    if reservation is None:
        return
    room, datacenter_id = reservation.room, reservation.datacenter_id
    if reservation.host is not None:
        amounts = {"machines": 1, "cpus": room.cpus, "memory_mib": room.memory_mib}
        yield host_account(datacenter_id, reservation.host), amounts
    if reservation.datastore is not None:
        yield datastore_account(datacenter_id, reservation.datastore), {"disk_gib": room.disk_gib}
    # Last: every machine of a tenant counts there, so that it is held for the shortest time.
    yield tenant_account(reservation.tenant), total_of(room)
