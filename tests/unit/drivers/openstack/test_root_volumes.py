"""What the disks of servers on volumes cost to be seen, and what becomes of a Cinder that does not answer."""

from typing import Any, cast

import pytest

from vai_app.domain.errors import NotFound, ProviderError, ProviderForbidden, ProviderUnavailable, VaiError
from vai_app.drivers.openstack.session import Session
from vai_app.drivers.openstack.volumes import RootVolumes

Row = dict[str, Any]


class Cinder:
    """Volumes by id, and what was asked."""

    def __init__(self, *volumes: Row, error: VaiError | None = None) -> None:
        self.asked: list[str] = []
        self._volumes = {each["id"]: each for each in volumes}
        self._error = error

    def find(self, _service: str, path: str) -> Row | None:
        self._hear(path)
        volume = self._volumes.get(path.rpartition("/")[2])
        return {"volume": volume} if volume else None

    def pages(self, _service: str, path: str, _key: str) -> list[Row]:
        self._hear(path)
        return list(self._volumes.values())

    def post(self, _service: str, path: str, body: Row) -> Row:
        self._hear(f"{path} {body['os-extend']['new_size']}")
        return {}

    def get(self, _service: str, path: str) -> Row:
        self._hear(path)
        return {"min_disk": 0, "size": 5, "virtual_size": 3 * 2**30 + 1}

    def _hear(self, asked: str) -> None:
        self.asked.append(asked)
        if self._error is not None:
            raise self._error


def a_volume(number: int, *, status: str = "in-use", bootable: str = "true") -> Row:
    return {"id": f"v{number}", "size": number, "bootable": bootable, "status": status}


def a_server(number: int, *volumes: str, image: Any = "") -> Row:
    return {"id": f"s{number}", "image": image, "os-extended-volumes:volumes_attached": [{"id": v} for v in volumes]}


def volumes_of(cinder: Cinder) -> RootVolumes:
    return RootVolumes(cast("Session", cinder))


def test_servers_that_boot_from_images_cost_no_call() -> None:
    cinder = Cinder(a_volume(1))
    assert volumes_of(cinder).sizes([a_server(1, "v1", image={"id": "i"})]) == {}
    assert cinder.asked == []


def test_a_few_are_looked_at_and_many_are_listed_once() -> None:
    few, many = Cinder(*map(a_volume, range(1, 4))), Cinder(*map(a_volume, range(1, 50)))
    assert volumes_of(few).sizes(a_server(n, f"v{n}") for n in range(1, 4)) == {"s1": 1, "s2": 2, "s3": 3}
    assert sorted(few.asked) == ["/volumes/v1", "/volumes/v2", "/volumes/v3"]
    assert volumes_of(many).sizes(a_server(n, f"v{n}") for n in range(1, 50)) == {f"s{n}": n for n in range(1, 50)}
    assert many.asked == ["/volumes/detail"]


def test_of_several_volumes_the_one_that_boots_counts() -> None:
    cinder = Cinder(a_volume(1, bootable="false"), a_volume(2))
    assert volumes_of(cinder).sizes([a_server(1, "v1", "v2")]) == {"s1": 2}
    assert volumes_of(cinder).sizes([a_server(1, "v1", "gone")]) == {}


@pytest.mark.parametrize("error", [ProviderForbidden("No right."), ProviderError("No such service.")])
def test_what_an_account_may_not_see_is_left_out(error: VaiError) -> None:
    assert volumes_of(Cinder(error=error)).sizes([a_server(1, "v1")]) == {}


def test_a_cinder_that_is_away_is_waited_for() -> None:
    with pytest.raises(ProviderUnavailable):
        volumes_of(Cinder(error=ProviderUnavailable("Later."))).sizes([a_server(1, "v1")])


def test_a_volume_is_asked_to_grow_once() -> None:
    cinder = Cinder(a_volume(3))
    assert volumes_of(cinder).grow(a_server(1, "v3"), 5) == "v3:5"
    growing = Cinder(a_volume(3, status="extending"))
    assert volumes_of(growing).grow(a_server(1, "v3"), 5) == "v3:5"
    assert (cinder.asked[1:], growing.asked[1:]) == (["/volumes/v3/action 5"], [])
    with pytest.raises(NotFound, match="boots from"):
        volumes_of(Cinder()).grow(a_server(1, "v3"), 5)


def test_a_disk_without_a_size_holds_the_whole_image() -> None:
    assert volumes_of(Cinder()).wanted("i", 0)["volume_size"] == 4
    assert volumes_of(Cinder()).wanted("i", 9)["volume_size"] == 9
