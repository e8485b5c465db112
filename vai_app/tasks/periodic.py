"""What beat sends: see ``beat_schedule.py`` for how often."""

from datetime import timedelta

from celery import shared_task

from vai_app import dispatch
from vai_app.celery_app import services
from vai_app.tasks.steps import VaiTask


@shared_task(base=VaiTask, name=dispatch.SWEEP)
def sweep(**_: object) -> None:
    """Publish again what has no live lease."""
    services().workflow.sweep()


@shared_task(base=VaiTask, name=dispatch.FOLLOW_LIFETIMES)
def follow_lifetimes(**_: object) -> None:
    """Warn of machines that expire, and remove those that did."""
    services().lifetimes.follow()


@shared_task(base=VaiTask, name=dispatch.ARCHIVE_EVENTS)
def archive_events(**_: object) -> None:
    """Move old events to the archive."""
    retention = timedelta(days=services().settings.event_retention_days)
    services().reconciler.archive_events(retention)
