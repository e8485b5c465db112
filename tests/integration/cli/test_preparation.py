"""`vai prepare` on servers that nobody has used yet."""

from collections.abc import Iterator
from pathlib import Path

import pymongo
import pytest
from cryptography.fernet import Fernet
from pymongo.errors import PyMongoError

from tests.integration.cli.installation import UserInstallation
from tests.lab.ports import free_port
from tests.lab.process import ServerProcess
from vai_app.cli.embedded import mongod_command

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def fresh_mongo_url(tmp_path: Path) -> Iterator[str]:
    """Start a server that is told the name of a replica set and is in none."""
    port, data = free_port(), tmp_path / "data"
    data.mkdir()

    def up() -> bool:
        try:
            with pymongo.MongoClient(port=port, directConnection=True, serverSelectionTimeoutMS=500) as client:
                return bool(client.admin.command("ping"))
        except PyMongoError:
            return False

    server = ServerProcess("mongod", mongod_command(data, port), tmp_path)
    server.start(up)
    yield f"mongodb://127.0.0.1:{port}/?replicaSet=rs0"
    server.stop()


@pytest.fixture
def ours(tmp_path: Path, fresh_mongo_url: str, valkey_url: str) -> UserInstallation:
    return UserInstallation(
        tmp_path,
        VAI_MONGODB_URL=fresh_mongo_url,
        VAI_REDIS_URL=valkey_url,
        VAI_BROKER_URL=valkey_url,
        VAI_SECRET_KEY=Fernet.generate_key().decode(),
        VAI_TOKEN="vai_made-elsewhere",
    )


def test_a_fresh_server_becomes_a_replica_set_and_again_changes_nothing(
    ours: UserInstallation, fresh_mongo_url: str
) -> None:
    refused = ours.run("prepare")
    assert refused.returncode == 3
    assert "The database is not ready." in refused.stderr
    for _ in range(2):
        done = ours.run("prepare", "--patience", "60", "--initiate-replica-set")
        assert done.returncode == 0, done.stderr
    with pymongo.MongoClient(fresh_mongo_url) as client:
        assert client.admin.command("hello")["setName"] == "rs0"
        assert client.get_database("vai").get_collection("tokens").count_documents({}) == 1


def test_a_server_that_does_not_answer_is_named_when_patience_ends(ours: UserInstallation) -> None:
    ours.environment["VAI_MONGODB_URL"] = f"mongodb://vai:secret@127.0.0.1:{free_port()}/?replicaSet=rs0"
    done = ours.run("prepare", "--initiate-replica-set")
    assert done.returncode == 3
    assert "The database cannot be made a replica set. Check VAI_MONGODB_URL and its account." in done.stderr
    assert "secret" not in done.stderr
