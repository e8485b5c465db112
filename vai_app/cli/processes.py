"""VAI's own processes and their command lines: what ``vai up``, ``vai run``, containers and tests start."""

import sys

from vai_app.dispatch import CONTROL, PROVISION, REQUESTS, STATS
from vai_app.settings import Settings

API, WATCHER, BEAT, FLOWER = "api", "watcher", "beat", "flower"
REQUEST_WORKER, PROVISION_WORKER, STATS_WORKER = "worker-requests", "worker-provision", "worker-stats"

NODE_NAMES = {REQUEST_WORKER: "requests", PROVISION_WORKER: "provision", STATS_WORKER: "stats"}
"""The workers' names in Celery, before ``@`` and the machine's name."""

_CELERY = (sys.executable, "-m", "celery", "-A", "vai_app.celery_app")
_REQUEST_THREADS = "8"
_STATS_THREADS = "8"  # each serves one datacenter


def command_lines(settings: Settings) -> dict[str, list[str]]:
    """Return the command of each process by name, in the order in which they are started."""
    worker = [*_CELERY, "worker", "--without-gossip", "--without-mingle", "--loglevel", settings.log_level]
    requests, provision, stats = (f"{name}@%h" for name in NODE_NAMES.values())
    return {
        API: [sys.executable, "-m", "gunicorn", "-c", "python:vai_app.api.gunicorn_conf", "vai_app.api.wsgi:app"],
        REQUEST_WORKER: [*worker, "-n", requests, "-Q", f"{REQUESTS},{CONTROL}", "-c", _REQUEST_THREADS],
        PROVISION_WORKER: [*worker, "-n", provision, "-Q", PROVISION],
        STATS_WORKER: [*worker, "-n", stats, "-Q", STATS, "-c", _STATS_THREADS],
        WATCHER: [sys.executable, "-m", "vai_app.watcher"],
        BEAT: [*_CELERY, "beat", "--loglevel", "WARNING"],
        FLOWER: [*_CELERY, "flower", f"--address={settings.flower_host}", f"--port={settings.flower_port}"],
    }
