"""The watch over native tasks, which Nova has not.

Many are followed by one list of the servers that changed since the oldest was asked for, a few by a look at each.
A look never costs more than that, and a slow cloud is looked at less often: it is busy with what is waited for.
"""

from collections.abc import Collection, Mapping
from random import sample
from threading import Event, Lock
from time import monotonic

from vai_app.domain.errors import NotFound, VaiError
from vai_app.domain.hypervisor import TaskObservation, TaskState
from vai_app.drivers.openstack.asked import Asked, read_ref
from vai_app.drivers.openstack.endings import LINGERS, Endings
from vai_app.drivers.openstack.mapping import Row
from vai_app.drivers.openstack.session import Session

# Nova needs seconds for everything: more looks would only load it.
LOOK_SECONDS = 0.5
_LONGEST_REST_SECONDS = 2.0
_FEW = 3
_DELETED = "DELETED"


class TaskWatch:
    """Tells which tasks have ended."""

    def __init__(self, session: Session) -> None:
        """Ask nothing yet."""
        self._session = session
        self._endings = Endings(session)
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
            try:
                seen = self._endings.of(ref, each, servers[each.server])
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
            since = min(each.earliest for each in asked).strftime("%Y-%m-%dT%H:%M:%SZ")
            for row in self._session.pages("compute", "/servers/detail", "servers", **{"changes-since": since}):
                found[row["id"]] = row
        # Not in the list is what Nova has hardly begun to make, and what it has forgotten: a few each time, by chance.
        missing = sorted(wanted - found.keys())
        for server in sample(missing, min(_FEW, len(missing))):
            answer = self._session.find("compute", f"/servers/{server}")
            found[server] = answer["server"] if answer is not None else None
            if answer is not None and answer["server"]["status"] == _DELETED:
                # Shown by itself, a deleted server is still being put away: until then Nova takes orders for it.
                found[server] = {**answer["server"], "status": LINGERS}
        return found
