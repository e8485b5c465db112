"""The connection to MongoDB: how long it waits, how many sockets it opens, when a write counts as done."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

import mongoengine
from pymongo import MongoClient
from pymongo.errors import ConfigurationError

from vai_app.domain.errors import InvalidRequest

# Whoever asks is told within seconds that the database is away, and decides for himself whether to ask again.
_UNLESS_IN_THE_URL: Mapping[str, Any] = {
    "maxPoolSize": 64,
    "serverSelectionTimeoutMS": 4000,
    "connectTimeoutMS": 4000,
    "socketTimeoutMS": 20_000,
    "waitQueueTimeoutMS": 10_000,
    "appname": "vai",
}
# What is acknowledged survives the loss of any one member; a write that meets an election is repeated once.
_ALWAYS: Mapping[str, Any] = {
    "w": "majority",
    "journal": True,
    "retryWrites": True,
    "tz_aware": True,
    "uuidRepresentation": "standard",
}


def connect(url: str, database: str) -> None:
    """Make ``database`` at ``url`` the one that all documents live in; the first use opens the first socket.

    The URL's own pool size and timeouts win over the defaults. Raises InvalidRequest for what is no such URL.
    """
    if not url:
        raise InvalidRequest("No database: set VAI_MONGODB_URL, or start VAI with 'vai up'.")
    mongoengine.disconnect()
    try:
        given = {name.lower() for name in parse_qs(urlsplit(url).query)}
        defaults = {name: value for name, value in _UNLESS_IN_THE_URL.items() if name.lower() not in given}
        mongoengine.connect(db=database, host=url, mongo_client_class=MongoClient, **defaults, **_ALWAYS)
    except (ConfigurationError, ValueError) as error:
        message = (
            "VAI_MONGODB_URL is no MongoDB URL. It looks like mongodb://user:password@host:27017/?replicaSet=rs0, "
            "with special characters in user and password percent-encoded."
        )
        raise InvalidRequest(message) from error


def ping() -> None:
    """Ask the database for a sign of life. Raises the driver's own errors."""
    mongoengine.get_db().client.admin.command("ping")


def close() -> None:
    """Close the sockets; may be called twice."""
    mongoengine.disconnect()
