"""Reservations in MongoDB: a machine's reservation and all its accounts change in one short transaction.

The machine's own document comes first: nobody else writes it. The accounts, which others share, are held for what is
left of the transaction.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from threading import Lock
from typing import Any, TypeVar

from pymongo import UpdateOne, WriteConcern
from pymongo.client_session import ClientSession
from pymongo.collection import Collection
from pymongo.errors import DuplicateKeyError

from vai_app.domain.capacity import Room
from vai_app.domain.consumption import Held
from vai_app.domain.ports.clock import Clock
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
from vai_app.store.codec import from_stored, to_stored
from vai_app.store.documents import AccountDocument, ReservationDocument, UsageDocument, collection_of
from vai_app.store.errors import translated

_Result = TypeVar("_Result")
_LAST_CHARACTER = "\U0010ffff"
# The operation that reserves or releases is saved next, into the same journal, and waits for both.
_EARLY = WriteConcern(w=1, j=False)


@dataclass(frozen=True, slots=True)
class _Held:
    """A machine's reservation as it was read; ``counted`` says whether the tenant's account knows of it."""

    reservation: Reservation | None = None
    version: int = 0
    counted: bool = False


class _Short(Exception):
    """An account lacks room, or is not there."""


class _Changed(Exception):
    """The reservation is not as it was read."""


@translated
class MongoReservations:
    """Implements the ``ReservationRepository`` port."""

    def __init__(self, clock: Clock) -> None:
        """``clock`` dates what is given back."""
        self._clock = clock
        self._turn = Lock()

    @property
    def _reservations(self) -> Collection[dict[str, Any]]:
        return collection_of(ReservationDocument)

    @property
    def _usage(self) -> Collection[dict[str, Any]]:
        return collection_of(UsageDocument)

    @property
    def _accounts(self) -> Collection[dict[str, Any]]:
        return collection_of(AccountDocument)

    def get(self, machine_id: str) -> Reservation | None:
        """Return a machine's reservation."""
        return self._held(machine_id).reservation

    def of_datacenter(self, datacenter_id: str) -> Sequence[Reservation]:
        """Return all reservations in a datacenter."""
        return [_reservation(each) for each in self._reservations.find({"datacenter_id": datacenter_id})]

    def total_in(self, datacenter_id: str) -> Amounts:
        """Return what is reserved in a datacenter."""
        sums = {name: {"$sum": f"$room.{name}"} for name in DIMENSIONS} | {"machines": {"$sum": 1}}
        pipeline: list[dict[str, Any]] = [
            {"$match": {"datacenter_id": datacenter_id}},
            {"$group": {"_id": None, **sums}},
        ]
        found = next(iter(self._reservations.aggregate(pipeline)), {})
        return {name: found.get(name, 0) for name in DIMENSIONS}

    def accounts(self, datacenter_id: str) -> Sequence[Account]:
        """Return the accounts of a datacenter's hosts and datastores, and of its hypervisor's quota."""
        return [_account(each) for each in self._accounts.find({"datacenter_id": datacenter_id})]

    def account(self, account_id: str) -> Account | None:
        """Return one account."""
        document = self._accounts.find_one({"_id": account_id})
        return _account(document) if document else None

    def take(self, wanted: Reservation, quota: Amounts | None) -> str | None:
        """Reserve if every account has room."""
        held = _Held()  # as of nearly every machine; whether it is so, the transaction tells
        while True:
            counted = held.counted or quota is not None
            changes = _changes(held, wanted, counted=counted)
            try:
                self._write(held, wanted, changes, counted=counted, tenants_limit=quota or {})
            except _Changed:
                held = self._held(wanted.machine_id)
                continue
            except _Short:
                short = self._short(changes, quota or {})
                if short is None:
                    continue  # somebody gave room back meanwhile
                return short
            return None

    def correct(self, true: Reservation, known: Reservation | None) -> bool:
        """Write what is so, unless the reservation changed meanwhile."""
        held = self._held(true.machine_id)
        if held.reservation != known:
            return False
        changes = _changes(held, true, counted=held.counted)
        try:
            self._write(held, true, changes, counted=held.counted, tenants_limit=None)
        except _Changed:
            return False
        except _Short as short:
            raise AccountMissing(next(iter(changes))) from short
        return True

    def release(self, machine_id: str) -> bool:
        """Give back once."""

        def give_back(session: ClientSession) -> bool:
            document = self._reservations.find_one_and_delete({"_id": machine_id}, session=session)
            if document is None:
                return False
            held = _held(document)
            self._add(_changes(held, None, counted=False), None, session)
            self._note(held, self._clock(), session)
            return True

        return self._in_transaction(give_back)

    def open_accounts(self, accounts: Sequence[Account]) -> None:
        """Set limits and use by others; what is reserved is left alone."""
        writes = [
            UpdateOne(
                {"_id": each.id},
                {
                    "$set": {"datacenter_id": each.datacenter_id, "limit": dict(each.limit), "used": dict(each.used)},
                    "$setOnInsert": {"reserved": dict.fromkeys(DIMENSIONS, 0)},
                },
                upsert=True,
            )
            for each in accounts
        ]
        if writes:
            self._accounts.bulk_write(writes, ordered=False)

    def count_tenant(self, tenant: str) -> Account:
        """Open a tenant's account, and count in it what was reserved while nobody limited the tenant."""
        account_id = tenant_account(tenant)

        def count(session: ClientSession) -> None:
            uncounted = list(self._reservations.find({"tenant": tenant, "counted": False}, session=session))
            total = dict.fromkeys(DIMENSIONS, 0)
            for document in uncounted:
                for name, by in total_of(Room(**document["room"])).items():
                    total[name] += by
            ids = [document["_id"] for document in uncounted]
            self._reservations.update_many(
                {"_id": {"$in": ids}}, {"$set": {"counted": True}, "$inc": {"version": 1}}, session=session
            )
            self._accounts.update_one(
                {"_id": account_id},
                {
                    "$inc": {f"reserved.{name}": by for name, by in total.items()},
                    "$setOnInsert": {"datacenter_id": None, "limit": {}, "used": {}},
                },
                upsert=True,
                session=session,
            )

        with self._reservations.database.client.start_session() as session:
            session.with_transaction(count)
        return self.account(account_id) or Account(account_id)

    def tenants_with_accounts(self) -> Sequence[str]:
        """Return the tenants whose accounts are open."""
        found = self._accounts.find({"_id": {"$gte": tenant_account(""), "$lt": tenant_account(_LAST_CHARACTER)}})
        return [tenant_of(each["_id"]) for each in found]

    def held_between(
        self, since: datetime, until: datetime, *, tenant: str | None, datacenter_id: str | None
    ) -> Iterator[Held]:
        """Return what is held, then what was: what ends in between is found, and once."""
        equal = {"tenant": tenant, "datacenter_id": datacenter_id}
        wanted: dict[str, Any] = {name: value for name, value in equal.items() if value is not None}
        wanted["since"] = {"$lt": until}
        now = [_reservation(each) for each in self._reservations.find(wanted)]
        yield from (each.held() for each in now)
        known = {(each.machine_id, each.since) for each in now}
        for each in self._usage.find({**wanted, "until": {"$gt": since}}, {"_id": 0}):
            if (each["machine_id"], each["since"]) not in known:
                yield from_stored(each, Held)

    def _held(self, machine_id: str) -> _Held:
        document = self._reservations.find_one({"_id": machine_id})
        return _held(document) if document else _Held()

    def _write(
        self,
        held: _Held,
        new: Reservation,
        changes: Mapping[str, Amounts],
        *,
        counted: bool,
        tenants_limit: Amounts | None,
    ) -> None:
        """Change reservation and accounts together; without ``tenants_limit``, whatever room there is.

        Raises _Changed, _Short.
        """

        def change(session: ClientSession) -> None:
            self._replace(held, new, counted=counted, session=session)
            if self._add(changes, tenants_limit, session) < len(changes):
                raise _Short
            self._note(held, new.since, session)

        self._in_transaction(change)

    def _replace(self, held: _Held, new: Reservation, *, counted: bool, session: ClientSession) -> None:
        document = {**to_stored(new), "version": held.version + 1, "counted": counted}
        document["_id"] = document.pop("machine_id")
        if held.reservation is None:
            try:
                self._reservations.insert_one(document, session=session)
            except DuplicateKeyError as error:
                raise _Changed from error
            return
        query = {"_id": new.machine_id, "version": held.version}
        if self._reservations.replace_one(query, document, session=session).matched_count == 0:
            raise _Changed

    def _note(self, held: _Held, until: datetime, session: ClientSession) -> None:
        """Write down what was held until now."""
        if held.reservation is not None and held.reservation.since < until:
            self._usage.insert_one(to_stored(held.reservation.held(until)), session=session)

    def _add(self, changes: Mapping[str, Amounts], tenants_limit: Amounts | None, session: ClientSession) -> int:
        """Add to the accounts that have room, or to all without ``tenants_limit``; return to how many."""
        writes = [
            UpdateOne(
                {"_id": account} | ({} if tenants_limit is None else _room_for(account, by, tenants_limit)),
                {"$inc": {f"reserved.{name}": amount for name, amount in by.items()}},
            )
            for account, by in changes.items()
        ]
        return self._accounts.bulk_write(writes, session=session).matched_count if writes else 0

    def _in_transaction(self, change: Callable[[ClientSession], _Result]) -> _Result:
        """Run the change; one that met another process's is begun again, those of this process take turns."""
        with self._turn, self._reservations.database.client.start_session() as session:
            return session.with_transaction(change, write_concern=_EARLY)

    def _short(self, changes: Mapping[str, Amounts], tenants_limit: Amounts) -> str | None:
        """Return the first account that lacks room now. Raises AccountMissing."""
        for account_id, by in changes.items():
            account = self.account(account_id)
            if account is None:
                raise AccountMissing(account_id)
            limit = tenants_limit if is_of_tenant(account_id) else account.limit
            if not fits(account, by, limit):
                return account_id
        return None


def _changes(held: _Held, new: Reservation | None, *, counted: bool) -> dict[str, dict[str, int]]:
    """Return what is added to each account; of tenants' accounts, to those that know of the reservation."""
    changes = changes_between(held.reservation, new)
    for reservation, known in ((held.reservation, held.counted), (new, counted)):
        if reservation is not None and not known:
            changes.pop(tenant_account(reservation.tenant), None)
    if counted and not held.counted and new is not None:
        changes[tenant_account(new.tenant)] = total_of(new.room)
    return changes


def _room_for(account: str, change: Amounts, tenants_limit: Amounts) -> dict[str, Any]:
    """Return the condition that the account has room; a limit that is not set is none."""
    is_tenants = is_of_tenant(account)
    limits = []
    for name, by in change.items():
        limit = tenants_limit.get(name, float("inf")) if is_tenants else {"$ifNull": [f"$limit.{name}", float("inf")]}
        if by > 0:
            limits.append({"$lte": [{"$add": [f"$reserved.{name}", by]}, limit]})
    return {"$expr": {"$and": limits}}


def _held(document: dict[str, Any]) -> _Held:
    return _Held(_reservation(document), document["version"], document["counted"])


def _reservation(document: dict[str, Any]) -> Reservation:
    return Reservation(
        machine_id=document["_id"],
        room=Room(**document["room"]),
        **{name: document[name] for name in ("datacenter_id", "tenant", "since", "host", "datastore")},
    )


def _account(document: dict[str, Any]) -> Account:
    return Account(
        document["_id"], document["datacenter_id"], document["reserved"], document["limit"], document["used"]
    )
