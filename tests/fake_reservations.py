"""The reservations in memory; ``tests/fakes.py`` offers them."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from threading import RLock

from vai_app.domain.consumption import Held
from vai_app.domain.reservations import (
    DIMENSIONS,
    Account,
    AccountMissing,
    Amounts,
    Reservation,
    changes_between,
    fits,
    is_of_tenant,
    tenant_account,
    tenant_of,
    total_of,
)


class InMemoryReservations:
    """The ``ReservationRepository`` port."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._lock = RLock()
        self._usage: list[Held] = []
        self._held: dict[str, Reservation] = {}
        self._accounts: dict[str, Account] = {}

    def get(self, machine_id: str) -> Reservation | None:
        return self._held.get(machine_id)

    def of_datacenter(self, datacenter_id: str) -> Sequence[Reservation]:
        with self._lock:
            return [each for each in self._held.values() if each.datacenter_id == datacenter_id]

    def total_in(self, datacenter_id: str) -> Amounts:
        held = [total_of(each.room) for each in self.of_datacenter(datacenter_id)]
        return {name: sum(each[name] for each in held) for name in DIMENSIONS}

    def accounts(self, datacenter_id: str) -> Sequence[Account]:
        with self._lock:
            return [each for each in self._accounts.values() if each.datacenter_id == datacenter_id]

    def account(self, account_id: str) -> Account | None:
        return self._accounts.get(account_id)

    def take(self, wanted: Reservation, quota: Amounts | None) -> str | None:
        with self._lock:
            for account_id, change in changes_between(self._held.get(wanted.machine_id), wanted).items():
                if is_of_tenant(account_id) and quota is None:
                    continue
                account = self._account(account_id)
                if not fits(account, change, quota or {} if is_of_tenant(account_id) else account.limit):
                    return account_id
            self._change(wanted.machine_id, wanted)
        return None

    def correct(self, true: Reservation, known: Reservation | None) -> bool:
        with self._lock:
            if self._held.get(true.machine_id) != known:
                return False
            for account_id in changes_between(known, true):
                if not is_of_tenant(account_id):
                    self._account(account_id)
            self._change(true.machine_id, true)
        return True

    def release(self, machine_id: str) -> bool:
        with self._lock:
            if machine_id not in self._held:
                return False
            self._change(machine_id, None)
        return True

    def open_accounts(self, accounts: Sequence[Account]) -> None:
        with self._lock:
            for each in accounts:
                known = self._accounts.get(each.id)
                reserved = known.reserved if known else dict.fromkeys(DIMENSIONS, 0)
                self._accounts[each.id] = replace(each, reserved=reserved)

    def count_tenant(self, tenant: str) -> Account:
        with self._lock:
            reserved = dict.fromkeys(DIMENSIONS, 0)
            for each in self._held.values():
                if each.tenant == tenant:
                    reserved = {name: by + total_of(each.room)[name] for name, by in reserved.items()}
            account_id = tenant_account(tenant)
            known = self._accounts.get(account_id, Account(account_id))
            self._accounts[account_id] = replace(known, reserved=reserved)
            return self._accounts[account_id]

    def tenants_with_accounts(self) -> Sequence[str]:
        return [tenant_of(each) for each in self._accounts if is_of_tenant(each)]

    def held_between(
        self, since: datetime, until: datetime, *, tenant: str | None, datacenter_id: str | None
    ) -> list[Held]:
        with self._lock:
            return [
                each
                for each in (*(held.held() for held in self._held.values()), *self._usage)
                if each.since < until
                and (each.until is None or each.until > since)
                and tenant in (None, each.tenant)
                and datacenter_id in (None, each.datacenter_id)
            ]

    def _account(self, account_id: str) -> Account:
        if account_id not in self._accounts:
            raise AccountMissing(account_id)
        return self._accounts[account_id]

    def _change(self, machine_id: str, new: Reservation | None) -> None:
        for account_id, change in changes_between(self._held.get(machine_id), new).items():
            account = self._accounts.get(account_id)
            if account is None:
                continue
            reserved = {name: account.reserved[name] + change.get(name, 0) for name in DIMENSIONS}
            self._accounts[account_id] = replace(account, reserved=reserved)
        until = new.since if new else self._clock()
        if machine_id in self._held and self._held[machine_id].since < until:
            self._usage.append(self._held[machine_id].held(until))
        if new is None:
            del self._held[machine_id]
        else:
            self._held[machine_id] = new
