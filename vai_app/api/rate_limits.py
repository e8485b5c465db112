"""Rate limits that all API processes share: counted in Redis, a share at a time, so that most requests ask nobody.

A process takes a twentieth of a limit from Redis at once and spends it by itself; a limit is never exceeded by that,
and may be refused early by at most what other processes have taken and not spent. Windows are aligned to the clock.
While Redis is away, each process allows its share of the limit (the limit divided by the number of processes) from
its own memory, and asks Redis again every few seconds.
"""

import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import Any

from limits import parse
from limits.errors import StorageError
from limits.storage import MemoryStorage, RedisStorage, Storage
from prometheus_client import Gauge

log = logging.getLogger(__name__)

_AWAY = Gauge("vai_rate_limits_away", "1 while Redis cannot be reached and each process counts by itself")
_MOST_KEYS = 10_000
_LEASES_PER_WINDOW = 20
_REDIS_SECONDS = 0.25
_AWAY_SECONDS = 5.0
_PREFIX = "vai:limits"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether one more request is allowed, and what the limit is: ``limit`` requests in ``period_seconds``."""

    allowed: bool
    limit: int
    period_seconds: int
    remaining: int
    reset_seconds: int


class SharedCounts:
    """Counts that expire, in Redis or, while it is away or none is configured, in this process."""

    def __init__(self, redis_url: str, processes: int) -> None:
        """``processes`` share what is allowed while each counts by itself. Connects at the first use."""
        self._memory: Storage = MemoryStorage()
        self._processes = processes
        self._away_until = 0.0
        self._redis: Storage | None = None
        if redis_url:
            timeouts: dict[str, Any] = {"socket_timeout": _REDIS_SECONDS, "socket_connect_timeout": _REDIS_SECONDS}
            self._redis = RedisStorage(redis_url, key_prefix=_PREFIX, wrap_exceptions=True, **timeouts)

    def take(self, key: str, *, wanted: int, limit: int, period_seconds: int) -> tuple[int, int]:
        """Take up to ``wanted`` of ``limit``. Returns how many were given, and how many are taken now."""
        taken = self._shared(lambda redis: redis.incr(key, period_seconds, amount=wanted))
        if taken is None:
            limit = max(1, limit // self._processes)
            taken = self._memory.incr(key, period_seconds, amount=wanted)
        return max(0, wanted - max(0, taken - limit)), min(taken, limit)

    def remember(self, key: str, period_seconds: int) -> None:
        """Let every process know ``key`` for a time."""
        if self._shared(lambda redis: redis.incr(key, period_seconds)) is None:
            self._memory.incr(key, period_seconds)

    def knows(self, key: str) -> bool:
        """Whether some process remembered ``key``."""
        found = self._shared(lambda redis: redis.get(key))
        return bool(self._memory.get(key) if found is None else found)

    def _shared(self, ask: Callable[[Storage], int]) -> int | None:
        """Ask Redis; ``None`` while it is away."""
        if self._redis is None or time.monotonic() < self._away_until:
            return None
        try:
            found = ask(self._redis)
        except StorageError as error:
            self._away_until = time.monotonic() + _AWAY_SECONDS
            _AWAY.set(1)
            log.warning("Redis cannot be reached; this process counts requests by itself. %s", type(error).__name__)
            return None
        _AWAY.set(0)
        return found


@dataclass(slots=True)
class _Window:
    number: int
    left: int = 0
    taken: int = 0
    exhausted: bool = False


class RateLimit:
    """One limit for many keys (tokens, addresses)."""

    def __init__(self, name: str, rate: str, counts: SharedCounts, clock: Callable[[], float] = time.time) -> None:
        """``rate`` is such as ``100/second`` or ``10 per 5 minutes``."""
        item = parse(rate)
        self.name = name
        self._limit, self._period = item.amount, item.get_expiry()
        self._lease = max(1, self._limit // _LEASES_PER_WINDOW)
        self._counts = counts
        self._clock = clock
        self._windows: OrderedDict[str, _Window] = OrderedDict()
        self._lock = Lock()

    @property
    def policy(self) -> str:
        """The limit as a RateLimit-Policy item (draft-ietf-httpapi-ratelimit-headers)."""
        return f'"{self.name}";q={self._limit};w={self._period}'

    def spend(self, key: str) -> Verdict:
        """Count a request and say whether it is allowed."""
        while True:
            # Told anew: who waited for Redis beyond the end of a window must not bring that window back.
            now = self._clock()
            with self._lock:
                window = self._window(key, now)
                if window.left:
                    window.left -= 1
                    return self._verdict(window, now, allowed=True)
                if window.exhausted:
                    return self._verdict(window, now, allowed=False)
            given, taken = self._counts.take(
                f"{self.name}:{key}:{window.number}",
                wanted=self._lease,
                limit=self._limit,
                period_seconds=self._period,
            )
            with self._lock:
                window.left += given
                window.taken = taken
                window.exhausted = not given

    def look(self, key: str) -> Verdict:
        """Say whether a request would be allowed, as far as this process knows; counts nothing."""
        now = self._clock()
        with self._lock:
            window = self._window(key, now)
            used_up = window.exhausted or (window.taken >= self._limit and not window.left)
            return self._verdict(window, now, allowed=not used_up)

    def _window(self, key: str, now: float) -> _Window:
        number = int(now // self._period)
        window = self._windows.get(key)
        if window is None or window.number != number:
            window = self._windows[key] = _Window(number)
            self._windows.move_to_end(key)
            if len(self._windows) > _MOST_KEYS:
                self._windows.popitem(last=False)
        return window

    def _verdict(self, window: _Window, now: float, *, allowed: bool) -> Verdict:
        remaining = self._limit - window.taken + window.left
        reset = int(self._period - now % self._period) + 1
        return Verdict(allowed, self._limit, self._period, max(0, remaining), min(reset, self._period))
