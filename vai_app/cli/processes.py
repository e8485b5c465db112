"""VAI's own processes and their command lines: what ``vai up``, ``vai run``, containers and tests start."""

import sys

from vai_app.dispatch import CONTROL, PROVISION, REQUESTS
from vai_app.settings import Settings

API, WATCHER, BEAT, FLOWER = "api", "watcher", "beat", "flower"
REQUEST_WORKER, PROVISION_WORKER = "worker-requests", "worker-provision"

NODE_NAMES = {REQUEST_WORKER: "requests", PROVISION_WORKER: "provision"}
"""The workers' names in Celery, before ``@`` and the machine's name."""

_CELERY = (sys.executable, "-m", "celery", "-A", "vai_app.celery_app")
_REQUEST_THREADS = "8"


def command_lines(settings: Settings) -> dict[str, list[str]]:
    """Return the command of each process by name, in the order in which they are started."""
    worker = [*_CELERY, "worker", "--without-gossip", "--without-mingle", "--loglevel", settings.log_level]
    requests, provision = (f"{NODE_NAMES[name]}@%h" for name in (REQUEST_WORKER, PROVISION_WORKER))
    return {
        API: [sys.executable, "-m", "gunicorn", "-c", "python:vai_app.api.gunicorn_conf", "vai_app.api.wsgi:app"],
        REQUEST_WORKER: [*worker, "-n", requests, "-Q", f"{REQUESTS},{CONTROL}", "-c", _REQUEST_THREADS],
        PROVISION_WORKER: [*worker, "-n", provision, "-Q", PROVISION],
        WATCHER: [sys.executable, "-m", "vai_app.watcher"],
        BEAT: [*_CELERY, "beat", "--loglevel", "WARNING"],
        FLOWER: [*_CELERY, "flower", f"--address={settings.flower_host}", f"--port={settings.flower_port}"],
    }
