"""What both configuration repositories promise."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.builders import NOW
from tests.fakes import FakeStore
from vai_app.domain.errors import PreconditionFailed
from vai_app.domain.policies import ConfigurationDocument, ConfigurationKind
from vai_app.store import Store

AnyStore = Store | FakeStore


def a_revision(revision: int, **properties: Any) -> ConfigurationDocument:
    given: dict[str, Any] = {
        "kind": ConfigurationKind.ROLE,
        "name": "auditor",
        "content": {"name": "auditor", "permissions": ["events:read"]},
        "at": NOW,
        "by": "root",
    }
    return ConfigurationDocument(revision=revision, **(given | properties))


def test_the_newest_revision_is_what_counts_and_all_are_kept(store: AnyStore) -> None:
    first, second = a_revision(1), a_revision(2, content=None)
    other = a_revision(1, kind=ConfigurationKind.POLICY)
    for each in (first, other, second):
        store.configuration.store(each)
    assert {(each.kind, each.revision) for each in store.configuration.newest()} == {("role", 2), ("policy", 1)}
    assert store.configuration.history(ConfigurationKind.ROLE, "auditor") == [second, first]
    assert store.configuration.history(ConfigurationKind.POLICY, "auditor") == [other]
    assert store.configuration.history(ConfigurationKind.TENANT, "auditor") == []


def test_the_tenth_revision_is_newer_than_the_ninth(store: AnyStore) -> None:
    for revision in range(1, 12):
        store.configuration.store(a_revision(revision))
    assert [each.revision for each in store.configuration.newest()] == [11]


def test_of_many_who_store_one_revision_one_succeeds(store: AnyStore) -> None:
    def attempt(number: int) -> bool:
        try:
            store.configuration.store(a_revision(1, by=f"user-{number}"))
        except PreconditionFailed:
            return False
        return True

    with ThreadPoolExecutor(8) as threads:
        assert sorted(threads.map(attempt, range(16)))[-2:] == [False, True]


def test_a_stored_revision_is_not_replaced(store: AnyStore) -> None:
    store.configuration.store(a_revision(1))
    with pytest.raises(PreconditionFailed):
        store.configuration.store(a_revision(1, by="eve"))
    assert [each.by for each in store.configuration.newest()] == ["root"]
