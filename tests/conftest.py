"""The real servers that tests share: started at first need, one of each for a test process, stopped at its end."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.mongo import Mongo
from tests.lab.rabbitmq import RabbitMQ
from tests.lab.valkey import Valkey


@pytest.fixture(scope="session")
def lab_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("lab")


@pytest.fixture(scope="session")
def mongo_url(lab_folder: Path) -> Iterator[str]:
    server = Mongo(lab_folder)
    server.start()
    yield server.url
    server.stop()


@pytest.fixture(scope="session")
def valkey_url(lab_folder: Path) -> Iterator[str]:
    server = Valkey(lab_folder)
    server.start()
    yield server.url
    server.stop()


@pytest.fixture(scope="session")
def rabbitmq_url(lab_folder: Path) -> Iterator[str]:
    server = RabbitMQ(lab_folder)
    server.start()
    yield server.url
    server.stop()
