"""The consumer guard: a worker whose broker answers and that does not get to consume tells where it stands, and ends.

Celery waits for some of the broker's answers without an end, when it starts and each time it connects anew. Such a
worker may hold messages and runs none of them; its supervisor starts a new one at once when it ends, and the messages
go to that.
"""

import faulthandler
import logging
import os
import sys
from collections.abc import Callable
from threading import Event, Lock, Thread
from typing import Any

from celery import bootsteps
from celery.worker.consumer import Control, Events, Heart, Tasks

from vai_app.domain.errors import ServiceUnavailable

log = logging.getLogger(__name__)

PATIENCE_SECONDS = 45.0
_LOOKS = 2  # one may come just after the broker did, which the worker has yet to notice


class ConsumerGuard:
    """Watches a worker from the loss of its connection, or its start, until it consumes."""

    def __init__(self, ping_broker: Callable[[], None], patience_seconds: float = PATIENCE_SECONDS) -> None:
        """``ping_broker`` raises ServiceUnavailable while the broker is away: then a worker is right to wait."""
        self._ping_broker = ping_broker
        self._patience_seconds = patience_seconds
        self._lock = Lock()
        self._consumes: Event | None = None

    def begin(self) -> None:
        """The worker starts or connects anew. One that is watched for that goes on being watched."""
        with self._lock:
            if self._consumes is None:
                self._consumes = Event()
                Thread(target=self._watch, args=(self._consumes,), name="consumer-guard", daemon=True).start()

    def end(self) -> None:
        """The worker consumes."""
        with self._lock:
            if self._consumes is not None:
                self._consumes.set()
                self._consumes = None

    def _watch(self, consumes: Event) -> None:
        answered = 0
        while not consumes.wait(self._patience_seconds):
            try:
                self._ping_broker()
            except ServiceUnavailable:
                answered = 0
                continue
            answered += 1
            if answered == _LOOKS and not consumes.is_set():
                log.critical("The broker answers and the worker does not consume. It ends, and can be started anew.")
                faulthandler.dump_traceback(sys.stderr, all_threads=True)
                os._exit(os.EX_SOFTWARE)


def guarding(guard: ConsumerGuard) -> type[bootsteps.StartStopStep]:
    """Return the last step of a consumer's start, which tells the guard how far it is."""

    class Guarded(bootsteps.StartStopStep):  # type: ignore[misc]
        requires = (Events, Tasks, Control, Heart)

        def __init__(self, consumer: Any, **options: Any) -> None:
            super().__init__(consumer, **options)
            guard.begin()

        def start(self, _consumer: Any) -> None:
            guard.end()

        def stop(self, consumer: Any) -> None:
            if consumer.blueprint.state == bootsteps.RUN:  # else the worker is being shut down
                guard.begin()

    return Guarded
