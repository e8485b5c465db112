"""What threads insert at the same time is one statement, and each learns what became of its own."""

from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event
from typing import Any

import pytest
from pymongo.errors import AutoReconnect, BulkWriteError, DuplicateKeyError

from tests.lab.process import wait_until
from vai_app.store.group_insert import GroupInsert

Document = dict[str, Any]


class Collection:
    """Keeps documents, refuses a second one of an id, and says how many came in each statement."""

    def __init__(self) -> None:
        self.statements: list[int] = []
        self.stored: set[str] = set()
        self.may_answer = Event()
        self.may_answer.set()
        self.failure: BaseException | None = None
        self.concern_errors: list[Document] = []

    def insert_one(self, document: Document) -> None:
        try:
            self.insert_many([document])
        except BulkWriteError as error:
            found = error.details["writeErrors"]
            if not found:
                raise
            raise DuplicateKeyError("E11000", 11000, found[0]) from error

    def insert_many(self, documents: list[Document], *, ordered: bool = True) -> None:
        assert len(documents) == 1 or not ordered
        self.statements.append(len(documents))
        assert self.may_answer.wait(10)
        if self.failure is not None:
            raise self.failure
        refused = []
        for index, each in enumerate(documents):
            if each["_id"] in self.stored:
                refused.append({"index": index, "code": 11000, "errmsg": "E11000", "keyPattern": {"_id": 1}})
            self.stored.add(each["_id"])
        if refused or self.concern_errors:
            raise BulkWriteError({"writeErrors": refused, "writeConcernErrors": self.concern_errors})


class Crowd:
    """One thread that writes, and others that come while it does."""

    def __init__(self, collection: Collection) -> None:
        self.collection = collection
        self.inserts = GroupInsert(lambda: collection)  # type: ignore[arg-type, return-value] # what is used of one
        self.pool = ThreadPoolExecutor(40)

    def insert(self, first: str, *others: str) -> list[Future[None]]:
        self.collection.may_answer.clear()
        sent = [self.pool.submit(self.inserts.insert, {"_id": first})]
        wait_until(lambda: bool(self.collection.statements), seconds=10, what="the first is being written")
        for each in others:
            known = len(self.inserts._waiting)
            sent.append(self.pool.submit(self.inserts.insert, {"_id": each}))
            wait_until(lambda: len(self.inserts._waiting) > known, seconds=10, what="another waits")  # noqa: B023
        return sent

    def errors(self, sent: list[Future[None]]) -> list[type[BaseException] | None]:
        self.collection.may_answer.set()
        return [type(error) if (error := each.exception(timeout=10)) else None for each in sent]


@pytest.fixture
def collection() -> Collection:
    return Collection()


@pytest.fixture
def crowd(collection: Collection) -> Crowd:
    return Crowd(collection)


def test_who_is_alone_writes_at_once(crowd: Crowd, collection: Collection) -> None:
    for name in ("a", "b"):
        crowd.inserts.insert({"_id": name})
    assert (collection.statements, collection.stored) == ([1, 1], {"a", "b"})


def test_those_that_come_while_one_writes_are_written_together(crowd: Crowd, collection: Collection) -> None:
    names = [f"n{number}" for number in range(30)]
    assert crowd.errors(crowd.insert("first", *names)) == [None] * 31
    assert collection.statements == [1, 30]
    assert collection.stored == {"first", *names}


def test_a_duplicate_is_told_to_its_own_thread_only(crowd: Crowd, collection: Collection) -> None:
    collection.stored = {"b", "first"}
    sent = crowd.insert("first", "a", "b", "c")
    assert crowd.errors(sent) == [DuplicateKeyError, None, DuplicateKeyError, None]
    found = sent[2].exception()
    assert isinstance(found, DuplicateKeyError)
    assert found.details is not None
    assert found.details["keyPattern"] == {"_id": 1}
    assert collection.stored == {"first", "a", "b", "c"}


def test_a_statement_that_failed_failed_for_all_it_wrote_and_for_nobody_after_it(
    crowd: Crowd, collection: Collection
) -> None:
    collection.failure = AutoReconnect("gone")
    assert crowd.errors(crowd.insert("first", "a", "b")) == [AutoReconnect] * 3
    collection.failure = None
    crowd.inserts.insert({"_id": "later"})
    assert collection.stored == {"later"}


def test_what_was_written_and_not_made_durable_failed_for_all(crowd: Crowd, collection: Collection) -> None:
    collection.stored = {"b"}
    collection.concern_errors = [{"code": 64, "errmsg": "waiting for replication timed out"}]
    assert crowd.errors(crowd.insert("first", "a", "b")) == [BulkWriteError] * 3


def test_nobody_takes_an_insert_for_done_whose_writer_was_ended(crowd: Crowd, collection: Collection) -> None:
    collection.failure = SystemExit(1)
    sent = crowd.insert("first", "a", "b")
    assert crowd.errors(sent) == [SystemExit, SystemExit, AutoReconnect]
    collection.failure = None
    crowd.inserts.insert({"_id": "later"})
    assert collection.stored == {"later"}
