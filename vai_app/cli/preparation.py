"""Preparation: what the servers must hold before the first process of VAI starts. May run any number of times."""

import time
from typing import Any

import pymongo
from pymongo.errors import OperationFailure, PyMongoError
from pymongo.uri_parser import parse_uri

from vai_app.bootstrap import build_services
from vai_app.cli.state_folder import ADMIN_TOKEN_FILE, StateFolder
from vai_app.domain.errors import ServiceUnavailable
from vai_app.domain.principals import Principal
from vai_app.settings import Settings

_ADMIN = Principal(name="admin", tenant="default", roles=("admin",))
_PAUSE_SECONDS = 0.5
_ALREADY_INITIATED = 23
_SERVER_SECONDS = 2.0


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


def initiate_replica_set(settings: Settings, patience_seconds: float) -> None:
    """Make a replica set of one of the database server that the URL names; one that is in a set is left as it is.

    Raises ServiceUnavailable when the server does not answer or refuses.
    """
    deadline = time.monotonic() + patience_seconds
    while True:
        try:
            _initiate(parse_uri(settings.mongodb_url.get_secret_value()))
        except PyMongoError as error:
            if isinstance(error, OperationFailure) or time.monotonic() > deadline:
                message = f"The database cannot be made a replica set. Check VAI_MONGODB_URL and its account. {error}"
                raise ServiceUnavailable(message) from error
            time.sleep(_PAUSE_SECONDS)
        else:
            return


def _initiate(url: dict[str, Any]) -> None:
    """Ask the URL's first server itself: nobody can be found through a replica set that does not exist yet."""
    (host, port), options = url["nodelist"][0], url["options"]
    member = {"_id": 0, "host": f"{host}:{port}"}
    with pymongo.MongoClient[dict[str, Any]](
        host,
        port,
        username=url["username"],
        password=url["password"],
        authSource=options.get("authSource", "admin"),
        tls=options.get("tls", False),
        directConnection=True,
        serverSelectionTimeoutMS=int(_SERVER_SECONDS * 1000),
    ) as client:
        try:
            client.admin.command("replSetInitiate", {"_id": options.get("replicaSet", "rs0"), "members": [member]})
        except OperationFailure as error:
            if error.code != _ALREADY_INITIATED:
                raise


def _administrators_token(settings: Settings) -> str:
    """Return the token that the settings name, or the state folder's own, made at its first use."""
    return settings.token.get_secret_value() or StateFolder(settings.state_folder).secret(ADMIN_TOKEN_FILE)
