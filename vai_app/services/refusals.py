"""The record of refusals: who was refused what, as events, few enough that a flood of requests is none of events."""

import logging
from dataclasses import dataclass
from threading import Event as Signal
from threading import Lock, Thread

from prometheus_client import Counter

from vai_app.domain.errors import VaiError
from vai_app.domain.events import Event
from vai_app.domain.identifiers import new_id
from vai_app.domain.ports.clock import Clock
from vai_app.domain.ports.events import EventRepository

log = logging.getLogger(__name__)

KIND = "request.refused"
MOST_AT_ONCE = 16
_REFUSALS = Counter("vai_refused_requests", "Requests refused", ["problem"])
_INTERVAL_SECONDS = 5.0
_LEVEL = 3


@dataclass(frozen=True, slots=True)
class Refusal:
    """What was refused to whom. ``route`` is the pattern of the address, never what a stranger wrote into it."""

    problem: str
    actor: str
    address: str
    method: str
    route: str
    tenant: str | None = None


_OTHERS = Refusal("several", "several", "several", "several", "several")


class RefusalLog:
    """Counts equal refusals and writes one event for each kind of them, at most ``MOST_AT_ONCE`` + 1 every 5 s."""

    def __init__(self, *, events: EventRepository, clock: Clock, interval_seconds: float = _INTERVAL_SECONDS) -> None:
        """Start nothing until the first refusal: the process may still fork."""
        self._events = events
        self._clock = clock
        self._interval_seconds = interval_seconds
        self._counted: dict[Refusal, tuple[int, str]] = {}
        self._lock = Lock()
        self._closing = Signal()
        self._writer: Thread | None = None

    def record(self, refusal: Refusal, correlation_id: str) -> None:
        """Count a refusal. Never waits, never fails."""
        _REFUSALS.labels(refusal.problem.partition(":")[0]).inc()
        with self._lock:
            if refusal not in self._counted and len(self._counted) >= MOST_AT_ONCE:
                refusal = _OTHERS
            count, first = self._counted.get(refusal, (0, correlation_id))
            self._counted[refusal] = (count + 1, first)
            if self._writer is None and not self._closing.is_set():
                self._writer = Thread(target=self._keep_writing, name="refusals", daemon=True)
                self._writer.start()

    def write(self) -> None:
        """Write what was counted since the last time; what cannot be written is logged."""
        with self._lock:
            counted, self._counted = self._counted, {}
        for refusal, (count, correlation_id) in counted.items():
            event = self._event(refusal, count, correlation_id)
            try:
                self._events.append(event)
            except VaiError as error:
                log.warning("An event is lost: %s %s", event.message, error.detail)

    def close(self) -> None:
        """Write the rest."""
        self._closing.set()
        if self._writer is not None:
            self._writer.join()
        self.write()

    def _keep_writing(self) -> None:
        while not self._closing.wait(self._interval_seconds):
            self.write()

    def _event(self, refusal: Refusal, count: int, correlation_id: str) -> Event:
        now = self._clock()
        times = "" if count == 1 else f" {count} times"
        return Event(
            id=new_id("ev", now),
            at=now,
            kind=KIND,
            outcome="rejected",
            message=f"{refusal.method} {refusal.route} from {refusal.address} was refused{times}: {refusal.problem}.",
            actor=refusal.actor,
            correlation_id=correlation_id,
            tenant=refusal.tenant,
            level=_LEVEL,
            data={
                "problem": refusal.problem,
                "address": refusal.address,
                "method": refusal.method,
                "route": refusal.route,
                "count": str(count),
            },
        )
