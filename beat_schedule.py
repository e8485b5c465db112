"""The periodic table: what runs, how often, on which queue, and when an unheard call is worth nothing any more.

Two runs at once do no harm: what a sweep hands out it hands out once.
"""

from datetime import timedelta

from vai_app.dispatch import ARCHIVE_EVENTS, BEGIN_COLLECTIONS, FOLLOW_LIFETIMES, SWEEP
from vai_app.settings import settings

_ARCHIVE_EVERY = timedelta(hours=1)

BEAT_SCHEDULE = {
    "publish again what has no live lease": {
        "task": SWEEP,
        "schedule": timedelta(seconds=settings().sweep_seconds),
        "options": {"expires": max(settings().sweep_seconds, 1.0)},
    },
    "warn of machines that expire, and remove those that did": {
        "task": FOLLOW_LIFETIMES,
        "schedule": timedelta(seconds=settings().lifetime_seconds),
        "options": {"expires": max(settings().lifetime_seconds, 1.0)},
    },
    "begin collections of statistics that are due": {
        "task": BEGIN_COLLECTIONS,
        "schedule": timedelta(seconds=settings().statistics_seconds),
        "options": {"expires": max(settings().statistics_seconds, 1.0)},
    },
    "move old events to the archive": {
        "task": ARCHIVE_EVENTS,
        "schedule": _ARCHIVE_EVERY,
        "options": {"expires": _ARCHIVE_EVERY.total_seconds()},
    },
}
