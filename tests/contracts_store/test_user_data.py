"""What both repositories of user data promise, and that MongoDB's keeps none of it readable."""

from datetime import timedelta

import bson
import pytest
from cryptography.fernet import Fernet

from tests.fakes import FakeStore, SettableClock
from vai_app.domain.errors import ServiceUnavailable
from vai_app.store import Store
from vai_app.store.documents import UserDataDocument, collection_of
from vai_app.store.encryption import Cipher
from vai_app.store.user_data import MongoUserData

AnyStore = Store | FakeStore
TEXT = "I2Nsb3VkLWNvbmZpZw=="


def test_what_was_put_is_there_until_it_is_deleted(store: AnyStore) -> None:
    assert store.user_data.get("vm-1") is None
    store.user_data.put("vm-1", "former")
    store.user_data.put("vm-1", TEXT)
    assert (store.user_data.get("vm-1"), store.user_data.get("vm-2")) == (TEXT, None)
    for _ in range(2):
        store.user_data.delete("vm-1")
        assert store.user_data.get("vm-1") is None


def test_it_is_forgotten_after_a_day(store: AnyStore, clock: SettableClock) -> None:
    store.user_data.put("vm-1", TEXT)
    clock.now += timedelta(days=1) - timedelta(seconds=1)
    assert store.user_data.get("vm-1") == TEXT
    clock.now += timedelta(seconds=1)
    assert store.user_data.get("vm-1") is None


@pytest.mark.usefixtures("mongo_store")
def test_mongodb_deletes_it_by_itself() -> None:
    indexes = collection_of(UserDataDocument).index_information().values()
    assert [(each["key"], each["expireAfterSeconds"]) for each in indexes if "expireAfterSeconds" in each] == [
        ([("forget_at", 1)], 0)
    ]


def test_it_cannot_be_read_in_the_database(mongo_store: Store) -> None:
    mongo_store.user_data.put("vm-1", TEXT)
    [document] = collection_of(UserDataDocument).find()
    assert TEXT.encode() not in bson.encode(document)


@pytest.mark.usefixtures("mongo_store")
def test_it_is_sealed_for_its_machine_and_with_the_newest_key(clock: SettableClock) -> None:
    keys = [Fernet.generate_key().decode()]
    kept = MongoUserData(clock, Cipher(lambda: ",".join(keys)))
    kept.put("vm-1", TEXT)
    kept.put("vm-2", "other")
    keys.insert(0, Fernet.generate_key().decode())
    assert (kept.seal_all_anew(), kept.seal_all_anew()) == (2, 0)
    del keys[1]
    assert (kept.get("vm-1"), kept.get("vm-2")) == (TEXT, "other")
    documents = collection_of(UserDataDocument)
    other = documents.find_one({"_id": "vm-2"})
    assert other is not None
    documents.update_one({"_id": "vm-1"}, {"$set": {"sealed": other["sealed"]}})
    with pytest.raises(ServiceUnavailable, match="vm-1"):
        kept.get("vm-1")
