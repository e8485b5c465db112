"""MongoDB: the embedded server of the wheel, as a replica set of one."""

from pathlib import Path

import pymongo
from pymongo.errors import PyMongoError

from tests.lab.process import ServerProcess, free_port
from vai_app.cli.embedded import initiate_replica_set, mongod_command


class Mongo:
    """``url`` is ready for VAI_MONGODB_URL."""

    def __init__(self, folder: Path) -> None:
        """Data and log live in ``folder``."""
        self.port = free_port()
        self.url = f"mongodb://127.0.0.1:{self.port}/?replicaSet=rs0&directConnection=true"
        data = folder / "mongo"
        data.mkdir(parents=True, exist_ok=True)
        self._process = ServerProcess("mongod", mongod_command(data, self.port), folder)

    def start(self) -> None:
        """Start and wait for a primary."""
        self._process.start(self._primary)

    def stop(self) -> None:
        """Shut down cleanly."""
        self._process.stop()

    def kill(self) -> None:
        """Crash."""
        self._process.kill()

    def _primary(self) -> bool:
        try:
            initiate_replica_set(self.port)
            with pymongo.MongoClient(self.url, serverSelectionTimeoutMS=500) as client:
                return bool(client.admin.command("hello").get("isWritablePrimary"))
        except PyMongoError:
            return False
