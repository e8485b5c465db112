"""Floods and slow clients against a real API: honest clients are served, and what is wrong is told.

How much of their throughput honest clients keep is measured by ``python -m bench protection``.
"""

import json
import socket
import time
from collections.abc import Iterator

import pytest

from tests.lab.clients import FLOOD, FLOOD_ANEW, HONEST, PATH, SLOW, Clients, Group
from tests.lab.process import wait_until
from tests.lab.vai import Vai
from vai_app.bootstrap import build_services
from vai_app.cli.processes import API
from vai_app.domain.principals import Principal

_SECONDS = 2.0


@pytest.fixture(scope="module")
def vai(tmp_path_factory: pytest.TempPathFactory, mongo_url: str, valkey_url: str) -> Iterator[Vai]:
    """The API alone: nothing else is asked."""
    vai = Vai(
        tmp_path_factory.mktemp("flood"),
        mongo_url=mongo_url,
        broker_url=valkey_url,
        redis_url=valkey_url,
        rate_per_token="100/second",
        rate_per_address="200/second",
        request_seconds=5.0,
    )
    vai.processes = {API: vai.processes[API]}
    with vai.running():
        yield vai


@pytest.fixture(scope="module")
def tokens(vai: Vai) -> list[str]:
    """Tokens of nine users of one tenant."""
    services = build_services(vai.settings)
    tokens = [services.access.issue(Principal(f"user-{number}", "acme", ("operator",))) for number in range(9)]
    services.close()
    return tokens


@pytest.mark.parametrize(
    ("kind", "others"),
    [
        (FLOOD, [("127.0.0.66", 32)]),
        (FLOOD_ANEW, [(f"127.0.2.{number}", 1) for number in range(1, 33)]),
        (SLOW, [("127.0.0.66", 150)]),
    ],
    ids=["one-address", "one-token-many-addresses", "slow-clients"],
)
def test_honest_clients_are_served_while_others_flood(
    vai: Vai, tokens: list[str], kind: str, others: list[tuple[str, int]]
) -> None:
    port = vai.settings.api_port
    honest = [Group(f"127.0.0.{10 + number}", 1, token) for number, token in enumerate(tokens[1:])]
    hostile = Clients(kind, port, 2 * _SECONDS, [Group(*each, tokens[0]) for each in others])
    beside = Clients(HONEST, port, _SECONDS, honest).answers()
    answered = hostile.answers().statuses
    assert set(beside.statuses) == {200}
    assert kind == SLOW or answered[429] > 0


def _connect(vai: Vai) -> socket.socket:
    return socket.create_connection(("127.0.0.1", vai.settings.api_port), timeout=30)


def _answer(client: socket.socket) -> tuple[int, dict[str, str]]:
    """Read until the server closes; the status and the problem."""
    received = b""
    while data := client.recv(65_536):
        received += data
    head, _, body = received.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


def test_a_request_that_never_ends_is_told_that_its_time_is_over(vai: Vai) -> None:
    with _connect(vai) as client:
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: vai\r\n")
        status, problem = _answer(client)
    assert (status, problem["type"]) == (408, "/problems/request-too-slow")


def test_more_silent_clients_than_threads_hold_nobody_up(vai: Vai) -> None:
    silent = [_connect(vai) for _ in range(4 * vai.settings.api_threads)]
    began_at = time.monotonic()
    with _connect(vai) as client:
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: vai\r\nConnection: close\r\n\r\n")
        assert _answer(client)[0] == 200
    assert time.monotonic() - began_at < vai.settings.request_seconds
    for each in silent:
        each.close()


@pytest.mark.parametrize(
    ("sent", "status", "problem"),
    [
        (b"POST /api/v1/datacenters HTTP/1.1\r\nHost: v\r\nContent-Length: 99999999\r\n\r\n", 413, "body-too-large"),
        (b"POST /api/v1/datacenters HTTP/1.1\r\nHost: v\r\nTransfer-Encoding: chunked\r\n\r\n", 411, "length-required"),
        (b"GET / HTTP/1.1\r\nX-Much: " + b"x" * 40_000, 431, "headers-too-large"),
    ],
)
def test_what_would_never_be_served_is_refused_at_once(vai: Vai, sent: bytes, status: int, problem: str) -> None:
    with _connect(vai) as client:
        client.sendall(sent)
        answered, told = _answer(client)
    assert (answered, told["type"]) == (status, f"/problems/{problem}")


def test_requests_sent_at_once_are_answered_in_order(vai: Vai, tokens: list[str]) -> None:
    head = f"Host: vai\r\nAuthorization: Bearer {tokens[1]}\r\n"
    with _connect(vai) as client:
        client.sendall(
            f"GET /healthz HTTP/1.1\r\n{head}\r\n"
            f"POST /api/v1/virtual-machines HTTP/1.1\r\n{head}Content-Length: 2\r\n\r\n{{}}"
            f"GET {PATH} HTTP/1.1\r\n{head}Connection: close\r\n\r\n".encode()
        )
        received = b""
        while data := client.recv(65_536):
            received += data
    statuses = [int(part[:3]) for part in received.split(b"HTTP/1.1 ")[1:]]
    assert statuses == [200, 415, 200]


def test_a_client_that_waits_for_it_is_told_to_send_its_body(vai: Vai, tokens: list[str]) -> None:
    with _connect(vai) as client:
        client.sendall(
            f"POST /api/v1/virtual-machines HTTP/1.1\r\nHost: vai\r\nAuthorization: Bearer {tokens[1]}\r\n"
            "Content-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: 2\r\n"
            "Connection: close\r\n\r\n".encode()
        )
        assert client.recv(65_536).startswith(b"HTTP/1.1 100 Continue\r\n\r\n")
        client.sendall(b"{}")
        received = b""
        while data := client.recv(65_536):
            received += data
    assert b"HTTP/1.1 422 " in received


def test_floods_are_on_record_in_few_events(vai: Vai) -> None:
    def recorded() -> bool:
        page = vai.client.get("/events", kind="request.refused")
        return any("too-many-requests (token)" in each["message"] for each in page["items"])

    wait_until(recorded, seconds=30, what="the flood is on record")
    assert len(list(vai.client.items("/events", kind="request.refused"))) < 200


def test_the_api_stops_promptly_with_idle_and_slow_clients_on_it(vai: Vai) -> None:
    slow, idle = _connect(vai), _connect(vai)
    slow.sendall(b"GET / HTTP/1.1\r\nHost:")
    idle.sendall(b"GET /healthz HTTP/1.1\r\nHost: vai\r\n\r\n")
    assert idle.recv(12) == b"HTTP/1.1 200"
    began_at = time.monotonic()
    vai.processes[API].stop()
    assert time.monotonic() - began_at < 12
    slow.close()
    idle.close()
    vai.restart(API)
