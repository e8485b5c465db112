"""What can be read of a running VAI without being let in, and which secrets are in it."""

import json
from collections.abc import Collection, Iterable, Iterator
from typing import Any
from urllib.parse import quote

import bson
import psutil
from pymongo import MongoClient

from tests.lab.process import ServerProcess
from tests.lab.vai import Vai
from vai_app.cli.processes import BEAT, FLOWER

Content = tuple[str, bytes]
_SILENT = frozenset({BEAT, FLOWER})  # they have nothing to tell


def leaks(contents: Iterable[Content], secrets: Collection[str]) -> list[tuple[str, str]]:
    """Return where which secret is found, however it is written."""
    spelled = {secret: spellings(secret) for secret in secrets}
    return [
        (where, secret)
        for where, content in contents
        for secret in secrets
        if any(each in content for each in spelled[secret])
    ]


def spellings(secret: str) -> set[bytes]:
    """Return a secret as it may be written."""
    return {each.encode() for each in (secret, quote(secret, safe=""), json.dumps(secret)[1:-1], repr(secret)[1:-1])}


def processes_tell(processes: dict[str, ServerProcess]) -> Iterator[Content]:
    """Yield the log of each process, and the command lines that ``ps`` shows of it and its children."""
    for name, process in processes.items():
        log = process.log.read_bytes()
        assert log or name in _SILENT, name
        yield f"log of {name}", log
        for each in [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]:
            yield f"ps of {name}", " ".join(each.cmdline()).encode()


def database_tells(vai: Vai) -> Iterator[Content]:
    """Yield each collection of the installation's database."""
    url = vai.settings.mongodb_url.get_secret_value()
    with MongoClient[dict[str, Any]](url) as client:
        database = client[vai.settings.mongodb_database]
        collections = database.list_collection_names()
        assert {"datacenters", "operations", "events", "tokens"} <= set(collections)
        for name in collections:
            yield f"collection {name}", b"\n".join(bson.encode(each) for each in database[name].find())
