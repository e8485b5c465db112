"""The API over real services: MongoDB, simulated datacenters, and steps that run when a test says so."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from flask.testing import FlaskClient

from tests.api.installation import API, SMALL, Installation
from vai_app.bootstrap import utc_now
from vai_app.store import open_store
from vai_app.store.documents import DOCUMENTS, collection_of

Json = dict[str, Any]


@pytest.fixture(scope="session")
def api_database(mongo_url: str) -> Iterator[str]:
    """A database with its indexes, of this process alone."""
    database = f"vai_api_{os.getpid()}"
    store = open_store(mongo_url, database, Fernet.generate_key().decode(), utc_now)
    store.prepare()
    yield database
    store = open_store(mongo_url, database, Fernet.generate_key().decode(), utc_now)
    collection_of(DOCUMENTS[0]).database.client.drop_database(database)
    store.close()


@pytest.fixture
def vai(tmp_path: Path, mongo_url: str, api_database: str) -> Iterator[Installation]:
    """An empty installation."""
    installation = Installation(tmp_path, mongo_url, api_database)
    for document in DOCUMENTS:
        collection_of(document).delete_many({})
    yield installation
    installation.services.close()


@pytest.fixture
def admin(vai: Installation) -> FlaskClient:
    """An administrator, of the tenant ``ops``."""
    return vai.client(vai.token("root", "ops", "admin"))


@pytest.fixture
def ann(vai: Installation) -> FlaskClient:
    """A member of the tenant ``acme``."""
    return vai.client(vai.token("ann", "acme"))


@pytest.fixture
def eve(vai: Installation) -> FlaskClient:
    """A member of another tenant."""
    return vai.client(vai.token("eve", "rival"))


@pytest.fixture
def berlin(vai: Installation, admin: FlaskClient) -> Json:
    """A registered simulated datacenter that was listed once."""
    return _registered(vai, admin, "berlin")


@pytest.fixture
def madrid(vai: Installation, admin: FlaskClient) -> Json:
    """Another datacenter."""
    return _registered(vai, admin, "madrid")


@pytest.fixture
def create(vai: Installation, ann: FlaskClient, berlin: Json) -> Callable[..., Json]:
    """Create a machine in berlin as ann and run the operation to its end; returns the machine as shown."""

    def create(name: str = "web-1", **changes: Any) -> Json:
        body = {"name": name, "datacenter": berlin["name"], "image": "debian-12", **SMALL, **changes}
        response = ann.post(f"{API}/virtual-machines", json=body)
        assert response.status_code == 202, response.text
        vai.run()
        machine: Json = ann.get(f"{API}/virtual-machines/{response.json['machine_id']}").json
        return machine

    return create


def _registered(vai: Installation, admin: FlaskClient, name: str) -> Json:
    response = admin.post(f"{API}/datacenters", json=vai.datacenter_body(name))
    assert response.status_code == 201, response.text
    vai.reconcile(name)
    datacenter: Json = admin.get(f"{API}/datacenters/{name}").json
    return datacenter
