"""What both token and lease repositories promise."""

from datetime import timedelta

import pytest

from tests.builders import NOW, a_token, an_admin
from tests.fakes import FakeStore, SettableClock
from vai_app.domain.errors import NotFound
from vai_app.store import Store

AnyStore = Store | FakeStore


def test_a_token_is_found_by_its_digest(store: AnyStore) -> None:
    token = a_token(principal=an_admin(), expires_at=NOW + timedelta(days=1))
    store.tokens.insert(token)
    store.tokens.insert(a_token())
    assert store.tokens.find(token.digest) == token
    assert store.tokens.find("0" * 64) is None


def test_a_secret_that_is_enrolled_twice_is_one_token(store: AnyStore) -> None:
    first = a_token()
    store.tokens.insert(first)
    store.tokens.insert(a_token(digest=first.digest))
    assert store.tokens.list() == [first]


def test_a_deleted_token_is_not_found(store: AnyStore) -> None:
    kept, revoked = a_token(), a_token()
    store.tokens.insert(kept)
    store.tokens.insert(revoked)
    store.tokens.delete(revoked.id)
    assert store.tokens.find(revoked.digest) is None
    assert store.tokens.list() == [kept]
    with pytest.raises(NotFound):
        store.tokens.delete(revoked.id)


def test_a_lease_has_one_holder_until_it_ends(store: AnyStore, clock: SettableClock) -> None:
    assert store.leases.hold("tasks/dc-1", "one", 10)
    clock.advance(9.999)
    assert not store.leases.hold("tasks/dc-1", "two", 10)
    assert store.leases.hold("tasks/dc-2", "two", 10)
    clock.advance(0.001)
    assert store.leases.hold("tasks/dc-1", "two", 10)
    assert not store.leases.hold("tasks/dc-1", "one", 10)


def test_a_renewed_lease_lasts_from_its_renewal(store: AnyStore, clock: SettableClock) -> None:
    assert store.leases.hold("beat", "one", 10)
    clock.advance(8)
    assert store.leases.hold("beat", "one", 10)
    clock.advance(8)
    assert not store.leases.hold("beat", "two", 10)


def test_a_lease_is_given_back_by_its_owner_only(store: AnyStore) -> None:
    assert store.leases.hold("beat", "one", 10)
    store.leases.release("beat", "two")
    assert not store.leases.hold("beat", "two", 10)
    store.leases.release("beat", "one")
    assert store.leases.hold("beat", "two", 10)
    store.leases.release("never-held", "one")
