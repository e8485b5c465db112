"""Room: who has what of it, and what may be asked."""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Protocol

from vai_app.domain.capacity import DatacenterCapacity, Room
from vai_app.domain.consumption import Held
from vai_app.domain.datacenters import Datacenter
from vai_app.domain.placement.asks import PlacementAsk
from vai_app.domain.placement.checks import Check
from vai_app.domain.reservations import Account, Amounts, Owner, Reservation
from vai_app.domain.virtual_machines import Location, Size


class CapacityBook(Protocol):
    """What every datacenter may give, and the reservations against it. ``services.resource_manager`` keeps it."""

    def snapshot(self, datacenter_ids: Collection[str] | None = None) -> Sequence[DatacenterCapacity]:
        """Return these datacenters, or all in order of name, as they are known now. Raises NotFound."""
        ...

    def unreserved(self, datacenter_id: str) -> DatacenterCapacity:
        """Return a datacenter as if nothing were reserved in it: much cheaper where room does not count.

        Raises NotFound.
        """
        ...

    def reserve(self, machine_id: str, datacenter_id: str, location: Location, room: Room, owner: Owner) -> bool:
        """Reserve room for an owner's machine, atomically; ``False`` when it is no longer there.

        A machine has one reservation: a second call for it replaces the first, or changes nothing and is ``False``.
        Raises QuotaExceeded, which no other place would help.
        """
        ...

    def resize(self, machine_id: str, size: Size, owner: Owner, *, done: bool) -> None:
        """Reserve what a machine takes while it changes to a size (the larger of both), or when it is ``done``.

        Raises CapacityShort and QuotaExceeded, unless ``done``.
        """
        ...

    def move(self, machine_id: str, host: str, owner: Owner, *, done: bool) -> None:
        """Reserve at a host, by reference, what a machine holds at another; when ``done``, whatever room there is.

        Raises CapacityShort, unless ``done``.
        """
        ...

    def release(self, machine_id: str) -> None:
        """Give back what is reserved for a machine; does nothing the second time."""
        ...


class ReservationRepository(Protocol):
    """Reservations and the accounts that they count in; every call is atomic over all of them."""

    def get(self, machine_id: str) -> Reservation | None:
        """Return a machine's reservation."""
        ...

    def of_datacenter(self, datacenter_id: str) -> Sequence[Reservation]:
        """Return all reservations in a datacenter."""
        ...

    def total_in(self, datacenter_id: str) -> Amounts:
        """Return the sum of all reservations in a datacenter, every dimension."""
        ...

    def accounts(self, datacenter_id: str) -> Sequence[Account]:
        """Return the accounts of a datacenter's hosts and datastores, and of its hypervisor's quota."""
        ...

    def account(self, account_id: str) -> Account | None:
        """Return one account."""
        ...

    def take(self, wanted: Reservation, quota: Amounts | None) -> str | None:
        """Put this reservation in the place of the machine's own, if all accounts have room for what it adds.

        Returns the account that lacks room, and has then changed nothing. ``quota`` limits the tenant's account;
        ``None`` says that nobody limits the tenant, and its account need not know. Raises AccountMissing.
        """
        ...

    def correct(self, true: Reservation, known: Reservation | None) -> bool:
        """Write a reservation as the hypervisor has it, room or not, if it still is as ``known``.

        Raises AccountMissing.
        """
        ...

    def release(self, machine_id: str) -> bool:
        """Give back a machine's reservation; ``False`` when it has none."""
        ...

    def held_between(
        self, since: datetime, until: datetime, *, tenant: str | None, datacenter_id: str | None
    ) -> Iterable[Held]:
        """Return what was held at some time between, by a tenant or by all, in a datacenter or in all.

        Whatever was reserved once is in it, however often it changed and whatever became of the machine.
        """
        ...

    def open_accounts(self, accounts: Sequence[Account]) -> None:
        """Set limits and what others use, opening accounts where missing; what is reserved stays."""
        ...

    def count_tenant(self, tenant: str) -> Account:
        """Open a tenant's account, and count in it what was reserved while nobody limited the tenant."""
        ...

    def tenants_with_accounts(self) -> Sequence[str]:
        """Return the tenants whose accounts are open: those that were limited once."""
        ...


class Permissions(Protocol):
    """What policies and quotas say of a machine in a datacenter."""

    def judge(self, ask: PlacementAsk, datacenter: Datacenter) -> Sequence[Check]:
        """Return the checks of policy and quota, each with its name and numbers; none where nothing is limited."""
        ...
