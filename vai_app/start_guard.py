"""The start guard: a worker that is connected and does not get ready tells where it stands, and ends.

Celery waits for some of the broker's answers without an end. Such a worker holds messages and runs none of them; its
supervisor starts a new one at once when it ends, and the messages go to that.
"""

import faulthandler
import logging
import os
import sys
from collections.abc import Callable
from threading import Event, Thread

from vai_app.domain.errors import ServiceUnavailable

log = logging.getLogger(__name__)

PATIENCE_SECONDS = 45.0
_LOOKS = 2  # one may come just after the broker did, which the worker has yet to notice


class StartGuard:
    """Watches one start."""

    def __init__(self, ping_broker: Callable[[], None], patience_seconds: float = PATIENCE_SECONDS) -> None:
        """``ping_broker`` raises ServiceUnavailable while the broker is away: then a worker is right to wait."""
        self._ping_broker = ping_broker
        self._patience_seconds = patience_seconds
        self._ready = Event()

    def begin(self) -> None:
        """The worker starts."""
        Thread(target=self._watch, name="start-guard", daemon=True).start()

    def end(self) -> None:
        """The worker is ready."""
        self._ready.set()

    def _watch(self) -> None:
        answered = 0
        while not self._ready.wait(self._patience_seconds):
            try:
                self._ping_broker()
            except ServiceUnavailable:
                answered = 0
                continue
            answered += 1
            if answered == _LOOKS and not self._ready.is_set():
                log.critical("The broker answers and the worker does not get ready. It ends, and can be started anew.")
                faulthandler.dump_traceback(sys.stderr, all_threads=True)
                os._exit(os.EX_SOFTWARE)
