"""What beat sends: see ``beat_schedule.py`` for how often."""

from datetime import timedelta

from celery import shared_task

from vai_app import dispatch
from vai_app.celery_app import services
from vai_app.tasks.steps import VaiTask

# A collection that nobody began by then is overtaken by the next.
_WORTH_SECONDS = 60.0


@shared_task(base=VaiTask, name=dispatch.SWEEP)
def sweep(**_: object) -> None:
    """Publish again what has no live lease."""
    services().workflow.sweep()


@shared_task(base=VaiTask, name=dispatch.FOLLOW_LIFETIMES)
def follow_lifetimes(**_: object) -> None:
    """Warn of machines that expire, and remove those that did."""
    services().lifetimes.follow()


@shared_task(base=VaiTask, name=dispatch.BEGIN_COLLECTIONS)
def begin_collections(**_: object) -> None:
    """Let the statistics of each datacenter whose turn it is be collected, side by side."""
    for datacenter_id in services().stats_collector.take_due():
        collect_statistics.apply_async((datacenter_id,), expires=_WORTH_SECONDS)


@shared_task(base=VaiTask, name=dispatch.COLLECT_STATISTICS)
def collect_statistics(datacenter_id: str, **_: object) -> None:
    """Read what the machines of a datacenter use."""
    services().stats_collector.collect(datacenter_id)


@shared_task(base=VaiTask, name=dispatch.ARCHIVE_EVENTS)
def archive_events(**_: object) -> None:
    """Move old events to the archive."""
    retention = timedelta(days=services().settings.event_retention_days)
    services().reconciler.archive_events(retention)
