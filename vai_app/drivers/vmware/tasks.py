"""Native tasks: a long poll of vCenter for those that are open, and a batched look at any others.

The open tasks are members of a list view of this session, with one filter on their state in a property collector
of its own. The poll is sent over a line of its own and stays under way between calls of ``wait``, so that a wait
may be shorter than vCenter's whole seconds, and nobody else waits for a line.
"""

import threading
from collections import OrderedDict
from collections.abc import Collection
from time import monotonic

from pyVmomi import vim, vmodl

from vai_app.domain.hypervisor import NativeTask, TaskObservation, TaskState
from vai_app.domain.virtual_machines import Power
from vai_app.drivers.vmware import reads
from vai_app.drivers.vmware.faults import TRANSLATED
from vai_app.drivers.vmware.mapping import ended_task_of, forgotten_task, power_of
from vai_app.drivers.vmware.rows import Row, parse_updates
from vai_app.drivers.vmware.session import Session
from vai_app.drivers.vmware.transport import Line

_SHUTDOWN = "guest-shutdown:"
_POLL_SECONDS = 20
# The news of a task that ended while it was being added to the view could be missed; a look is the second way.
_LOOK_AGAIN_SECONDS = 2.0
_REMEMBERED = 1000
_PATHS: reads.Paths = {vim.Task: reads.TASK, vim.VirtualMachine: reads.POWER}


def guest_shutdown_task(machine_ref: str) -> NativeTask:
    """Return a task for what vCenter has none: it ends when the machine is off."""
    return NativeTask(f"{_SHUTDOWN}{machine_ref}", machine_ref=machine_ref)


class TaskWatch:
    """Waits for native tasks. One thread at a time polls; ``look`` is for any number."""

    def __init__(self, session: Session) -> None:
        """Ask nothing yet."""
        self._session = session
        self._lock = threading.Lock()
        self._poll: _Poll | None = None
        self._ended: OrderedDict[str, TaskObservation] = OrderedDict()
        self._looked_at = 0.0

    def look(self, refs: Collection[str]) -> list[TaskObservation]:
        """Return those that have ended or are forgotten, in one read."""
        rows = reads.read_objects(self._session, [_object_of(ref) for ref in refs], _PATHS) if refs else []
        found = {_ref_of(row): row for row in rows if row.values}
        seen = [_ended(found[ref]) if ref in found else forgotten_task(ref) for ref in refs]
        return [each for each in seen if each is not None]

    def wait(self, refs: Collection[str], timeout_seconds: float) -> list[TaskObservation]:
        """Return those that have ended as soon as one has, within the timeout; else nothing."""
        ends_at = monotonic() + timeout_seconds
        if not self._lock.acquire(timeout=timeout_seconds):
            return []
        try:
            while True:
                ended = self._step(set(refs), max(ends_at - monotonic(), 0.0))
                if ended or monotonic() >= ends_at:
                    return ended
        except TRANSLATED:
            self._drop()
            raise
        finally:
            self._lock.release()

    def close(self) -> None:
        """End the poll; vCenter drops view and filter with the session."""
        if self._lock.acquire(timeout=1.0):
            self._drop()
            self._lock.release()

    def _step(self, refs: set[str], patience_seconds: float) -> list[TaskObservation]:
        remembered = [self._ended.pop(ref) for ref in refs & self._ended.keys()]
        if remembered:
            return remembered
        poll = self._current_poll()
        due = monotonic() - self._looked_at > _LOOK_AGAIN_SECONDS
        unknown = refs if due else refs - poll.watched
        ended = self.look(unknown)
        if due:
            self._looked_at = monotonic()
        try:
            poll.follow(refs - {each.ref for each in ended}, refs)
            moved = [] if ended else poll.moved(patience_seconds)
        except (vim.fault.NotAuthenticated, vmodl.fault.ManagedObjectNotFound):
            self._drop()  # the session ended, and with it the view; the next step starts anew
            return ended
        for each in self.look(moved):  # an update tells what changed, which need not be the whole outcome
            self._remember(each)
        return ended + [self._ended.pop(ref) for ref in refs & self._ended.keys()]

    def _current_poll(self) -> "_Poll":
        if self._poll is not None and self._poll.generation != self._session.generation:
            self._drop()
        if self._poll is None:
            self._poll = _Poll(self._session)
        return self._poll

    def _drop(self) -> None:
        if self._poll is not None:
            self._poll.close()
            self._poll = None

    def _remember(self, ended: TaskObservation) -> None:
        self._ended[ended.ref] = ended
        while len(self._ended) > _REMEMBERED:
            self._ended.popitem(last=False)


class _Poll:
    """A list view, the filter on its members, and the question that vCenter answers when one of them changes."""

    def __init__(self, session: Session) -> None:
        content = session.content
        self.generation = session.generation
        self.watched: set[str] = set()
        self._session = session
        self._view = content.viewManager.CreateListView([])
        self._collector = content.propertyCollector.CreatePropertyCollector()
        self._line: Line = session.new_line()
        self._version: str | None = ""
        self._asked = False
        # Sent over the poll's own line: what a TLS server says of itself after the handshake is read with the answer.
        filter_spec = reads.view_filter(self._view, _PATHS)
        session.send(self._line, self._collector, "CreateFilter", filter_spec, False)  # noqa: FBT003 - SOAP's own
        session.receive(self._line)
        self._ask()

    def follow(self, running: set[str], wanted: set[str]) -> None:
        """Add tasks to the view, and take out those that nobody wants any more."""
        added, removed = running - self.watched, self.watched - wanted
        if added:
            self._view.ModifyListView([_object_of(ref) for ref in added], [_object_of(ref) for ref in removed])
            self.watched = (self.watched | added) - removed

    def moved(self, patience_seconds: float) -> list[str]:
        """Return the tasks that seem to have ended, as soon as vCenter says that anything has changed."""
        if not self._asked:
            self._ask()
        if not self._line.readable(patience_seconds):
            return []
        self._asked = False
        version, rows = parse_updates(self._session.receive(self._line))
        self._version = version or self._version
        self._ask()
        ended = [_ref_of(row) for row in rows if _ended(row) is not None]
        self.watched.difference_update(ended)
        return ended

    def close(self) -> None:
        self._line.close()

    def _ask(self) -> None:
        options = vmodl.query.PropertyCollector.WaitOptions(maxWaitSeconds=_POLL_SECONDS)
        self._session.send(self._line, self._collector, "WaitForUpdatesEx", self._version, options)
        self._asked = True


def _object_of(ref: str) -> vim.ManagedObject:
    if ref.startswith(_SHUTDOWN):
        return vim.VirtualMachine(ref.removeprefix(_SHUTDOWN), None)
    return vim.Task(ref, None)


def _ref_of(row: Row) -> str:
    return f"{_SHUTDOWN}{row.ref}" if row.kind == "VirtualMachine" else row.ref


def _ended(row: Row) -> TaskObservation | None:
    if row.kind != "VirtualMachine":
        return ended_task_of(row)
    if power_of(row) is not Power.OFF:
        return None
    return TaskObservation(_ref_of(row), TaskState.SUCCEEDED, machine_ref=row.ref)
