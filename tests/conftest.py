"""The real servers that tests share: started at first need, one of each for a test process, stopped at its end."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

from tests.lab.mongo import Mongo
from tests.lab.openstack.cloud import Cloud
from tests.lab.openstack.shared import START_SECONDS, cloud_of_run, end_of_run
from tests.lab.rabbitmq import RabbitMQ
from tests.lab.valkey import Valkey

# How fast a busy machine generates examples says nothing about what is tested.
hypothesis_settings.register_profile("vai", suppress_health_check=[HealthCheck.too_slow])
hypothesis_settings.load_profile("vai")


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


@pytest.fixture(scope="session")
def openstack_cloud(tmp_path_factory: pytest.TempPathFactory) -> Cloud:
    """One cloud with two compute hosts for all workers of the run: tests use names of their own."""
    folder, on_worker = tmp_path_factory.getbasetemp(), "PYTEST_XDIST_WORKER" in os.environ
    return cloud_of_run(folder.parent, os.getppid()) if on_worker else cloud_of_run(folder, os.getpid())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give the first test that needs the cloud the time to install and start it."""
    for item in items:
        if "openstack_cloud" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.timeout(START_SECONDS))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Stop the cloud with the process that started the run."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        end_of_run(session.config._tmp_path_factory.getbasetemp())
