"""Servers whose disks are volumes: Cinder keeps them, Nova makes them with the server and removes them with it."""

from collections.abc import Iterable, Mapping

from vai_app.domain.errors import NotFound, VaiError
from vai_app.drivers.openstack.mapping import Row
from vai_app.drivers.openstack.session import Session

IN_USE, GROWING = "in-use", "extending"
_ATTACHED = "os-extended-volumes:volumes_attached"
_BYTES_PER_GIB = 1 << 30
_FEW = 3


def is_on_volume(server: Row) -> bool:
    """Whether a server boots from a volume: then Nova names no image."""
    return not server.get("image")


class RootVolumes:
    """The volumes that servers boot from."""

    def __init__(self, session: Session) -> None:
        """Ask nothing yet."""
        self._session = session

    def verify(self) -> None:
        """Prove that there is a Cinder. Raises VaiError."""
        self._session.get("block_storage", "/limits")

    def wanted(self, image: str, disk_gib: int) -> Row:
        """Return the order for the volume of a new server; one of size 0 is as large as the image."""
        return {
            "boot_index": 0,
            "uuid": image,
            "source_type": "image",
            "destination_type": "volume",
            "volume_size": disk_gib or self._size_of_image(image),
            "delete_on_termination": True,
        }

    def grow(self, server: Row, disk_gib: int) -> str:
        """Ask for the volume that a server boots from to be extended, unless it is being; return it with its size."""
        ids = {each["id"] for each in server.get(_ATTACHED, ())}
        volume = next((row for row in self._volumes(ids) if row["bootable"] == "true"), None)
        if volume is None:
            raise NotFound("The volume that the machine boots from is not to be seen in Cinder.")
        if volume["status"] != GROWING:
            self._session.post(
                "block_storage", f"/volumes/{volume['id']}/action", {"os-extend": {"new_size": disk_gib}}
            )
        return f"{volume['id']}:{disk_gib}"

    def sizes(self, servers: Iterable[Row]) -> Mapping[str, int]:
        """Return the GiB of the volume that each of the servers boots from, by its id; without those that do not.

        One list for many servers, a look at each volume of a few. Nothing where the account may not see volumes.
        """
        attached = {row["id"]: {each["id"] for each in row.get(_ATTACHED, ())} for row in servers if is_on_volume(row)}
        if not attached:
            return {}
        try:
            volumes = self._volumes(set().union(*attached.values())) if len(attached) <= _FEW else self._all()
        except VaiError as error:
            if error.retryable:
                raise
            return {}
        bootable = {row["id"]: int(row["size"]) for row in volumes if row["bootable"] == "true"}
        return {server: size for server, ids in attached.items() for volume, size in bootable.items() if volume in ids}

    def _volumes(self, ids: Iterable[str]) -> list[Row]:
        answers = [self._session.find("block_storage", f"/volumes/{each}") for each in ids]
        return [answer["volume"] for answer in answers if answer is not None]

    def _all(self) -> list[Row]:
        return list(self._session.pages("block_storage", "/volumes/detail", "volumes"))

    def _size_of_image(self, image: str) -> int:
        row = self._session.get("image", f"/images/{image}")
        content_gib = -(-int(row.get("virtual_size") or row.get("size") or 0) // _BYTES_PER_GIB)
        return max(int(row.get("min_disk") or 0), content_gib, 1)
