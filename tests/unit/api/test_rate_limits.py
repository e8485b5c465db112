"""Rate limits: exact over all processes while Redis answers, divided among them while it does not."""

from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from tests.lab.ports import free_port
from tests.lab.process import wait_until
from tests.lab.valkey import Valkey
from vai_app.api import rate_limits
from vai_app.api.json_depth import is_deeper
from vai_app.api.rate_limits import RateLimit, SharedCounts


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    server = Valkey(tmp_path_factory.mktemp("limits"))
    server.start()
    yield server
    server.kill()


def _allowed(limit: RateLimit, key: str, asked: int) -> int:
    return sum(limit.spend(key).allowed for _ in range(asked))


@pytest.mark.parametrize("rate", ["1/second", "7/second", "100/second", "1000/minute"])
def test_exactly_the_limit_is_allowed_in_a_window_and_again_in_the_next(rate: str, clock: Clock) -> None:
    limit = RateLimit("token", rate, SharedCounts("", 1), clock)
    amount = int(rate.partition("/")[0])
    assert _allowed(limit, "a", amount + 50) == amount
    clock.now += 60
    assert _allowed(limit, "a", amount + 50) == amount


class SlowCounts(SharedCounts):
    """Redis that answers one question only in the next window, while others are served."""

    def __init__(self, clock: Clock) -> None:
        super().__init__("", 1)
        self.clock = clock
        self.meanwhile: Callable[[], object] | None = None
        self.taken: Counter[str] = Counter()

    def take(self, key: str, *, wanted: int, limit: int, period_seconds: int) -> tuple[int, int]:
        self.taken[key] += 1
        given = super().take(key, wanted=wanted, limit=limit, period_seconds=period_seconds)
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            self.clock.now += 1
            meanwhile()
        return given


def test_who_waits_for_redis_beyond_a_window_does_not_bring_it_back(clock: Clock) -> None:
    counts = SlowCounts(clock)
    limit = RateLimit("token", "100/second", counts, clock)
    counts.meanwhile = lambda: limit.spend("a")
    assert limit.spend("a").allowed
    assert limit.spend("a").allowed
    # One share of the window that has ended, and one of the window that all three requests were served in.
    assert list(counts.taken.values()) == [1, 1]


def test_keys_do_not_share_a_limit(clock: Clock) -> None:
    limit = RateLimit("token", "3/minute", SharedCounts("", 1), clock)
    assert (_allowed(limit, "a", 9), _allowed(limit, "b", 2), _allowed(limit, "b", 9)) == (3, 2, 1)


def test_a_verdict_tells_what_remains_and_when_it_is_whole_again(clock: Clock) -> None:
    limit = RateLimit("token", "5/minute", SharedCounts("", 1), clock)
    clock.now = 120.0 + 15.0
    told = [limit.spend("a") for _ in range(6)]
    assert [each.remaining for each in told] == [4, 3, 2, 1, 0, 0]
    assert [each.allowed for each in told] == [True] * 5 + [False]
    assert {each.reset_seconds for each in told} == {46}


def test_looking_counts_nothing(clock: Clock) -> None:
    limit = RateLimit("wrong-tokens", "2/minute", SharedCounts("", 1), clock)
    assert all(limit.look("a").allowed for _ in range(9))
    assert _allowed(limit, "a", 2) == 2
    assert not limit.look("a").allowed


@pytest.mark.parametrize("rate", ["40/minute", "400/minute"])
def test_processes_share_a_limit_and_none_exceeds_it(valkey: Valkey, clock: Clock, rate: str) -> None:
    limits = [RateLimit("token", rate, SharedCounts(valkey.url, 3), clock) for _ in range(3)]
    amount = int(rate.partition("/")[0])
    allowed = [limits[number % 3].spend("a").allowed for number in range(amount * 2)]
    assert sum(allowed) == amount


def test_without_redis_each_process_allows_its_part_and_redis_is_used_again_when_it_answers(
    valkey: Valkey, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rate_limits, "_AWAY_SECONDS", 0.2)
    limits = [RateLimit("token", "40/minute", SharedCounts(valkey.url, 4), clock) for _ in range(2)]
    assert sum(_allowed(limit, "a", 30) for limit in limits) == 40
    valkey.kill()
    clock.now += 60
    assert [_allowed(limit, "a", 30) for limit in limits] == [10, 10]
    valkey.start()

    def agreed() -> bool:
        clock.now += 60
        return sum(_allowed(limit, "a", 40) for limit in limits) == 40

    wait_until(agreed, seconds=30, what="both processes count in Redis again")


def test_redis_that_never_was_there_delays_no_request_for_long(clock: Clock) -> None:
    limit = RateLimit("token", "100/minute", SharedCounts(f"redis://127.0.0.1:{free_port()}/0", 2), clock)
    assert _allowed(limit, "a", 200) == 50


def test_only_so_many_keys_are_kept(clock: Clock) -> None:
    limit = RateLimit("token", "100/minute", SharedCounts("", 1), clock)
    for number in range(rate_limits._MOST_KEYS + 100):
        limit.look(str(number))
    assert len(limit._windows) == rate_limits._MOST_KEYS


@pytest.mark.parametrize(
    ("text", "deeper"),
    [
        (b"[" * 32 + b"]" * 32, False),
        (b"[" * 33 + b"]" * 33, True),
        (b'{"a":' * 33 + b"1" + b"}" * 33, True),
        (b"[" + b"[]," * 100 + b"[]]", False),
        (b'["' + b"[" * 100 + b'"]', False),
        (b'["\\"' + b"[" * 100 + b'"]', False),
        (b'["\\\\"' + b"[" * 100, True),
        (b"", False),
    ],
)
def test_depth_is_told_without_reading_what_strings_hold(text: bytes, deeper: bool) -> None:
    assert is_deeper(text, 32) is deeper
