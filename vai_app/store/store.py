"""Bundles the repositories over one database."""

from collections.abc import Callable
from dataclasses import dataclass

from vai_app.domain.ports.clock import Clock
from vai_app.store import connection
from vai_app.store.configuration import MongoConfiguration
from vai_app.store.datacenters import MongoDatacenters
from vai_app.store.documents import ensure_indexes
from vai_app.store.encryption import Cipher
from vai_app.store.errors import translated
from vai_app.store.events import MongoEvents
from vai_app.store.leases import MongoLeases
from vai_app.store.machines import MongoMachines
from vai_app.store.operations import MongoOperations
from vai_app.store.reservations import MongoReservations
from vai_app.store.snapshots import MongoSnapshots
from vai_app.store.statistics import MongoStatistics
from vai_app.store.tokens import MongoTokens
from vai_app.store.user_data import MongoUserData


@translated
@dataclass(frozen=True)
class Store:
    """The repositories. A process has one store, for mongoengine binds documents to one database."""

    operations: MongoOperations
    machines: MongoMachines
    datacenters: MongoDatacenters
    events: MongoEvents
    tokens: MongoTokens
    configuration: MongoConfiguration
    leases: MongoLeases
    reservations: MongoReservations
    user_data: MongoUserData
    snapshots: MongoSnapshots
    statistics: MongoStatistics

    def prepare(self) -> None:
        """Create the collections' indexes, where missing. Raises ServiceUnavailable."""
        ensure_indexes()

    def ping(self) -> None:
        """Raise ServiceUnavailable when the database does not answer, with what to check."""
        connection.ping()

    def close(self) -> None:
        """Close the connections; may be called twice."""
        connection.close()


def open_store(url: str, database: str, secret_key: str | Callable[[], str], clock: Clock) -> Store:
    """Return the store; connects at the first use. Raises InvalidRequest for a key or URL that cannot be one."""
    cipher = Cipher(secret_key)
    connection.connect(url, database)
    return Store(
        operations=MongoOperations(clock),
        machines=MongoMachines(clock),
        datacenters=MongoDatacenters(clock, cipher),
        events=MongoEvents(),
        tokens=MongoTokens(),
        configuration=MongoConfiguration(),
        leases=MongoLeases(clock),
        reservations=MongoReservations(clock),
        user_data=MongoUserData(clock, cipher),
        snapshots=MongoSnapshots(),
        statistics=MongoStatistics(),
    )
