"""Each test of this folder runs twice: over the fakes and over a real MongoDB."""

import os
from collections.abc import Iterator

import pytest
from cryptography.fernet import Fernet

from tests.fakes import FakeStore, SettableClock
from vai_app.store import Store, open_store
from vai_app.store.documents import DOCUMENTS, collection_of


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock()


@pytest.fixture(scope="session")
def _prepared(mongo_url: str) -> Iterator[str]:
    database = f"vai_contracts_{os.getpid()}"
    store = _open(mongo_url, database, SettableClock())
    store.prepare()
    yield database
    store = _open(mongo_url, database, SettableClock())
    collection_of(DOCUMENTS[0]).database.client.drop_database(database)
    store.close()


@pytest.fixture
def mongo_store(mongo_url: str, _prepared: str, clock: SettableClock) -> Iterator[Store]:
    opened = _open(mongo_url, _prepared, clock)
    for document in DOCUMENTS:
        collection_of(document).delete_many({})
    yield opened
    opened.close()


@pytest.fixture(params=["memory", "mongodb"])
def store(request: pytest.FixtureRequest, clock: SettableClock) -> Store | FakeStore:
    if request.param == "memory":
        return FakeStore(clock)
    opened: Store = request.getfixturevalue("mongo_store")
    return opened


def _open(url: str, database: str, clock: SettableClock) -> Store:
    return open_store(url, database, Fernet.generate_key().decode(), clock)
