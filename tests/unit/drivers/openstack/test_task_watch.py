"""Following what Nova does: whoever may wait only briefly gets his look too, and no look asks more than a little."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from vai_app.domain.errors import CapacityShort, NotFound, ProviderError, ProviderUnavailable, VaiError
from vai_app.domain.hypervisor import NativeTask, TaskObservation, TaskState
from vai_app.drivers.openstack.asked import Asked, Verb, ask
from vai_app.drivers.openstack.mapping import HOST
from vai_app.drivers.openstack.tasks import TaskWatch

_LONG_AGO = datetime.now(UTC) - timedelta(hours=1)


class _Nova:
    """Stands for the session with a Nova that shows these servers, in its list and each by itself; counts calls."""

    def __init__(self) -> None:
        self.listed: dict[str, str] = {}
        self.kept: dict[str, str] = {}
        self.lists = 0
        self.since: list[str] = []
        self.looks: list[str] = []
        self.volumes: dict[str, dict[str, Any] | VaiError] = {}
        self.moves: list[dict[str, Any]] = []
        self.hosts: list[str] = []  # of each look, the last of all that follow

    def get(self, service: str, path: str, **query: str) -> dict[str, Any]:
        if path == "/os-migrations":
            assert query == {"instance_uuid": "server-1"}
            return {"migrations": self.moves}
        if service == "compute":
            return {"server": self._seen(path.removeprefix("/servers/"))}
        assert service == "block_storage"
        volume = self.volumes.get(path.removeprefix("/volumes/"), NotFound("OpenStack has no such object."))
        if isinstance(volume, VaiError):
            raise volume
        self.looks.append(path)
        return {"volume": volume}

    def pages(self, _service: str, path: str, key: str, **query: Any) -> Iterator[dict[str, Any]]:
        assert (path, key, list(query)) == ("/servers/detail", "servers", ["changes-since"])
        self.lists += 1
        self.since.append(query["changes-since"])
        return iter([_row(server, status) for server, status in self.listed.items()])

    def find(self, _service: str, path: str) -> dict[str, Any] | None:
        server = path.removeprefix("/servers/")
        self.looks.append(server)
        return {"server": self._seen(server)} if server in self.kept else None

    def _seen(self, server: str) -> dict[str, Any]:
        host = self.hosts.pop(0) if len(self.hosts) > 1 else "".join(self.hosts)
        return {**_row(server, self.kept[server]), HOST: host}


def _row(server: str, status: str) -> dict[str, Any]:
    return {"id": server, "status": status, "OS-EXT-STS:task_state": None, "metadata": {}}


def _watch(nova: Any) -> TaskWatch:
    return TaskWatch(nova)


def _deletions(count: int) -> list[str]:
    return [Asked(Verb.DELETE, f"server-{number}", _LONG_AGO, "").task().ref for number in range(count)]


def test_callers_who_wait_less_than_the_pause_between_looks_see_the_end() -> None:
    nova = _Nova()
    nova.kept["server-1"] = "BUILD"
    watch, ref = _watch(nova), ask(Verb.CREATE, "server-1", "ACTIVE").ref
    assert watch.wait([ref], timeout_seconds=0.1) == []
    nova.kept["server-1"] = "ACTIVE"

    waits = iter(range(20))
    while not (ended := watch.wait([ref], timeout_seconds=0.1)):
        next(waits)  # in vain, however often

    assert [(each.ref, each.state) for each in ended] == [(ref, TaskState.SUCCEEDED)]
    assert len(nova.looks) == 2


def test_many_tasks_are_followed_by_one_list_and_a_few_looks_at_what_it_does_not_show() -> None:
    nova = _Nova()
    nova.kept = {f"server-{number}": "ACTIVE" for number in range(40)}
    nova.listed = {f"server-{number}": "DELETED" for number in range(10)}
    refs = _deletions(40)

    ended = _watch(nova).wait(refs, timeout_seconds=0)

    assert nova.lists == 1
    assert len(nova.looks) == 3
    gone = {each.ref for each in ended if each.state is TaskState.SUCCEEDED}
    assert gone == set(refs[:10])  # of what it did not look at it says nothing


def test_the_list_goes_back_beyond_the_oldest_task_by_as_much_as_novas_clock_may_be_slow() -> None:
    nova, asked_at = _Nova(), datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
    times = [asked_at + timedelta(minutes=number) for number in range(4)]
    refs = [Asked(Verb.DELETE, f"server-{at.minute}", at, "").task().ref for at in times]
    _watch(nova).wait(refs, timeout_seconds=0)
    assert nova.since == ["2026-01-31T11:55:00Z"]


def test_a_new_server_that_nova_does_not_show_yet_is_waited_for() -> None:
    ref = ask(Verb.CREATE, "server-1", "ACTIVE").ref
    assert _watch(_Nova()).wait([ref], timeout_seconds=0) == []


@pytest.mark.parametrize(
    ("asked", "shown"),
    [
        (ask(Verb.CREATE, "server-1", "ACTIVE"), {"server-1": "SOFT_DELETED"}),
        (Asked(Verb.CREATE, "server-1", _LONG_AGO, "ACTIVE").task(), {}),
        (ask(Verb.POWER, "server-1", "ACTIVE"), {}),
    ],
    ids=["shown as deleted", "asked for long ago", "not new"],
)
def test_a_server_that_is_gone_has_no_other_end(asked: NativeTask, shown: dict[str, str]) -> None:
    nova = _Nova()
    nova.kept = shown
    (ended,) = _watch(nova).wait([asked.ref], timeout_seconds=0)
    assert (ended.state, type(ended.error)) == (TaskState.FAILED, NotFound)


def test_what_nova_has_forgotten_is_noticed_in_the_end() -> None:
    refs = _deletions(12)
    watch, open_refs, looks = _watch(_Nova()), set(refs), iter(range(200))
    while open_refs:
        next(looks)
        open_refs -= {each.ref for each in watch.wait(open_refs, timeout_seconds=0)}


def test_a_volume_is_followed_until_it_has_its_size_by_one_look_each_time() -> None:
    nova = _Nova()
    nova.kept["server-1"] = "SHUTOFF"
    watch, ref = _watch(nova), ask(Verb.EXTEND, "server-1", "v1:9").ref
    nova.volumes["v1"] = {"status": "extending", "size": 7}
    assert watch.wait([ref], timeout_seconds=0) == []
    assert nova.looks == ["server-1", "/volumes/v1"]
    nova.volumes["v1"] = {"status": "in-use", "size": 9}
    assert [each.state for each in watch.wait([ref], timeout_seconds=0)] == [TaskState.SUCCEEDED]
    for failed in ({"status": "error_extending", "size": 7}, {"status": "in-use", "size": 7}):
        nova.volumes["v1"] = failed
        (ended,) = watch.wait([ref], timeout_seconds=0)
        assert isinstance(ended.error, ProviderError)


def test_a_volume_that_cannot_be_seen_hides_the_end_of_no_other_task() -> None:
    nova = _Nova()
    nova.kept = {"server-1": "SHUTOFF", "server-2": "ACTIVE"}
    growing, made = ask(Verb.EXTEND, "server-1", "v1:9").ref, ask(Verb.CREATE, "server-2", "ACTIVE").ref
    nova.volumes["v1"] = ProviderUnavailable("Cinder is away.")
    ended = _watch(nova).wait([growing, made], timeout_seconds=0)
    assert [(each.ref, each.state) for each in ended] == [(made, TaskState.SUCCEEDED)]
    del nova.volumes["v1"]
    errors = {each.ref: each.error for each in _watch(nova).wait([growing, made], timeout_seconds=0)}
    assert isinstance(errors[growing], NotFound)
    assert errors[made] is None


def _move(number: int, status: str, *, age: timedelta = timedelta(0)) -> dict[str, Any]:
    """Return what Nova keeps of a move; it tells times in UTC without saying so."""
    created_at = (datetime.now(UTC) - age).replace(tzinfo=None).isoformat()
    return {"id": number, "status": status, "created_at": created_at}


def _look_at_move(hosts: list[str], moves: list[dict[str, Any]]) -> list[TaskObservation]:
    nova = _Nova()
    nova.kept["server-1"] = "ACTIVE"
    nova.hosts, nova.moves = hosts, moves
    return _watch(nova).wait([ask(Verb.MIGRATE, "server-1", "new").ref], timeout_seconds=0)


def test_a_server_that_rests_before_nova_wrote_down_its_host_is_still_on_its_way() -> None:
    for status in ("accepted", "pre-migrating", "running"):
        assert _look_at_move(["old"], [_move(2, status), _move(1, "error")]) == []


def test_a_move_that_ended_after_its_server_was_looked_at_is_looked_at_again() -> None:
    for status in ("done", "completed", "finished", "confirmed"):
        (ended,) = _look_at_move(["old", "new"], [_move(1, status)])
        assert (ended.state, ended.error) == (TaskState.SUCCEEDED, None)


def test_a_server_that_rests_elsewhere_when_its_move_is_over_did_not_move() -> None:
    long_ago = timedelta(hours=1)
    for moves in (
        [_move(2, "error"), _move(1, "done")],
        [_move(1, "failed")],
        [_move(1, "done")],  # and somebody moved it on
        [_move(1, "running", age=long_ago)],  # another's, which Nova lost
        [],
    ):
        (ended,) = _look_at_move(["old"], moves)
        assert isinstance(ended.error, CapacityShort)


def test_a_server_on_the_host_that_was_asked_for_has_moved_whatever_is_written_of_it() -> None:
    (ended,) = _look_at_move(["new"], [_move(1, "running")])
    assert ended.state is TaskState.SUCCEEDED
