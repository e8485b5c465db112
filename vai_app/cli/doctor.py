"""``vai doctor``: what an installation needs, each checked, each with the way out."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from vai_app.bootstrap import build_services
from vai_app.cli.embedded import mongod_command, valkey_command
from vai_app.cli.state_folder import StateFolder
from vai_app.domain.errors import VaiError
from vai_app.settings import Settings

_OLDEST_PYTHON = (3, 11)


def examine(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield what was checked and ``ok``, or what to do."""
    checks: list[tuple[str, Callable[[], None]]] = [
        ("Python", _check_python),
        ("state folder", StateFolder(settings.state_folder).open),
    ]
    if not settings.mongodb_url.get_secret_value():
        checks.append(("embedded MongoDB", lambda: _check_server(mongod_command(Path(), 1)[0], "--version")))
    if not (settings.broker_url.get_secret_value() and settings.redis_url.get_secret_value()):
        checks.append(("embedded Valkey", lambda: _check_server(_valkey(), "--version")))
    for name, check in checks:
        try:
            check()
        except VaiError as error:
            yield name, error.detail
        else:
            yield name, "ok"
    yield from _examine_running(settings)


def _examine_running(settings: Settings) -> Iterator[tuple[str, str]]:
    if not settings.mongodb_url.get_secret_value():
        yield "running installation", "none; start it with 'vai up'"
        return
    try:
        services = build_services(settings)
    except VaiError as error:
        yield "running installation", error.detail
        return
    yield from services.readiness().items()
    services.close()


def _valkey() -> str:
    return shutil.which("valkey-server") or valkey_command(Path("/tmp"), 1)[0]  # noqa: S108 - only the name is used


def _check_python() -> None:
    if sys.version_info < _OLDEST_PYTHON:
        raise VaiError("Python 3.11 or newer is needed.")


def _check_server(binary: str, argument: str) -> None:
    done = subprocess.run([binary, argument], capture_output=True, text=True, timeout=30, check=False)  # noqa: S603
    if done.returncode != 0:
        raise VaiError(f"{binary} does not start: {done.stderr.strip()} On Debian: apt-get install libcurl4 libssl3.")
