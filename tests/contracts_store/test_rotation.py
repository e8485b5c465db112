"""The key that encrypts credentials is exchanged while processes use it, and whatever interrupts it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from tests.builders import a_datacenter
from vai_app.bootstrap import Services, build_services, utc_now
from vai_app.cli.encryption_keys import rotate_file
from vai_app.domain.errors import ServiceUnavailable
from vai_app.settings import Settings
from vai_app.store.datacenters import MongoDatacenters
from vai_app.store.documents import DatacenterDocument, collection_of
from vai_app.store.encryption import Cipher
from vai_app.store.key_file import KeyFile

IDS = ("dc-1", "dc-2", "dc-3")


@pytest.fixture
def settings(mongo_url: str, tmp_path: Path) -> Settings:
    (tmp_path / "secret.key").write_text(Fernet.generate_key().decode())
    given = {"mongodb_url": mongo_url, "mongodb_database": f"vai_keys_{os.getpid()}", "state_folder": tmp_path}
    return Settings(_env_file=None, **given, broker_url="redis://127.0.0.1:1/0")


@pytest.fixture
def services(settings: Settings) -> Iterator[Services]:
    services = build_services(settings)
    for number in IDS:
        datacenter = a_datacenter(id=number, name=number)
        services.store.datacenters.insert(datacenter, {"password": f"hunter2-{number}"})
    yield services
    collection_of(DatacenterDocument).database.client.drop_database(settings.mongodb_database)
    services.close()


@pytest.fixture
def file(settings: Settings) -> KeyFile:
    return KeyFile(settings.secret_key_path)


@pytest.fixture
def other(settings: Settings) -> MongoDatacenters:
    """Another process, which has run since before the rotation."""
    return MongoDatacenters(utc_now, Cipher(settings.read_secret_key))


def _opened(datacenters: MongoDatacenters) -> set[str]:
    return {datacenters.connection(each).credentials["password"] for each in IDS}


ALL = {f"hunter2-{each}" for each in IDS}


def test_a_rotation_leaves_one_new_key_that_opens_everything_and_the_old_one_nothing(
    services: Services, other: MongoDatacenters, file: KeyFile
) -> None:
    (old,) = file.keys()
    assert rotate_file(file, services) == len(IDS)
    (new,) = file.keys()
    assert new != old
    assert file.path.stat().st_mode & 0o777 == 0o600
    assert _opened(other) == _opened(services.store.datacenters) == ALL
    with pytest.raises(ServiceUnavailable):
        MongoDatacenters(utc_now, Cipher(old)).connection(IDS[0])


def test_user_data_of_machines_to_come_is_sealed_anew_too(services: Services, file: KeyFile) -> None:
    services.store.user_data.put("vm-1", "secret")
    assert rotate_file(file, services) == len(IDS) + 1
    assert services.store.user_data.get("vm-1") == "secret"
    assert rotate_file(file, services) == len(IDS) + 1


@pytest.mark.parametrize("sealed", [0, 1, 2, 3])
def test_a_rotation_that_was_killed_hides_nothing_and_is_ended_by_the_next(
    services: Services, other: MongoDatacenters, file: KeyFile, sealed: int
) -> None:
    file.begin_rotation()
    new = file.keys()[0]
    datacenters = services.store.datacenters
    for each in list(collection_of(DatacenterDocument).find())[:sealed]:
        assert datacenters._seal_anew(each)
    assert _opened(other) == ALL
    assert rotate_file(file, services) == len(IDS) - sealed
    assert file.keys() == [new]
    assert _opened(other) == ALL


def test_what_another_process_registers_during_a_rotation_is_sealed_with_the_new_key(
    services: Services, other: MongoDatacenters, file: KeyFile
) -> None:
    file.begin_rotation()
    other.insert(a_datacenter(id="dc-4", name="dc-4"), {"password": "late"})
    rotate_file(file, services)
    assert other.connection("dc-4").credentials == {"password": "late"}


def test_credentials_that_no_key_opens_keep_both_keys(services: Services, file: KeyFile) -> None:
    foreign = Cipher(Fernet.generate_key().decode()).seal("dc-2", {})
    collection_of(DatacenterDocument).update_one({"_id": "dc-2"}, {"$set": {"sealed_credentials": foreign}})
    with pytest.raises(ServiceUnavailable, match="dc-2"):
        rotate_file(file, services)
    assert len(file.keys()) == 2


def _command(settings: Settings, **more: str) -> "subprocess.CompletedProcess[str]":
    given = {
        "VAI_STATE_FOLDER": str(settings.state_folder),
        "VAI_MONGODB_URL": settings.mongodb_url.get_secret_value(),
        "VAI_MONGODB_DATABASE": settings.mongodb_database,
        "VAI_BROKER_URL": settings.broker_url.get_secret_value(),
    }
    command = [sys.executable, "-m", "vai_app.cli.main", "secrets", "rotate"]
    environment = {**os.environ, **given, **more}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100, check=False)


@pytest.mark.usefixtures("services")
def test_the_command_rotates_and_tells_no_key(settings: Settings, other: MongoDatacenters, file: KeyFile) -> None:
    before = file.keys()
    done = _command(settings)
    assert done.returncode == 0, done.stderr
    assert "3 datacenters" in done.stdout
    assert _opened(other) == ALL
    assert not any(key in done.stdout + done.stderr for key in [*before, *file.keys()])


@pytest.mark.usefixtures("services")
def test_a_key_of_the_environment_is_the_operators_to_change(settings: Settings) -> None:
    old, new = settings.read_secret_key(), Fernet.generate_key().decode()
    refused = _command(settings, VAI_SECRET_KEY=old)
    assert refused.returncode == 2
    assert "NEW,OLD" in refused.stderr
    assert old not in refused.stdout + refused.stderr
    assert _command(settings, VAI_SECRET_KEY=f"{new},{old}").returncode == 0
    assert _opened(MongoDatacenters(utc_now, Cipher(new))) == ALL
