"""The gunicorn worker: no thread ever waits for a client, and every address gets its turn.

Gunicorn's own threaded worker reads a request in the thread that serves it, so that eight slow clients stop eight
threads. Here the event loop receives requests whole, within a time, before a thread sees them; addresses with
requests waiting are served in turns; and a connection that asked too much is not even read until its time has come.
TLS ends at a proxy.
"""

import contextlib
import socket
import threading
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from functools import partial
from selectors import EVENT_READ
from typing import Any

from gunicorn import http
from gunicorn.workers.gthread import TConn, ThreadWorker
from prometheus_client import Counter as Figure

from vai_app.api.protection import HELD, HOLD
from vai_app.api.reception import CONTINUE, Arrival, Reception, Refused
from vai_app.settings import Settings, settings

_CLOSED = Figure("vai_connections_closed", "Connections closed by VAI before they were served", ["reason"])
_SWEEP_SECONDS = 0.1
_LINGER_SECONDS = 2.0
_SEND_SECONDS = 10.0
_MOST_ACCEPTED_AT_ONCE = 32
_MOST_HELD = 1000
_HELD_EVERYWHERE = ("address", "token")
_READ_BYTES = 65_536


class Connection(TConn):
    """One client's connection: idle, receiving, waiting for its turn, being served, held, or lingering."""

    def __init__(self, cfg: Any, sock: socket.socket, client: Any, server: Any, largest_body_bytes: int) -> None:
        super().__init__(cfg, sock, client, server)
        self.address = str(client[0]) if isinstance(client, tuple) else ""
        self.reception = Reception(largest_body_bytes)
        self.data_ready = True  # a thread sees whole requests only
        self.deadline: float | None = None
        self.at_deadline: Callable[[Connection], None] | None = None
        self.receiving = False
        self.hold_seconds = 0.0

    def init(self) -> None:
        """Give the parser the one request that has arrived, and nothing to read after it."""
        self.initialized = True
        self.parser = http.get_parser(self.cfg, iter([self.reception.take()]), self.client)
        self.sock.settimeout(_SEND_SECONDS)


class FairWorker(ThreadWorker):
    """Replaces how ``ThreadWorker`` receives, queues and ends; how it serves stays gunicorn's."""

    wsgi: Any

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._settings: Settings = settings()
        self._connections: set[Connection] = set()
        self._of_address: Counter[str] = Counter()
        self._waiting: OrderedDict[str, deque[Connection]] = OrderedDict()
        self._serving = 0
        self._sweep_at = 0.0
        self._stopping = False
        self._served = threading.local()
        self._held: dict[str | bytes, float] = {}

    def load_wsgi(self) -> None:
        """Learn from each answer how long its connection is to be held."""
        super().load_wsgi()
        application = self.wsgi

        def noticed(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
            answer: Iterable[bytes] = application(environ, start_response)
            if HOLD in environ:
                self._hold(self._served.connection, environ)
            return answer

        self.wsgi = noticed

    def handle_request(self, req: Any, conn: Connection) -> Any:
        """Serve one request, in a thread."""
        conn.hold_seconds = 0.0
        self._served.connection = conn
        return super().handle_request(req, conn)

    def accept(self, listener: socket.socket) -> None:
        """Take the connections that wait."""
        for _ in range(_MOST_ACCEPTED_AT_ONCE):
            try:
                client, address = listener.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            connection = Connection(
                self.cfg, client, address, listener.getsockname(), self._settings.largest_body_bytes
            )
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._connections.add(connection)
            self._of_address[connection.address] += 1
            self.nr_conns += 1
            self._make_room(connection.address)
            self._receive(connection, first=True)

    def enqueue_req(self, conn: Connection) -> None:
        """Let the connection wait for its address's turn."""
        self._waiting.setdefault(conn.address, deque()).append(conn)
        self._serve_next()

    def finish_request(self, conn: Connection, fs: "Future[Any]") -> None:
        """Go on after a request was served: with the next, later, or not at all."""
        self._serving -= 1
        self._serve_next()
        keep = not fs.cancelled() and fs.exception() is None and bool(fs.result())
        if not keep or self._stopping:
            self._linger(conn)
        elif conn.hold_seconds:
            self._until(conn, conn.hold_seconds, self._receive)
        else:
            self._receive(conn)

    def murder_keepalived(self, force: bool = False) -> None:  # noqa: FBT001, FBT002 - gunicorn's signature
        """Do what is due: close what is late, go on with what was held."""
        now = time.monotonic()
        if now < self._sweep_at and not force:
            return
        self._sweep_at = now + _SWEEP_SECONDS
        for key in [key for key, until in list(self._held.items()) if until <= now]:
            del self._held[key]
        for connection in list(self._connections):
            if connection.deadline is not None and (force or now >= connection.deadline):
                due, connection.deadline = connection.at_deadline, None
                if force or due is None:
                    self._close(connection)
                else:
                    due(connection)

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        """Wait for whatever comes first; what is due is looked for often enough."""
        super().wait_for_and_dispatch_events(min(timeout, _SWEEP_SECONDS) if self._connections else timeout)

    def _cap_keepalive(self, deadline: float) -> None:
        """Begin to stop: idle connections are closed, requests that are arriving have until the deadline."""
        self._stopping = True
        for connection in list(self._connections):
            if connection.deadline is None:
                continue
            if connection.receiving:
                connection.deadline = min(connection.deadline, deadline)
            else:
                self._close(connection)

    def _serve_next(self) -> None:
        """Give free threads to the addresses that wait, each in its turn."""
        while self._waiting and self._serving < self.cfg.threads:
            address, queue = self._waiting.popitem(last=False)
            connection = queue.popleft()
            if queue:
                self._waiting[address] = queue
            self._serving += 1
            super().enqueue_req(connection)

    def _receive(self, connection: Connection, *, first: bool = False) -> None:
        """Wait for the connection's next request; the first must begin at once."""
        connection.sock.settimeout(0)
        connection.receiving = first
        seconds = self._settings.request_seconds if first else self.cfg.keepalive
        self._until(connection, seconds, self._too_slow if first else self._close)
        self.poller.register(connection.sock, EVENT_READ, partial(self._read, connection))
        self._look(connection)

    def _read(self, connection: Connection, _: Any) -> None:
        try:
            data = connection.sock.recv(_READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if not data:
            self._close(connection)
            return
        connection.reception.add(data)
        self._look(connection)

    def _look(self, connection: Connection) -> None:
        found = connection.reception.look()
        if found is Arrival.WHOLE:
            self.poller.unregister(connection.sock)
            connection.deadline, connection.receiving = None, False
            seconds = self._held_for(connection) if self._held else 0.0
            if seconds > 0:
                self._until(connection, seconds, self.enqueue_req)
            else:
                self.enqueue_req(connection)
        elif isinstance(found, Refused):
            self._refuse(connection, found)
        elif found is not Arrival.NOTHING and not connection.receiving:
            connection.receiving = True
            self._until(connection, self._settings.request_seconds, self._too_slow)
        if found is Arrival.BODY_AWAITED:
            with contextlib.suppress(OSError):
                connection.sock.send(CONTINUE)

    def _hold(self, connection: Connection, environ: dict[str, Any]) -> None:
        """Leave the connection alone for a time, and others that the same limit would refuse."""
        connection.hold_seconds = environ[HOLD]
        by = environ.get(HELD)
        if by in _HELD_EVERYWHERE and len(self._held) < _MOST_HELD:
            authorization: str = environ.get("HTTP_AUTHORIZATION", "")
            key = connection.address if by == "address" else authorization.encode("latin-1")
            self._held[key] = time.monotonic() + connection.hold_seconds

    def _held_for(self, connection: Connection) -> float:
        """Return for how many seconds a request is held before a thread refuses or serves it."""
        held = self._held
        until = max(held.get(connection.address, 0.0), held.get(connection.reception.authorization(), 0.0))
        return until - time.monotonic()

    def _too_slow(self, connection: Connection) -> None:
        _CLOSED.labels("slow").inc()
        self._refuse(connection, connection.reception.too_slow())

    def _refuse(self, connection: Connection, refused: Refused) -> None:
        """Answer as far as the client takes it at once, and close."""
        with contextlib.suppress(OSError):
            connection.sock.settimeout(0)
            connection.sock.send(refused.answer())
        self._unregister(connection)
        self._linger(connection)

    def _linger(self, connection: Connection) -> None:
        """Say that nothing more comes, and let the client read the last answer (RFC 9112, 9.6)."""
        try:
            connection.sock.settimeout(0)
            connection.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._close(connection)
            return
        connection.receiving = False
        self._until(connection, _LINGER_SECONDS, self._close)
        self.poller.register(connection.sock, EVENT_READ, partial(self._discard, connection))

    def _discard(self, connection: Connection, _: Any) -> None:
        try:
            gone = not connection.sock.recv(_READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            gone = True
        if gone:
            self._close(connection)

    def _make_room(self, address: str) -> None:
        """Close what has been receiving or idle for longest when an address, or the worker, has too many."""
        most = self._settings.connections_per_address
        if self._of_address[address] > most:
            self._close_oldest(lambda each: each.address == address)
        if self.nr_conns >= self.worker_connections:
            self._close_oldest(lambda _: True)

    def _close_oldest(self, among: Callable[[Connection], bool]) -> None:
        idle = [each for each in self._connections if each.deadline is not None and among(each)]
        if idle:
            _CLOSED.labels("crowded").inc()
            self._close(min(idle, key=lambda each: each.deadline or 0.0))

    @staticmethod
    def _until(connection: Connection, seconds: float, then: "Callable[[Connection], None]") -> None:
        connection.deadline, connection.at_deadline = time.monotonic() + seconds, then

    def _close(self, connection: Connection) -> None:
        if connection not in self._connections:
            return
        self._connections.remove(connection)
        self._of_address[connection.address] -= 1
        if not self._of_address[connection.address]:
            del self._of_address[connection.address]
        self.nr_conns -= 1
        self._unregister(connection)
        connection.close()

    def _unregister(self, connection: Connection) -> None:
        with contextlib.suppress(KeyError, ValueError):
            self.poller.unregister(connection.sock)
