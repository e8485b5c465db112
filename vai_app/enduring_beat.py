"""Beat's scheduler: RedBeat's, that goes on when RabbitMQ or Redis comes back and waits when another beat leads.

RedBeat's own ends with its lock: a broker that is away for longer than the lock lives, or a Redis that forgets it,
ends beat, and nothing is swept until somebody starts it again.
"""

import logging
from types import SimpleNamespace
from typing import Any

from celery.beat import SchedulingError
from kombu.exceptions import OperationalError
from redbeat.schedulers import RedBeatScheduler, acquire_distributed_beat_lock
from redis.exceptions import RedisError

log = logging.getLogger(__name__)


class EnduringScheduler(RedBeatScheduler):  # type: ignore[misc]
    """Sends what is due while it holds the lock; without the lock it waits for it as at its start."""

    def tick(self, *args: Any, **kwargs: Any) -> float:
        """Send what is due; the seconds until the next tick."""
        try:
            if self.lock is None or not self.lock.owned():
                log.warning("This beat does not hold the lock, and waits for it.")
                acquire_distributed_beat_lock(SimpleNamespace(scheduler=self))
            return float(super().tick(*args, **kwargs))
        except (
            RedisError,
            OperationalError,
            OSError,
            *self.connection.connection_errors,
            *self.connection.channel_errors,
        ) as error:
            log.warning("Beat goes on in %g s: %s", self.max_interval, error)
            return float(self.max_interval)

    def apply_async(self, entry: Any, **options: Any) -> Any:
        """Send one task. What cannot be sent is told in a line, and comes again when it is due again."""
        try:
            return super().apply_async(entry, **options)
        except SchedulingError as error:
            log.warning("%s", error)
            return None

    def _ensure_connected(self) -> Any:
        """Try to connect once: the next tick tries again, and holds the lock meanwhile."""
        return self.connection.ensure_connection(max_retries=1, timeout=self.connection.connect_timeout)
