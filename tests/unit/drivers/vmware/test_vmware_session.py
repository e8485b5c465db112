"""The session and its lines, against a peer that misbehaves in every way a network has."""

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pyVmomi import vim, vmodl

from tests.unit.drivers.vmware.soap_peer import Peer, answer, fault, say
from vai_app.domain.datacenters import Connection
from vai_app.domain.errors import (
    ProviderAuthenticationFailed,
    ProviderError,
    ProviderTimeout,
    ProviderUnavailable,
)
from vai_app.drivers.vmware.options import parse_endpoint
from vai_app.drivers.vmware.rows import Row
from vai_app.drivers.vmware.session import Session

SPEC = vmodl.query.PropertyCollector.FilterSpec(
    objectSet=[vmodl.query.PropertyCollector.ObjectSpec(obj=vim.VirtualMachine("vm-1", None))],
    propSet=[vmodl.query.PropertyCollector.PropertySpec(type=vim.VirtualMachine, pathSet=["name"])],
)
ROW = (
    '<objects><obj type="VirtualMachine">{0}</obj>'
    '<propSet><name>name</name><val xsi:type="xsd:string">{0}</val></propSet></objects>'
)


@pytest.fixture
def peer(tmp_path: Path) -> Peer:
    return Peer(tmp_path)


@contextmanager
def session_at(connection: Connection) -> Iterator[Session]:
    session = Session(parse_endpoint(connection))
    yield session
    session.close()


def ask(session: Session) -> None:
    with session.calling():
        vim.ServiceInstance("ServiceInstance", session).CurrentTime()


def read_all(session: Session) -> list[Row]:
    with session.calling():
        return session.retrieve(SPEC)


def ask_once(connection: Connection) -> None:
    with session_at(connection) as session:
        ask(session)


def test_a_server_that_takes_the_line_and_says_nothing_is_left_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        connection = Connection(
            datacenter_id="dc-1",
            kind="vmware",
            endpoint=f"https://127.0.0.1:{listener.getsockname()[1]}",
            credentials={"username": "user", "password": "pass"},
            call_timeout_seconds=0.5,
        )
        started_at = time.monotonic()
        with pytest.raises(ProviderTimeout):
            ask_once(connection)
        assert time.monotonic() - started_at < 1.5


def test_an_answer_that_never_comes_is_left_in_time(peer: Peer) -> None:
    peer.replies["CurrentTime"] = lambda *_: peer.wait(30)
    with peer.serving() as connection:
        started_at = time.monotonic()
        with pytest.raises(ProviderTimeout, match="call_timeout_seconds"):
            ask_once(connection)
        assert time.monotonic() - started_at < 2.0


def test_an_answer_that_drips_is_left_in_time_though_no_pause_is_long(peer: Peer) -> None:
    def drip(line: ssl.SSLSocket, _: str) -> None:
        line.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n")
        for _ in range(100):
            line.sendall(b"<")
            peer.wait(0.1)

    peer.replies["CurrentTime"] = drip
    with peer.serving() as connection:
        started_at = time.monotonic()
        with pytest.raises(ProviderTimeout):
            ask_once(connection)
        assert time.monotonic() - started_at < 2.0


def test_a_line_that_breaks_within_an_answer_is_a_vcenter_out_of_reach(peer: Peer) -> None:
    def cut(line: ssl.SSLSocket, _: str) -> None:
        line.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n<?xml")
        line.close()

    peer.replies["CurrentTime"] = cut
    with peer.serving() as connection, pytest.raises(ProviderUnavailable):
        ask_once(connection)


def test_a_line_that_was_closed_while_idle_is_not_used_again(peer: Peer) -> None:
    closed = threading.Semaphore(0)

    def last_words(line: ssl.SSLSocket, method: str) -> None:
        say(line, answer(method, "2026-01-01T00:00:00Z"))
        line.close()
        closed.release()

    peer.replies["CurrentTime"] = last_words
    with peer.serving() as connection, session_at(connection) as session:
        for _ in range(3):
            ask(session)
            assert closed.acquire(timeout=30)
    assert peer.heard.count("CurrentTime") == 3


def test_calls_one_after_another_share_one_line(peer: Peer) -> None:
    peer.replies["CurrentTime"] = lambda line, method: say(line, answer(method, "2026-01-01T00:00:00Z"))
    with peer.serving() as connection, session_at(connection) as session:
        for _ in range(3):
            ask(session)
    assert peer.lines == 1
    assert peer.heard == ["RetrieveServiceContent", "Login", "CurrentTime", "CurrentTime", "CurrentTime", "Logout"]


@pytest.mark.parametrize("status", ["503 Service Unavailable", "502 Bad Gateway", "429 Too Many Requests"])
def test_a_proxy_that_has_no_vcenter_behind_it_is_asked_again(peer: Peer, status: str) -> None:
    peer.replies["RetrieveServiceContent"] = lambda line, _: say(line, "later", status)
    with peer.serving() as connection, pytest.raises(ProviderUnavailable, match=status[:3]) as refused:
        ask_once(connection)
    assert refused.value.retryable


@pytest.mark.parametrize(
    ("status", "body"), [("404 Not Found", "no"), ("200 OK", "<html>hello</html"), ("200 OK", "hi")]
)
def test_a_server_that_is_no_vcenter_is_told_to_be_none(peer: Peer, status: str, body: str) -> None:
    peer.replies["RetrieveServiceContent"] = lambda line, _: say(line, body, status)
    with peer.serving() as connection, pytest.raises(ProviderError, match="endpoint") as refused:
        ask_once(connection)
    assert type(refused.value) is ProviderError


def test_a_session_that_is_refused_again_after_a_login_is_not_tried_for_ever(peer: Peer) -> None:
    peer.replies["CurrentTime"] = lambda line, _: say(line, fault("NotAuthenticated"), "500 Internal Server Error")
    with peer.serving() as connection, pytest.raises(ProviderAuthenticationFailed):
        ask_once(connection)
    assert peer.heard == ["RetrieveServiceContent", "Login", "CurrentTime", "Login", "CurrentTime"]


def test_a_page_of_another_server_is_no_empty_datacenter(peer: Peer) -> None:
    peer.replies["RetrievePropertiesEx"] = lambda line, _: say(line, "<html><body>Please log in</body></html>")
    with (
        peer.serving() as connection,
        session_at(connection) as session,
        pytest.raises(ProviderError, match="endpoint"),
    ):
        read_all(session)


def test_a_fault_of_an_unknown_type_is_still_a_providers_error(peer: Peer) -> None:
    peer.replies["CurrentTime"] = lambda line, _: say(line, fault("FromTheFuture"), "500 Internal Server Error")
    with peer.serving() as connection, pytest.raises(ProviderError, match="recent tasks"):
        ask_once(connection)


def test_a_bulk_read_is_continued_until_vcenter_has_told_all(peer: Peer) -> None:
    first = "<token>more</token>" + ROW.format("vm-1") + ROW.format("vm-2")
    peer.replies["RetrievePropertiesEx"] = lambda line, method: say(line, answer(method, first))
    peer.replies["ContinueRetrievePropertiesEx"] = lambda line, method: say(line, answer(method, ROW.format("vm-3")))
    with peer.serving() as connection, session_at(connection) as session:
        rows = read_all(session)
    assert [(row.ref, row.kind, row.text("name")) for row in rows] == [
        (ref, "VirtualMachine", ref) for ref in ("vm-1", "vm-2", "vm-3")
    ]


def test_properties_held_back_for_lack_of_a_session_are_read_after_a_login(peer: Peer) -> None:
    held_back = (
        '<objects><obj type="VirtualMachine">vm-1</obj><missingSet><path>name</path>'
        '<fault><fault xsi:type="NotAuthenticated"/></fault></missingSet></objects>'
    )

    def once(line: ssl.SSLSocket, method: str) -> None:
        told = ROW.format("vm-1") if peer.heard.count("Login") > 1 else held_back
        say(line, answer(method, told))

    peer.replies["RetrievePropertiesEx"] = once
    with peer.serving() as connection, session_at(connection) as session:
        assert read_all(session)[0].text("name") == "vm-1"
        assert session.generation == 2
