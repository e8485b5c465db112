"""When the broker or the database is away: what is still accepted, what is refused, and how it goes on."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.api.installation import API, SMALL, Installation, problem
from tests.lab.ports import free_port

Json = dict[str, Any]
MACHINES = f"{API}/virtual-machines"
BODY = {"name": "web-1", "datacenter": "berlin", "image": "debian-12", **SMALL}


@pytest.mark.usefixtures("berlin")
def test_without_the_broker_a_machine_is_accepted_and_made_by_the_sweeper(vai: Installation, ann: FlaskClient) -> None:
    vai.dispatcher.away = True
    response = ann.post(MACHINES, json=BODY)
    assert (response.status_code, response.json["state"]) == (202, "pending")
    assert vai.services.workflow.sweep() == 1
    assert vai.dispatcher.published == []
    vai.dispatcher.away = False
    vai.run()
    assert ann.get(response.headers["Location"]).json["state"] == "succeeded"
    assert vai.control("berlin").names() == ["web-1"]


@pytest.mark.usefixtures("berlin")
def test_a_broker_that_goes_away_between_two_steps_delays_and_breaks_nothing(
    vai: Installation, ann: FlaskClient
) -> None:
    operation = ann.post(MACHINES, json=BODY).json
    vai.dispatcher.away = True
    vai.run_step(operation["id"])
    assert ann.get(f"{API}/operations/{operation['id']}").json["state"] == "running"
    vai.dispatcher.away = False
    vai.run()
    assert ann.get(f"{API}/operations/{operation['id']}").json["state"] == "succeeded"


@pytest.mark.usefixtures("berlin")
def test_without_the_broker_a_wish_to_cancel_is_kept(vai: Installation, ann: FlaskClient) -> None:
    operation = ann.post(MACHINES, json=BODY).json
    vai.dispatcher.away = True
    assert ann.post(f"{API}/operations/{operation['id']}/cancel").status_code == 202
    vai.dispatcher.away = False
    vai.run()
    assert ann.get(f"{API}/operations/{operation['id']}").json["state"] == "cancelled"


@pytest.mark.usefixtures("berlin")
def test_without_the_broker_a_resend_is_refused_with_the_way_out(vai: Installation, admin: FlaskClient) -> None:
    operation = admin.post(MACHINES, json=BODY).json
    vai.dispatcher.away = True
    response = admin.post(f"{API}/operations/{operation['id']}/resend")
    assert "VAI_BROKER_URL" in problem(response, 503, "service-unavailable")["detail"]
    assert response.headers["Retry-After"] == "5"


def test_without_the_broker_an_installation_is_alive_and_not_ready(vai: Installation) -> None:
    vai.dispatcher.away = True
    nobody = vai.client()
    assert nobody.get("/healthz").status_code == 200
    response = nobody.get("/readyz")
    assert (response.status_code, response.json["status"]) == (503, "unavailable")
    assert response.json["parts"]["database"] == "ok"
    assert "VAI_BROKER_URL" in response.json["parts"]["broker"]


@pytest.fixture
def lost(tmp_path: Path) -> Iterator[Installation]:
    """An installation whose database does not answer."""
    url = f"mongodb://127.0.0.1:{free_port()}/?replicaSet=rs0&serverSelectionTimeoutMS=100"
    installation = Installation(tmp_path, url, "vai")
    yield installation
    installation.services.close()


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("get", "virtual-machines", None),
        ("post", "virtual-machines", BODY),
        ("delete", "virtual-machines/vm-1", None),
        ("get", "operations", None),
        ("get", "datacenters", None),
        ("get", "events", None),
    ],
)
def test_without_the_database_every_request_is_refused_with_the_way_out(
    lost: Installation, method: str, path: str, body: Json | None
) -> None:
    response = getattr(lost.client("any-token"), method)(f"{API}/{path}", json=body)
    assert "VAI_MONGODB_URL" in problem(response, 503, "service-unavailable")["detail"]
    assert response.headers["Retry-After"] == "5"


def test_without_the_database_an_installation_is_alive_and_not_ready(lost: Installation) -> None:
    nobody = lost.client()
    assert nobody.get("/healthz").status_code == 200
    assert nobody.get("/metrics").status_code == 200
    response = nobody.get("/readyz")
    assert (response.status_code, response.json["parts"]["broker"]) == (503, "ok")
    assert "VAI_MONGODB_URL" in response.json["parts"]["database"]
