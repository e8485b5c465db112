"""How a task ended, by what is seen of its server at rest, of its image, volume or move."""

from contextlib import suppress
from datetime import UTC, datetime

from vai_app.domain.errors import (
    CapacityShort,
    Conflict,
    InvalidRequest,
    NotFound,
    ProviderBusy,
    ProviderError,
    VaiError,
)
from vai_app.domain.hypervisor import TaskObservation, TaskState
from vai_app.drivers.openstack.asked import Asked, Verb
from vai_app.drivers.openstack.faults import error_of_fault
from vai_app.drivers.openstack.mapping import DELETED, ERROR, HOST, MACHINE_KEY, RESIZED, TOKEN_KEY, Row, is_busy
from vai_app.drivers.openstack.session import Session
from vai_app.drivers.openstack.snapshots import ACTIVE
from vai_app.drivers.openstack.volumes import GROWING, IN_USE

# What a look calls a deleted server that Nova is still putting away.
LINGERS = "DELETED, AND STILL SHOWN"
_UNDER_WAY = ("BUILD", "MIGRATING", "REBUILD", LINGERS)
# What Nova writes of a move at its end, and of one that came to nothing.
_MOVED = ("done", "completed", "finished", "confirmed")
_CAME_TO_NOTHING = ("error", "failed", "cancelled", "reverted")
_NOT_MOVED = (
    "Nova found that the machine cannot go to host {}: no room there, or another processor. It is where it was."
)
_CONFIRMED = (Verb.RESIZE, Verb.MIGRATE)


class Endings:
    """Looks at servers, and at what else tells how a task ended."""

    def __init__(self, session: Session) -> None:
        """Ask nothing yet."""
        self._session = session

    def of(self, ref: str, asked: Asked, server: Row | None) -> TaskObservation | None:
        """Return the end of a task, ``None`` while it runs."""
        if server is None or server["status"] in DELETED:
            return _end_of_gone(ref, asked, shown=server is not None)
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
        ours = [each for each in moves if _moment(each["created_at"]) >= asked.earliest]
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


def _end_of_gone(ref: str, asked: Asked, *, shown: bool) -> TaskObservation | None:
    if asked.verb is Verb.DELETE:
        return TaskObservation(ref, TaskState.SUCCEEDED, machine_ref=asked.server)
    if asked.may_be_unseen and not shown:
        return None
    return TaskObservation(ref, TaskState.FAILED, error=NotFound("The machine is gone from OpenStack."))


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
