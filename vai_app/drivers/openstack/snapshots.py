"""Snapshots, which are images that Nova makes of servers and Glance keeps, also when the server is gone."""

from datetime import datetime

from vai_app.domain.errors import NotFound
from vai_app.domain.snapshots import SnapshotObservation
from vai_app.domain.virtual_machines import Making, Mark
from vai_app.drivers.openstack.mapping import Row, is_busy, mark_in, marking
from vai_app.drivers.openstack.session import Session

ACTIVE = "active"
_OF_SERVER = "instance_uuid"  # written by Nova


def is_snapshot(image: Row) -> bool:
    """Whether VAI took it: such an image may have any name, and goes with its machine."""
    return mark_in(image) is not None


class ServerSnapshots:
    """The images that were made of servers."""

    def __init__(self, session: Session) -> None:
        """Ask nothing yet."""
        self._session = session

    def take(self, server: str, name: str, mark: Mark) -> str:
        """Ask Nova for an image of a server, and return its id."""
        image = {"name": name, "metadata": marking(mark)}
        answer = self._session.post("compute", f"/servers/{server}/action", {"createImage": image})
        return str(answer["image_id"])

    def of(self, server: str) -> list[SnapshotObservation]:
        """Return the images of a server; one that Nova does not work on any more and has not finished has failed."""
        rows = list(self._session.pages("image", "/images", "images", **{_OF_SERVER: server, "sort": "created_at:asc"}))
        unfinished = Making.MADE
        if any(row["status"] != ACTIVE for row in rows):
            found = self._session.find("compute", f"/servers/{server}")
            unfinished = Making.UNDER_WAY if found is not None and is_busy(found["server"]) else Making.FAILED
        return [_observation_of(row, unfinished) for row in rows]

    def require(self, server: str, image: str) -> None:
        """Raise NotFound for an image that is none of the server's, or is not there."""
        found = self._session.find("image", f"/images/{image}")
        if found is None or found.get(_OF_SERVER) != server:
            raise NotFound(f"The machine has no snapshot {image} in OpenStack.")

    def delete(self, image: str) -> None:
        """Remove an image; one that is not there is removed."""
        try:
            self._session.delete("image", f"/images/{image}")
        except NotFound:
            return


def _observation_of(image: Row, unfinished: Making) -> SnapshotObservation:
    return SnapshotObservation(
        ref=image["id"],
        name=image["name"] or image["id"],
        taken_at=datetime.fromisoformat(image["created_at"]),
        mark=mark_in(image),
        making=Making.MADE if image["status"] == ACTIVE else unfinished,
    )
