"""Group commit: what several threads insert at the same time goes to the database as one statement.

Who comes while nobody writes, writes at once. Those who come meanwhile are written together by the first of them as
soon as it is their turn: for eight documents a statement costs the database and this process little more than for one.
"""

from collections.abc import Callable
from threading import Lock
from typing import Any

from pymongo.collection import Collection
from pymongo.errors import AutoReconnect, BulkWriteError, DuplicateKeyError

from vai_app.store.errors import DUPLICATE_KEY

_MOST = 100


class _Entry:
    """One document on its way, whether its thread has to write for all that wait, and what became of it."""

    __slots__ = ("document", "error", "turn", "writes")

    def __init__(self, document: dict[str, Any], *, writes: bool) -> None:
        self.document = document
        self.error: Exception | None = AutoReconnect("The thread that wrote for others was ended in between.")
        self.writes = writes
        self.turn = Lock()
        if not writes:
            self.turn.acquire()


class GroupInsert:
    """Inserts into one collection."""

    def __init__(self, collection: Callable[[], Collection[dict[str, Any]]]) -> None:
        """``collection`` says where to, with the write concern that all share."""
        self._collection = collection
        self._lock = Lock()
        self._writing = False
        self._waiting: list[_Entry] = []

    def insert(self, document: dict[str, Any]) -> None:
        """Insert and wait for the acknowledgement. Raises what ``insert_one`` raises for this document."""
        with self._lock:
            entry = _Entry(document, writes=not self._writing)
            self._writing = True
            self._waiting.append(entry)
        with entry.turn:  # at once for who writes; else when the document is written, or this thread's turn has come
            if entry.writes:
                self._write_all()
        if entry.error is not None:
            raise entry.error

    def _write_all(self) -> None:
        """Write what waits, and let the first that came meanwhile write next."""
        with self._lock:
            entries, self._waiting = self._waiting[:_MOST], self._waiting[_MOST:]
        try:
            self._write(entries)
        except Exception as error:  # noqa: BLE001 - every thread that waits for it raises it
            for each in entries:
                each.error = error
        finally:
            with self._lock:
                following = self._waiting[0] if self._waiting else None
                self._writing = following is not None
            if following is not None:
                following.writes = True
                following.turn.release()
            for each in entries:
                if not each.writes:
                    each.turn.release()

    def _write(self, entries: list[_Entry]) -> None:
        try:
            if len(entries) == 1:
                self._collection().insert_one(entries[0].document)
            else:
                self._collection().insert_many([each.document for each in entries], ordered=False)
            refused = []
        except BulkWriteError as error:
            refused = error.details["writeErrors"]
            if error.details["writeConcernErrors"] or any(each["code"] != DUPLICATE_KEY for each in refused):
                raise
        for each in entries:
            each.error = None
        for found in refused:
            entries[found["index"]].error = DuplicateKeyError(found["errmsg"], found["code"], found)
