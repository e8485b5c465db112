"""Opens the database and bundles its repositories."""

from dataclasses import dataclass

import mongoengine
from pymongo import MongoClient

from vai_app.domain.errors import InvalidRequest
from vai_app.domain.ports import Clock
from vai_app.store.datacenters import MongoDatacenters
from vai_app.store.documents import DOCUMENTS
from vai_app.store.encryption import Cipher
from vai_app.store.errors import translated
from vai_app.store.events import MongoEvents
from vai_app.store.leases import MongoLeases
from vai_app.store.machines import MongoMachines
from vai_app.store.operations import MongoOperations
from vai_app.store.tokens import MongoTokens

SERVER_SELECTION_MILLISECONDS = 4000
SOCKET_MILLISECONDS = 20_000


@translated
@dataclass(frozen=True)
class Store:
    """The repositories over one database."""

    operations: MongoOperations
    machines: MongoMachines
    datacenters: MongoDatacenters
    events: MongoEvents
    tokens: MongoTokens
    leases: MongoLeases

    def prepare(self) -> None:
        """Create the collections' indexes, where missing. Raises ServiceUnavailable."""
        for document in DOCUMENTS:
            document.ensure_indexes()

    def ping(self) -> None:
        """Raise ServiceUnavailable when the database does not answer, with what to check."""
        mongoengine.get_db().client.admin.command("ping")

    def close(self) -> None:
        """Close the connections."""
        mongoengine.disconnect()


def open_store(url: str, database: str, secret_key: str, clock: Clock) -> Store:
    """Return the store; connects at the first use. Raises InvalidRequest for a key or URL that cannot be one.

    Writes are acknowledged by a majority of the replica set with their journal, and retried once by the driver.
    """
    if not url:
        raise InvalidRequest("No database: set VAI_MONGODB_URL, or start VAI with 'vai up'.")
    mongoengine.disconnect()
    mongoengine.connect(
        db=database,
        host=url,
        mongo_client_class=MongoClient,
        tz_aware=True,
        w="majority",
        journal=True,
        retryWrites=True,
        uuidRepresentation="standard",
        maxPoolSize=64,
        serverSelectionTimeoutMS=SERVER_SELECTION_MILLISECONDS,
        connectTimeoutMS=SERVER_SELECTION_MILLISECONDS,
        socketTimeoutMS=SOCKET_MILLISECONDS,
        appname="vai",
    )
    return Store(
        operations=MongoOperations(clock),
        machines=MongoMachines(clock),
        datacenters=MongoDatacenters(clock, Cipher(secret_key)),
        events=MongoEvents(),
        tokens=MongoTokens(),
        leases=MongoLeases(clock),
    )
