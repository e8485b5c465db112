"""Preparation: what the servers must hold before the first process of VAI starts. May run any number of times."""

import time

from vai_app.bootstrap import build_services
from vai_app.cli.state_folder import ADMIN_TOKEN_FILE, StateFolder
from vai_app.domain.errors import ServiceUnavailable
from vai_app.domain.principals import Principal
from vai_app.settings import Settings

_ADMIN = Principal(name="admin", tenant="default", roles=("admin",))
_PAUSE_SECONDS = 0.5


def prepare(settings: Settings, patience_seconds: float) -> None:
    """Wait for the servers, make the indexes, and accept the administrator's token.

    Raises ServiceUnavailable that names the server which does not answer.
    """
    services = build_services(settings)
    try:
        deadline = time.monotonic() + patience_seconds
        while missing := {part: state for part, state in services.readiness().items() if state != "ok"}:
            if time.monotonic() > deadline:
                raise ServiceUnavailable(" ".join(f"The {part} is not ready. {why}" for part, why in missing.items()))
            time.sleep(_PAUSE_SECONDS)
        services.store.prepare()
        services.access.enrol(_administrators_token(settings), _ADMIN)
    finally:
        services.close()


def _administrators_token(settings: Settings) -> str:
    """Return the token that the settings name, or the state folder's own, made at its first use."""
    return settings.token.get_secret_value() or StateFolder(settings.state_folder).secret(ADMIN_TOKEN_FILE)
