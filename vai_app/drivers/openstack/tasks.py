"""Native tasks, which Nova has not: a reference says what was asked of which server, and any process can tell its end.

Many are followed by one list of the servers that changed since the oldest was asked for, a few by a look at each.
"""

from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from threading import Event, Lock
from time import monotonic

from vai_app.domain.errors import Conflict, InvalidRequest, NotFound, ProviderBusy, VaiError
from vai_app.domain.hypervisor import NativeTask, TaskObservation, TaskState
from vai_app.drivers.openstack.faults import error_of_fault
from vai_app.drivers.openstack.mapping import DELETED, ERROR, MACHINE_KEY, TOKEN_KEY, Row, is_busy
from vai_app.drivers.openstack.session import Session

# Nova needs seconds for everything: more looks would only load it.
LOOK_SECONDS = 0.5
_FEW = 3
# Nova's clock and ours may differ by this much.
_SKEW = timedelta(minutes=5)
# While Nova moves a new server from its queue to a cell it knows it in neither for a moment.
_UNSEEN = timedelta(seconds=30)
_DELETED, _LINGERS = "DELETED", "DELETED, AND STILL SHOWN"
_UNDER_WAY = ("BUILD", _LINGERS)


class Verb(StrEnum):
    """What was asked; each has its own end."""

    CREATE = "create"
    DELETE = "delete"
    POWER = "power"
    RESIZE = "resize"
    MARK = "mark"


@dataclass(frozen=True, slots=True)
class Asked:
    """A task as its reference spells it. ``wanted`` is a status, a flavor's name or a token."""

    verb: Verb
    server: str
    at: datetime
    wanted: str

    @property
    def may_be_unseen(self) -> bool:
        """Whether Nova may deny a server that it has accepted."""
        return self.verb is Verb.CREATE and datetime.now(UTC) - self.at < _UNSEEN

    def task(self) -> NativeTask:
        """Return what the driver hands out."""
        ref = "|".join((self.verb, self.server, str(int(self.at.timestamp())), self.wanted))
        return NativeTask(ref, machine_ref=self.server, brief=self.verb is Verb.MARK)


def ask(verb: Verb, server: str, wanted: str = "") -> NativeTask:
    """Return the task that was just asked for."""
    return Asked(verb, server, datetime.now(UTC), wanted).task()


def read_ref(ref: str) -> Asked | None:
    """Return what a reference spells, ``None`` for one that is none of ours."""
    verb, _, rest = ref.partition("|")
    server, _, rest = rest.partition("|")
    seconds, _, wanted = rest.partition("|")
    if verb not in set(Verb) or not seconds.isdigit():
        return None
    return Asked(Verb(verb), server, datetime.fromtimestamp(int(seconds), UTC), wanted)


class TaskWatch:
    """Tells which tasks have ended."""

    def __init__(self, session: Session) -> None:
        """Ask nothing yet."""
        self._session = session
        self._lock = Lock()
        self._look_at = 0.0

    def wait(self, refs: Collection[str], timeout_seconds: float) -> list[TaskObservation]:
        """Return those that have ended as soon as one has, within the timeout; one look, or one each half second."""
        if timeout_seconds <= 0:
            return self._look(refs)
        ends_at = monotonic() + timeout_seconds
        while True:
            pause = self._pause()
            if monotonic() + pause > ends_at:
                Event().wait(max(0.0, ends_at - monotonic()))
                return []
            Event().wait(pause)
            ended = self._look(refs)
            if ended:
                return ended

    def _pause(self) -> float:
        """Return how long until the next look may be taken, and take it."""
        with self._lock:
            now = monotonic()
            pause = max(0.0, self._look_at - now)
            self._look_at = now + pause + LOOK_SECONDS
            return pause

    def _look(self, refs: Collection[str]) -> list[TaskObservation]:
        asked = {ref: read_ref(ref) for ref in refs}
        known = {ref: each for ref, each in asked.items() if each is not None}
        servers = self._servers(list(known.values()))
        ended = [
            TaskObservation(ref, TaskState.FAILED, error=NotFound(f"OpenStack knows no task {ref}."))
            for ref in asked
            if ref not in known
        ]
        for ref, each in known.items():
            server = servers.get(each.server)
            if server is None and each.may_be_unseen:
                continue
            seen = self._end(ref, each, server)
            if seen is not None:
                ended.append(seen)
        return ended

    def _servers(self, asked: Collection[Asked]) -> Mapping[str, Row]:
        """Return the servers by id; one that is not there is gone."""
        found: dict[str, Row] = {}
        wanted = {each.server for each in asked}
        if len(wanted) > _FEW:
            since = (min(each.at for each in asked) - _SKEW).strftime("%Y-%m-%dT%H:%M:%SZ")
            for row in self._session.pages("compute", "/servers/detail", "servers", **{"changes-since": since}):
                found[row["id"]] = row
        for server in wanted - found.keys():
            answer = self._session.find("compute", f"/servers/{server}")
            if answer is not None:
                row = answer["server"]
                # Shown by itself, a deleted server is still being put away: until then Nova takes orders for it.
                found[server] = {**row, "status": _LINGERS} if row["status"] == _DELETED else row
        return found

    def _end(self, ref: str, asked: Asked, server: Row | None) -> TaskObservation | None:
        """Return the end of a task, ``None`` while it runs."""
        gone = server is None or server["status"] in DELETED
        if asked.verb is Verb.DELETE and gone:
            return TaskObservation(ref, TaskState.SUCCEEDED, machine_ref=asked.server)
        if server is None or gone:
            return TaskObservation(ref, TaskState.FAILED, error=NotFound("The machine is gone from OpenStack."))
        if asked.verb is Verb.RESIZE and server["status"] == "VERIFY_RESIZE" and not is_busy(server):
            # Nova keeps the old copy until somebody says that the new one is good. Another look may have said it.
            with suppress(Conflict, InvalidRequest, ProviderBusy):
                self._session.post("compute", f"/servers/{asked.server}/action", {"confirmResize": None})
            return None
        if is_busy(server) or server["status"] in _UNDER_WAY:
            return None
        error = _error(asked, server)
        if error is not None:
            return TaskObservation(ref, TaskState.FAILED, error=error)
        return TaskObservation(ref, TaskState.SUCCEEDED, machine_ref=asked.server)


def _error(asked: Asked, server: Row) -> VaiError | None:
    """Return why a server at rest is not as was asked."""
    status, metadata = server["status"], server["metadata"]
    if asked.verb is Verb.MARK:
        marked = metadata.get(TOKEN_KEY) == asked.wanted and MACHINE_KEY in metadata
        return None if marked else Conflict("The machine's metadata was changed by somebody else.")
    if status == ERROR:
        return error_of_fault(server.get("fault"))
    if asked.verb is Verb.RESIZE:
        resized = server["flavor"]["original_name"] == asked.wanted
        return None if resized else Conflict("Nova did not resize the machine and says not why.")
    if asked.verb is Verb.DELETE:
        return Conflict(f"Nova did not delete the machine: it is {status}.")
    if asked.wanted not in ("", status):
        return Conflict(f"The machine is {status} and not {asked.wanted}, as was asked for.")
    return None
