"""``vai run`` and ``vai probe``: one process of VAI, as a container or a service manager starts it and asks after it.

What only a probe needs is imported there: it takes a second, which ``vai run`` saves.
"""

import os
from collections.abc import Callable, Mapping
from typing import Annotated

import typer

from vai_app.cli.context import explained
from vai_app.cli.output import console
from vai_app.cli.processes import API, BEAT, FLOWER, NODE_NAMES, WATCHER, command_lines
from vai_app.domain.errors import InvalidRequest, ServiceUnavailable
from vai_app.settings import Settings, at_home, settings

app = typer.Typer()

Name = Annotated[str, typer.Argument(help=f"{', '.join((API, *NODE_NAMES, WATCHER, BEAT))} or {FLOWER}.")]
_PATIENCE_SECONDS = 5.0


@app.command("run")
def run(process: Name) -> None:
    """Become one process of VAI, on the configured servers; 'vai up' starts them all."""
    with explained():
        command = _command_of(process, settings())
    os.execv(command[0], command)  # noqa: S606 - our own command, and no shell to tell


@app.command("probe")
def probe(process: Name) -> None:
    """Say whether a process of VAI on this machine does its work; for health checks."""
    with explained():
        _command_of(process, settings())
        _PROBES.get(process, _probe_worker)(process, settings())
    console.print(f"{process} is well.")


def _command_of(process: str, configured: Settings) -> list[str]:
    commands = command_lines(configured)
    if process not in commands:
        raise InvalidRequest(f"VAI has no process {process!r}. There are: {', '.join(commands)}.")
    return commands[process]


def _probe_api(_: str, configured: Settings) -> None:
    _fetch(f"{configured.local_api_url}/readyz", "VAI_API_PORT")


def _probe_flower(_: str, configured: Settings) -> None:
    _fetch(f"http://{at_home(configured.flower_host)}:{configured.flower_port}/healthcheck", "VAI_FLOWER_PORT")


def _probe_worker(process: str, _: Settings) -> None:
    """Ask the worker over the broker, as ``celery inspect ping`` does."""
    from celery import Celery  # noqa: PLC0415 - see above
    from celery.utils.nodenames import gethostname, nodename  # noqa: PLC0415 - see above
    from kombu.exceptions import OperationalError  # noqa: PLC0415 - see above

    node = nodename(NODE_NAMES[process], gethostname())
    app_of_probe = Celery("vai", config_source="celeryconfig", set_as_current=False)
    try:
        answers = app_of_probe.control.ping(destination=[node], timeout=_PATIENCE_SECONDS, limit=1)
    except (OperationalError, OSError) as error:
        raise ServiceUnavailable("The broker cannot be reached. Check VAI_BROKER_URL.") from error
    if not answers:
        raise ServiceUnavailable(f"The worker {node} does not answer. See its log.")


def _probe_watcher(_: str, configured: Settings) -> None:
    """It has no door to knock at; it works while it can reach the database, and ends when it cannot go on."""
    from vai_app.bootstrap import build_services  # noqa: PLC0415 - see above

    services = build_services(configured)
    try:
        services.store.ping()
    finally:
        services.close()


def _probe_beat(_: str, configured: Settings) -> None:
    """Whoever is the one active beat renews a lock in Redis."""
    import redis  # noqa: PLC0415 - see above
    from redbeat.schedulers import RedBeatConfig  # noqa: PLC0415 - see above

    from vai_app.celery_app import app as celery_app  # noqa: PLC0415 - see above

    try:
        locked = redis.Redis.from_url(configured.redis_url.get_secret_value(), socket_timeout=_PATIENCE_SECONDS).exists(
            RedBeatConfig(celery_app).lock_key
        )
    except redis.RedisError as error:
        raise ServiceUnavailable("Redis cannot be reached. Check VAI_REDIS_URL.") from error
    if not locked:
        raise ServiceUnavailable("No beat holds the lock: nobody sweeps. See beat's log.")


def _fetch(url: str, port_variable: str) -> None:
    import httpx  # noqa: PLC0415 - see above

    try:
        answer = httpx.get(url, timeout=_PATIENCE_SECONDS, trust_env=False)
    except httpx.HTTPError as error:
        raise ServiceUnavailable(f"Nobody answers at {url} ({error}). Check {port_variable}.") from error
    if not answer.is_success:
        raise ServiceUnavailable(f"{url} answered {answer.status_code}: {answer.text.strip()}")


_PROBES: Mapping[str, Callable[[str, Settings], None]] = {
    API: _probe_api,
    FLOWER: _probe_flower,
    WATCHER: _probe_watcher,
    BEAT: _probe_beat,
}
