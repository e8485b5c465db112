"""MongoDB: the embedded server of the wheel, as a replica set of one."""

from pathlib import Path
from typing import Any
from urllib.parse import quote

from pymongo import MongoClient
from pymongo.errors import PyMongoError

from tests.lab.ports import free_port
from tests.lab.process import ServerProcess
from vai_app.cli.embedded import initiate_replica_set, is_primary, mongod_command, mongodb_url


class Mongo:
    """``url`` is ready for VAI_MONGODB_URL."""

    def __init__(self, folder: Path) -> None:
        """Data and log live in ``folder``."""
        self.port = free_port()
        self.url = mongodb_url(self.port)
        data = folder / "mongo"
        data.mkdir(parents=True, exist_ok=True)
        self._process = ServerProcess("mongod", mongod_command(data, self.port), folder)

    def start(self) -> None:
        """Start and wait for a primary."""
        self._process.start(self._primary)

    def add_user(self, name: str, password: str) -> None:
        """Make a user; from now on ``url`` is how that one enters."""
        with MongoClient[dict[str, Any]](self.url) as client:
            client.admin.command("createUser", name, pwd=password, roles=["root"])
        self.url = self.url.replace("mongodb://", f"mongodb://{name}:{quote(password, safe='')}@")
        self.url += "&authSource=admin"

    def stop(self) -> None:
        """Shut down cleanly."""
        self._process.stop()

    def kill(self) -> None:
        """Crash."""
        self._process.kill()

    def _primary(self) -> bool:
        try:
            initiate_replica_set(self.port)
            return is_primary(self.url)
        except PyMongoError:
            return False
