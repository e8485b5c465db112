"""Native tasks, which Nova has not: a reference says what was asked of which server, and any process can tell its end.

Many are followed by one list of the servers that changed since the oldest was asked for, a few by a look at each.
A look never costs more than that, and a slow cloud is looked at less often: it is busy with what is waited for.
"""

from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from random import sample
from threading import Event, Lock
from time import monotonic

from vai_app.domain.errors import (
    CapacityShort,
    Conflict,
    InvalidRequest,
    NotFound,
    ProviderBusy,
    ProviderError,
    VaiError,
)
from vai_app.domain.hypervisor import NativeTask, TaskObservation, TaskState
from vai_app.drivers.openstack.faults import error_of_fault
from vai_app.drivers.openstack.mapping import DELETED, ERROR, HOST, MACHINE_KEY, RESIZED, TOKEN_KEY, Row, is_busy
from vai_app.drivers.openstack.session import Session
from vai_app.drivers.openstack.snapshots import ACTIVE
from vai_app.drivers.openstack.volumes import GROWING, IN_USE

# Nova needs seconds for everything: more looks would only load it.
LOOK_SECONDS = 0.5
_LONGEST_REST_SECONDS = 2.0
_FEW = 3
# Nova's clock and ours may differ by this much.
_SKEW = timedelta(minutes=5)
# While Nova moves a new server from its queue to a cell it knows it in neither for a moment.
_UNSEEN = timedelta(seconds=30)
_DELETED, _LINGERS = "DELETED", "DELETED, AND STILL SHOWN"
_UNDER_WAY = ("BUILD", "MIGRATING", "REBUILD", _LINGERS)
# What Nova writes of a move at its end, and of one that came to nothing.
_MOVED = ("done", "completed", "finished", "confirmed")
_CAME_TO_NOTHING = ("error", "failed", "cancelled", "reverted")
_NOT_MOVED = (
    "Nova found that the machine cannot go to host {}: no room there, or another processor. It is where it was."
)


class Verb(StrEnum):
    """What was asked; each has its own end."""

    CREATE = "create"
    DELETE = "delete"
    POWER = "power"
    RESIZE = "resize"
    MIGRATE = "migrate"
    SNAPSHOT = "snapshot"
    RESTORE = "restore"
    EXTEND = "extend"
    MARK = "mark"


_CONFIRMED = (Verb.RESIZE, Verb.MIGRATE)


@dataclass(frozen=True, slots=True)
class Asked:
    """A task as its reference spells it.

    ``wanted`` is a status, a flavor's name, a host, a token, an image, or a volume with its GiB.
    """

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
        while self._wait_for_turn(ends_at):
            began_at = monotonic()
            ended = self._look(refs)
            self._rest_after(monotonic() - began_at)
            if ended:
                return ended
        return []

    def _wait_for_turn(self, ends_at: float) -> bool:
        """Wait until a look may be taken, or until the end; whoever gets no turn leaves it to others."""
        while True:
            with self._lock:
                now = monotonic()
                if now >= self._look_at:
                    self._look_at = now + LOOK_SECONDS
                    return True
                turn_at = self._look_at
            if now >= ends_at:
                return False
            Event().wait(min(turn_at, ends_at) - now)

    def _rest_after(self, seconds: float) -> None:
        """Leave a cloud that is slow to answer to its work for a while."""
        with self._lock:
            self._look_at = max(self._look_at, monotonic() + min(4 * seconds, _LONGEST_REST_SECONDS))

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
            if each.server not in servers:
                continue
            server = servers[each.server]
            if server is None and each.may_be_unseen:
                continue
            try:
                seen = self._end(ref, each, server)
            except VaiError as error:  # of its own image or volume: the other tasks are told nevertheless
                seen = None if error.retryable else TaskObservation(ref, TaskState.FAILED, error=error)
            if seen is not None:
                ended.append(seen)
        return ended

    def _servers(self, asked: Collection[Asked]) -> Mapping[str, Row | None]:
        """Return the servers by id, ``None`` for one that is gone; of many, those that this look has seen."""
        found: dict[str, Row | None] = {}
        wanted = {each.server for each in asked}
        if len(wanted) > _FEW:
            since = (min(each.at for each in asked) - _SKEW).strftime("%Y-%m-%dT%H:%M:%SZ")
            for row in self._session.pages("compute", "/servers/detail", "servers", **{"changes-since": since}):
                found[row["id"]] = row
        # Not in the list is what Nova has hardly begun to make, and what it has forgotten: a few each time, by chance.
        missing = sorted(wanted - found.keys())
        for server in sample(missing, min(_FEW, len(missing))):
            answer = self._session.find("compute", f"/servers/{server}")
            found[server] = answer["server"] if answer is not None else None
            if answer is not None and answer["server"]["status"] == _DELETED:
                # Shown by itself, a deleted server is still being put away: until then Nova takes orders for it.
                found[server] = {**answer["server"], "status": _LINGERS}
        return found

    def _end(self, ref: str, asked: Asked, server: Row | None) -> TaskObservation | None:
        """Return the end of a task, ``None`` while it runs."""
        gone = server is None or server["status"] in DELETED
        if asked.verb is Verb.DELETE and gone:
            return TaskObservation(ref, TaskState.SUCCEEDED, machine_ref=asked.server)
        if server is None or gone:
            return TaskObservation(ref, TaskState.FAILED, error=NotFound("The machine is gone from OpenStack."))
        if is_busy(server) or server["status"] in _UNDER_WAY:
            return None
        if asked.verb in _CONFIRMED and server["status"] == RESIZED:
            # Nova keeps the old copy until somebody says that the new one is good. Another look may have said it.
            with suppress(Conflict, InvalidRequest, ProviderBusy):
                self._session.post("compute", f"/servers/{asked.server}/action", {"confirmResize": None})
            return None
        error = self._error_of(asked, server)
        if error is not None:
            return TaskObservation(ref, TaskState.FAILED, error=error)
        return TaskObservation(ref, TaskState.SUCCEEDED, machine_ref=asked.server)

    def _error_of(self, asked: Asked, server: Row) -> VaiError | None:
        """Return why a server at rest is not as was asked, by what is seen of it, or of its image or volume."""
        if asked.verb is Verb.SNAPSHOT:
            return self._error_of_snapshot(asked)
        if asked.verb is Verb.EXTEND:
            return self._error_of_volume(asked)
        if asked.verb is Verb.MIGRATE and server["status"] != ERROR:
            return self._error_of_move(asked, server)
        return _error(asked, server)

    def _error_of_move(self, asked: Asked, server: Row) -> VaiError | None:
        """Return why a server at rest is not on the host that was asked for. Raises ProviderBusy while it may still be.

        Nova lets a server that it evacuated rest before it writes down where it is, and last of all that it is done.
        """
        if server.get(HOST) == asked.wanted:
            return None
        moves = self._session.get("compute", "/os-migrations", instance_uuid=asked.server)["migrations"]
        ours = [each for each in moves if _moment(each["created_at"]) >= asked.at - _SKEW]
        status = max(ours, key=lambda each: int(each["id"]))["status"] if ours else "never begun"
        if status in _MOVED:
            now = self._session.get("compute", f"/servers/{asked.server}")["server"]
            if now.get(HOST) == asked.wanted:
                return None
        elif ours and status not in _CAME_TO_NOTHING:
            raise ProviderBusy("Nova is still writing down where the machine is.")
        return CapacityShort(_NOT_MOVED.format(asked.wanted))

    def _error_of_volume(self, asked: Asked) -> VaiError | None:
        """Return why a volume has not the size that was asked for. Raises ProviderBusy while it grows, NotFound."""
        ref, _, gib = asked.wanted.partition(":")
        volume = self._session.get("block_storage", f"/volumes/{ref}")["volume"]
        if volume["status"] == GROWING:
            raise ProviderBusy("Cinder is still extending the volume.")
        if volume["status"] == IN_USE and volume["size"] >= int(gib):
            return None
        return ProviderError(f"Cinder did not extend the volume: it is {volume['status']} with {volume['size']} GiB.")

    def _error_of_snapshot(self, asked: Asked) -> VaiError | None:
        """Return why there is no whole image of a server at rest: Nova works on it until it has uploaded the image."""
        image = self._session.find("image", f"/images/{asked.wanted}")
        status = image["status"] if image is not None else "gone"
        if status == ACTIVE:
            return None
        return ProviderError(f"Nova could not take the snapshot and says not why: its image is {status}.")


def _moment(told: str) -> datetime:
    """Return a time as Nova tells it: UTC, with a zone or without."""
    return datetime.fromisoformat(told).replace(tzinfo=UTC)


def _error(asked: Asked, server: Row) -> VaiError | None:
    """Return why a server at rest is not as was asked."""
    status, metadata = server["status"], server["metadata"]
    if asked.verb is Verb.MARK:
        marked = metadata.get(TOKEN_KEY) == asked.wanted and MACHINE_KEY in metadata
        return None if marked else Conflict("The machine's metadata was changed by somebody else.")
    if status == ERROR:
        return error_of_fault(server.get("fault"))
    if asked.verb in (Verb.RESIZE, Verb.RESTORE):
        return _unchanged(asked, server)
    if asked.verb is Verb.DELETE:
        return Conflict(f"Nova did not delete the machine: it is {status}.")
    if asked.wanted not in ("", status):
        return Conflict(f"The machine is {status} and not {asked.wanted}, as was asked for.")
    return None


def _unchanged(asked: Asked, server: Row) -> VaiError | None:
    """Return why a server at rest has not the flavor or image that was asked for."""
    if asked.verb is Verb.RESTORE:
        restored = (server.get("image") or {}).get("id") == asked.wanted
        return None if restored else Conflict("Nova did not restore the machine and says not why.")
    resized = server["flavor"]["original_name"] == asked.wanted
    return None if resized else Conflict("Nova did not resize the machine and says not why.")
