"""The gate of one datacenter in one process: a share of calls at once, and a circuit breaker.

A datacenter that hangs must not take the threads that serve the others. Its share bounds how many it can take;
a caller waits for a place only as long as calls come back quickly; after a few failures in a row nobody calls
for a while, and then one caller tries.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Condition
from time import monotonic

from vai_app.domain.errors import ProviderBusy, ProviderTimeout, ProviderUnavailable

FAILURES_TO_OPEN = 3
OPEN_SECONDS = 15.0
SLOW_SECONDS = 2.0


@dataclass
class Gate:
    """Share and breaker. ``share`` is a number of calls; ``clock`` counts seconds and never goes back."""

    name: str
    share: int
    clock: Callable[[], float] = monotonic
    _changed: Condition = field(default_factory=Condition)
    _started: dict[int, float] = field(default_factory=dict)
    _next_call: int = 0
    _failures: int = 0
    _open_until: float = 0.0

    @contextmanager
    def call(self) -> Iterator[None]:
        """Hold a place for the length of the block. Raises ProviderBusy or ProviderUnavailable without calling."""
        ticket = self._enter()
        try:
            yield
        except (ProviderUnavailable, ProviderTimeout):
            self._leave(ticket, failed=True)
            raise
        except BaseException:
            self._leave(ticket, failed=False)
            raise
        self._leave(ticket, failed=False)

    @property
    def open(self) -> bool:
        """Whether calls are refused now."""
        return self._failures >= FAILURES_TO_OPEN and self.clock() < self._open_until

    def _enter(self) -> int:
        with self._changed:
            while True:
                self._refuse_while_open()
                if len(self._started) < self.share:
                    break
                patience = SLOW_SECONDS - (self.clock() - min(self._started.values()))
                if patience <= 0:
                    message = f"{self.name} is slow and {self.share} calls to it are under way already."
                    raise ProviderBusy(message)
                self._changed.wait(patience)
            self._next_call += 1
            self._started[self._next_call] = self.clock()
            return self._next_call

    def _refuse_while_open(self) -> None:
        if self._failures < FAILURES_TO_OPEN:
            return
        now = self.clock()
        if now < self._open_until:
            message = (
                f"{self.name} failed {self._failures} times in a row; "
                f"it is asked again in {self._open_until - now:.0f} s."
            )
            raise ProviderUnavailable(message)
        # One caller tries; the others go on being refused until its answer is known.
        self._open_until = now + OPEN_SECONDS

    def _leave(self, ticket: int, *, failed: bool) -> None:
        with self._changed:
            del self._started[ticket]
            if failed:
                self._failures += 1
                self._open_until = self.clock() + OPEN_SECONDS
            else:
                self._failures = 0
            self._changed.notify_all()
