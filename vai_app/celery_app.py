"""The Celery application of the workers and of beat, and the services of this process.

``celery -A vai_app.celery_app worker|beat|flower|call|inspect|control``
"""

from threading import Lock

from celery import Celery
from celery.signals import worker_process_shutdown, worker_shutdown

from vai_app.bootstrap import Services, build_services
from vai_app.consumer_guard import ConsumerGuard, guarding
from vai_app.dispatch import CeleryDispatcher
from vai_app.memory import keep_what_is_loaded
from vai_app.settings import settings
from vai_app.telemetry import scrubbing

scrubbing.install()

app = Celery("vai", config_source="celeryconfig")
app.autodiscover_tasks(["vai_app"])
app.steps["consumer"].add(guarding(ConsumerGuard(lambda: CeleryDispatcher(app).ping())))

_lock = Lock()
_services: list[Services] = []


def services() -> Services:
    """Return this process's services, built by the first task that asks: never at import, never before a fork."""
    with _lock:
        if not _services:
            _services.append(build_services(settings()))
            keep_what_is_loaded()
        return _services[0]


@worker_shutdown.connect
@worker_process_shutdown.connect
def close_services(**_: object) -> None:
    """Log out of every datacenter and close the connections."""
    with _lock:
        while _services:
            _services.pop().close()
