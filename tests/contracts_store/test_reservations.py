"""Reservations: nothing is promised twice or given back twice, and the accounts are the sum of what is held."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from tests.builders import NOW
from tests.contracts_store.test_races import AnyStore, at_once
from tests.fake_reservations import InMemoryReservations
from tests.fakes import SettableClock
from vai_app.domain.capacity import Room
from vai_app.domain.ports.capacity import ReservationRepository
from vai_app.domain.reservations import (
    UNLIMITED,
    Account,
    AccountMissing,
    Amounts,
    Reservation,
    changes_between,
    datastore_account,
    fits,
    host_account,
    is_of_tenant,
    tenant_account,
)
from vai_app.store.reservations import MongoReservations

HOSTS = ("h1", "h2")
LIMIT = {"cpus": 16, "memory_mib": 8192}
DISK = {"disk_gib": 200}
SMALL = Room(cpus=2, memory_mib=1024, disk_gib=10)
ACCOUNTS = [
    *(Account(host_account("dc-1", ref), "dc-1", limit=LIMIT) for ref in HOSTS),
    Account(datastore_account("dc-1", "ds"), "dc-1", limit=DISK),
    Account(tenant_account("acme")),
]


def a_reservation(machine_id: str = "vm-1", **properties: object) -> Reservation:
    given = {"host": "h1", "datastore": "ds", "room": SMALL, "since": NOW, **properties}
    return Reservation(machine_id, "dc-1", "acme", **given)  # type: ignore[arg-type]


@pytest.fixture
def book(store: AnyStore) -> ReservationRepository:
    store.reservations.open_accounts(ACCOUNTS)
    return store.reservations


def test_the_total_of_a_datacenter_is_the_sum_of_its_reservations(book: ReservationRepository) -> None:
    assert book.total_in("dc-1") == {"machines": 0, "cpus": 0, "memory_mib": 0, "disk_gib": 0}
    for number in range(2):
        assert book.take(a_reservation(f"vm-{number}"), None) is None
    elsewhere = replace(a_reservation("vm-9"), datacenter_id="dc-2", host=None, datastore=None)
    assert book.take(elsewhere, None) is None
    assert book.total_in("dc-1") == {"machines": 2, "cpus": 4, "memory_mib": 2048, "disk_gib": 20}
    book.release("vm-0")
    assert book.total_in("dc-1") == {"machines": 1, "cpus": 2, "memory_mib": 1024, "disk_gib": 10}


def assert_sums(book: ReservationRepository) -> None:
    """The accounts hold what the reservations say, and never more than their limits."""
    held: dict[str, Counter[str]] = {account.id: Counter() for account in ACCOUNTS}
    for each in book.of_datacenter("dc-1"):
        for account, amounts in changes_between(None, each).items():
            held[account].update(amounts)
    for known in ACCOUNTS:
        account = book.account(known.id)
        assert account is not None
        assert {name: by for name, by in account.reserved.items() if by} == dict(held[known.id])
        assert all(account.reserved[name] <= most for name, most in known.limit.items())


def a_rival(book: ReservationRepository) -> ReservationRepository:
    """Return the same reservations as another process has them."""
    return MongoReservations(lambda: NOW) if isinstance(book, MongoReservations) else book


def test_what_is_asked_twice_is_reserved_once(book: ReservationRepository) -> None:
    for _ in range(2):
        assert book.take(a_reservation(), UNLIMITED) is None
    assert book.get("vm-1") == a_reservation()
    assert_sums(book)


def test_what_is_released_twice_is_given_back_once(book: ReservationRepository) -> None:
    book.take(a_reservation(), UNLIMITED)
    assert [book.release("vm-1"), book.release("vm-1")] == [True, False]
    assert book.get("vm-1") is None
    assert_sums(book)


def test_a_move_that_has_no_room_leaves_the_machine_where_it_is(book: ReservationRepository) -> None:
    book.take(a_reservation("vm-2", host="h2", room=Room(16, 1024, 0)), UNLIMITED)
    book.take(a_reservation(), UNLIMITED)
    assert book.take(a_reservation(host="h2"), UNLIMITED) == host_account("dc-1", "h2")
    assert book.get("vm-1") == a_reservation()
    assert_sums(book)


def test_a_machine_shrinks_where_others_took_the_room(book: ReservationRepository) -> None:
    book.take(a_reservation(room=Room(8, 4096, 10)), UNLIMITED)
    book.open_accounts([replace(ACCOUNTS[0], limit={"cpus": 1, "memory_mib": 1})])
    assert book.take(a_reservation(room=Room(4, 4096, 10)), UNLIMITED) is None
    assert book.take(a_reservation(room=Room(5, 4096, 10)), UNLIMITED) == host_account("dc-1", "h1")


def test_a_correction_needs_no_room_and_writes_only_over_what_it_knew(book: ReservationRepository) -> None:
    book.take(a_reservation(), UNLIMITED)
    moved = a_reservation(host="h2", room=Room(99, 1024, 10))
    assert book.correct(moved, a_reservation())
    assert not book.correct(a_reservation(), a_reservation())
    assert book.get("vm-1") == moved


def test_an_account_that_was_never_opened_is_told(book: ReservationRepository) -> None:
    with pytest.raises(AccountMissing):
        book.take(a_reservation(host="unheard-of"), UNLIMITED)
    assert book.get("vm-1") is None
    assert_sums(book)


@pytest.mark.spec(16)
def test_of_many_that_race_for_the_last_room_as_many_get_it_as_fit(book: ReservationRepository) -> None:
    wanted = [a_reservation(f"vm-{number}") for number in range(64)]
    rivals = [a_rival(book) for _ in wanted]
    answers = at_once(lambda number: rivals[number].take(wanted[number], UNLIMITED))
    assert answers.count(None) == LIMIT["cpus"] // SMALL.cpus
    assert_sums(book)
    at_once(lambda number: [rivals[number].release(wanted[each].machine_id) for each in (number % 8, number)])
    assert book.of_datacenter("dc-1") == []
    assert_sums(book)


def test_of_many_that_race_for_the_last_quota_as_many_get_it_as_fit(book: ReservationRepository) -> None:
    quota = {"machines": 5}
    wanted = [a_reservation(f"vm-{number}", host=HOSTS[number % 2]) for number in range(64)]
    answers = at_once(lambda number: a_rival(book).take(wanted[number], quota))
    assert Counter(answers) == {None: 5, tenant_account("acme"): 59}
    assert_sums(book)


def test_one_machine_that_is_asked_for_many_times_at_once_is_reserved_once(book: ReservationRepository) -> None:
    taken = at_once(lambda number: a_rival(book).take(a_reservation(host=HOSTS[number % 2]), UNLIMITED))
    assert taken == [None] * 64
    assert len(book.of_datacenter("dc-1")) == 1
    assert_sums(book)


def test_a_tenant_that_was_never_limited_has_no_account_until_it_is_counted(book: ReservationRepository) -> None:
    other = replace(a_reservation(), tenant="brand")
    assert book.take(other, None) is None
    assert book.account(tenant_account("brand")) is None
    with pytest.raises(AccountMissing):
        book.take(replace(other, machine_id="vm-2"), {"machines": 1})
    assert book.count_tenant("brand").reserved == {"machines": 1, "cpus": 2, "memory_mib": 1024, "disk_gib": 10}
    assert book.take(replace(other, machine_id="vm-2"), {"machines": 1}) == tenant_account("brand")
    assert book.take(replace(other, machine_id="vm-2"), {"machines": 2}) is None
    assert sorted(book.tenants_with_accounts()) == ["acme", "brand"]
    assert book.release("vm-1")
    account = book.account(tenant_account("brand"))
    assert account is not None
    assert account.reserved == book.count_tenant("brand").reserved
    assert account.reserved["machines"] == 1


@pytest.mark.spec(17)
def test_what_was_held_is_known_however_it_changed_and_whatever_became_of_the_machine(
    book: ReservationRepository, clock: SettableClock
) -> None:
    hour = timedelta(hours=1)
    book.take(a_reservation(), None)
    larger = a_reservation(room=Room(4, 4096, 10), since=NOW + hour)
    book.take(larger, None)
    book.take(larger, None)  # asked twice
    smaller = a_reservation(since=NOW + 2 * hour)
    book.correct(smaller, larger)
    book.take(a_reservation("vm-2", since=NOW + 2 * hour), None)
    clock.now = NOW + 5 * hour
    book.release("vm-1")
    book.release("vm-1")

    def held(since: int, until: int, tenant: str | None = None) -> list[tuple[str, int, float, float | None]]:
        found = book.held_between(NOW + since * hour, NOW + until * hour, tenant=tenant, datacenter_id="dc-1")
        return sorted(
            (each.machine_id, each.room.cpus, (each.since - NOW) / hour, each.until and (each.until - NOW) / hour)
            for each in found
        )

    assert held(0, 9) == held(0, 9, "acme")
    assert held(0, 9) == [("vm-1", 2, 0, 1), ("vm-1", 2, 2, 5), ("vm-1", 4, 1, 2), ("vm-2", 2, 2, None)]
    assert held(1, 2) == [("vm-1", 4, 1, 2)]
    assert held(6, 9) == [("vm-2", 2, 2, None)]
    assert held(0, 9, "rival") == []


class CheckedThenWritten(InMemoryReservations):
    """Known to be bad: looks whether there is room, and writes later, whatever happened in between."""

    def __init__(self) -> None:
        super().__init__(lambda: NOW)
        self.between: Callable[[], object] = lambda: None

    def take(self, wanted: Reservation, quota: Amounts | None) -> str | None:
        for account_id, change in changes_between(self.get(wanted.machine_id), wanted).items():
            account = self._account(account_id)
            if not fits(account, change, quota or {} if is_of_tenant(account_id) else account.limit):
                return account_id
        between, self.between = self.between, lambda: None
        between()
        self._change(wanted.machine_id, wanted)
        return None


class Life(RuleBasedStateMachine):
    """Machines come, move, change their size and go, two at a time; nothing is ever oversold or leaked."""

    book: ReservationRepository
    machine = st.integers(0, 11).map("vm-{}".format)
    wish = st.builds(
        a_reservation,
        machine,
        host=st.sampled_from(HOSTS),
        room=st.builds(Room, st.integers(1, 8), st.integers(1, 4096), st.integers(0, 80)),
    )

    def __init__(self) -> None:
        super().__init__()
        for each in self.book.of_datacenter("dc-1"):
            self.book.release(each.machine_id)

    @rule(wanted=wish)
    def take(self, wanted: Reservation) -> None:
        before = self.book.get(wanted.machine_id)
        short = self.book.take(wanted, UNLIMITED)
        assert self.book.get(wanted.machine_id) == (wanted if short is None else before)

    @rule(machine=machine)
    def release(self, machine: str) -> None:
        held = self.book.get(machine) is not None
        assert [self.book.release(machine), self.book.release(machine)] == [held, False]

    @precondition(lambda self: isinstance(self.book, CheckedThenWritten))
    @rule(first=wish, second=wish)
    def take_two_at_once(self, first: Reservation, second: Reservation) -> None:
        assert isinstance(self.book, CheckedThenWritten)
        self.book.between = lambda: self.book.take(second, UNLIMITED)
        self.book.take(first, UNLIMITED)
        self.book.between = lambda: None  # where the first was refused, the second's turn never came

    @invariant()
    def sums_are_right(self) -> None:
        assert_sums(self.book)


def live(book: ReservationRepository, examples: int) -> None:
    book.open_accounts(ACCOUNTS)
    run_state_machine_as_test(
        type("LifeOf", (Life,), {"book": book}),
        settings=settings(
            max_examples=examples,
            stateful_step_count=20,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_no_life_of_machines_oversells_or_leaks(store: AnyStore) -> None:
    live(store.reservations, 100 if isinstance(store.reservations, InMemoryReservations) else 5)


def test_a_check_that_is_not_one_with_its_write_is_caught() -> None:
    with pytest.raises(AssertionError):
        live(CheckedThenWritten(), 100)
