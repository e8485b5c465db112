"""A proxy in front of real HTTP services that makes what networks and overloaded servers do happen on demand.

It listens on one loopback port for each service, hands requests on, and rewrites the services' own addresses in
answers (catalogues, links) to its own, so that a client that enters through it stays on it.
"""

import http.client
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_SERVICE_SECONDS = 120
_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length"}


@dataclass(frozen=True)
class Call:
    """One request as the proxy saw it; ``status`` is the service's, ``None`` when it was not asked."""

    service: str
    method: str
    path: str
    status: int | None


@dataclass
class Rule:
    """What happens to the next ``times`` requests of a method whose path matches; see the functions below.

    ``method`` and ``path`` are regular expressions: the whole method, and a part of the path with its query.
    """

    method: str
    path: str
    times: int = 1
    service: str | None = None
    asks: bool = True  # whether the service gets the request
    answers: bool = True  # whether the client gets the service's answer
    delay_seconds: float = 0.0
    status: int | None = None  # an answer of the proxy's own
    headers: Mapping[str, str] = field(default_factory=dict)
    used: int = 0

    def takes(self, service: str, method: str, path: str) -> bool:
        """Whether this request is the rule's."""
        return (
            self.used < self.times
            and self.service in (None, service)
            and re.fullmatch(self.method, method) is not None
            and re.search(self.path, path) is not None
        )


def drop_answer(method: str, path: str, *, times: int = 1, service: str | None = None) -> Rule:
    """Let the service do the work, then cut the connection: the client cannot know."""
    return Rule(method, path, times, service, answers=False)


def cut(method: str, path: str, *, times: int = 1, service: str | None = None) -> Rule:
    """Cut the connection before the service hears of it."""
    return Rule(method, path, times, service, asks=False, answers=False)


def delay(method: str, path: str, *, seconds: float, times: int = 1, service: str | None = None) -> Rule:
    """Hand the request on this late."""
    return Rule(method, path, times, service, delay_seconds=seconds)


def answer(
    method: str, path: str, *, status: int, retry_after: int | None = None, times: int = 1, service: str | None = None
) -> Rule:
    """Answer in the service's place: 500, 503 or 429 with Retry-After, 409, 401 ..."""
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    return Rule(method, path, times, service, asks=False, status=status, headers=headers)


class HttpProxy:
    """``ports`` says where each service is reached through the proxy."""

    def __init__(self, services: Mapping[str, int]) -> None:
        """``services`` are loopback ports by name."""
        self._lock = threading.Lock()
        self._rules: list[Rule] = []
        self._calls: list[Call] = []
        self._servers = {name: _Server(self, name, port) for name, port in services.items()}
        self.ports = {name: int(server.server_address[1]) for name, server in self._servers.items()}
        self.rewrites = {
            f"//127.0.0.1:{port}".encode(): f"//127.0.0.1:{self.ports[name]}".encode()
            for name, port in services.items()
        }

    @contextmanager
    def running(self) -> Iterator["HttpProxy"]:
        """Serve, lend and end."""
        for server in self._servers.values():
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        try:
            yield self
        finally:
            for server in self._servers.values():
                server.shutdown()
                server.server_close()

    def add(self, rule: Rule) -> Rule:
        """Let a rule take effect; the first that takes a request decides. ``rule.used`` counts."""
        with self._lock:
            self._rules.append(rule)
        return rule

    def clear(self) -> None:
        """Take back every rule and forget the calls."""
        with self._lock:
            self._rules.clear()
            self._calls.clear()

    @property
    def calls(self) -> list[Call]:
        """Every request since the last ``clear``, in the order of their ends."""
        with self._lock:
            return list(self._calls)

    def count(self) -> Counter[str]:
        """Return the number of requests to each service since the last ``clear``."""
        return Counter(call.service for call in self.calls)

    def rule_for(self, service: str, method: str, path: str) -> Rule | None:
        """Return the rule that takes a request, having counted it."""
        with self._lock:
            for rule in self._rules:
                if rule.takes(service, method, path):
                    rule.used += 1
                    return rule
        return None

    def record(self, call: Call) -> None:
        """Remember a request."""
        with self._lock:
            self._calls.append(call)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, proxy: HttpProxy, service: str, upstream: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.proxy = proxy
        self.service = service
        self.upstream = upstream

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of clients that went away."""


class _Handler(BaseHTTPRequestHandler):
    """One client connection; it has a connection of its own to the service."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server
    _upstream: http.client.HTTPConnection | None = None

    def _hand_on(self) -> None:
        length = self.headers.get("Content-Length")
        body = self._chunks() if "chunked" in self.headers.get("Transfer-Encoding", "") else None
        if length is not None:
            body = self.rfile.read(int(length))
        proxy, service = self.server.proxy, self.server.service
        rule = proxy.rule_for(service, self.command, self.path)
        if rule and rule.delay_seconds:
            time.sleep(rule.delay_seconds)
        status, headers, content = (None, {}, b"") if rule and not rule.asks else self._ask(body)
        proxy.record(Call(service, self.command, self.path, status))
        if rule and not rule.answers:
            self.close_connection = True
            return
        if rule and rule.status is not None:
            status, headers, content = rule.status, dict(rule.headers), b""
        self._answer(status or http.client.BAD_GATEWAY, headers, content)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _hand_on  # noqa: N815 - http.server's names

    def _ask(self, body: bytes | None) -> tuple[int, dict[str, str], bytes]:
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOP_BY_HOP}
        headers["Accept-Encoding"] = "identity"
        headers["Content-Length"] = str(len(body or b""))
        fresh = self._upstream is None
        if self._upstream is None:
            self._upstream = http.client.HTTPConnection("127.0.0.1", self.server.upstream, timeout=_SERVICE_SECONDS)
        try:
            self._upstream.request(self.command, self.path, body=body, headers=headers)
            response = self._upstream.getresponse()
        except (http.client.RemoteDisconnected, ConnectionError):
            if fresh:
                raise
            # The service closes idle connections: it saw nothing of this request.
            self._upstream.close()
            self._upstream.request(self.command, self.path, body=body, headers=headers)
            response = self._upstream.getresponse()
        content = response.read()
        kept = {name: value for name, value in response.getheaders() if name.lower() not in _HOP_BY_HOP}
        return response.status, kept, content

    def _answer(self, status: int, headers: Mapping[str, str], content: bytes) -> None:
        rewrites = self.server.proxy.rewrites
        if "octet-stream" not in headers.get("Content-Type", ""):
            for own, ours in rewrites.items():
                content = content.replace(own, ours)
        self.send_response_only(status)
        for name, value in headers.items():
            for own, ours in rewrites.items():
                value = value.replace(own.decode(), ours.decode())  # noqa: PLW2901 - Location among them
            self.send_header(name, value)
        if status != http.client.NO_CONTENT:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _chunks(self) -> bytes:
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def finish(self) -> None:
        if self._upstream is not None:
            self._upstream.close()
        with suppress(OSError):
            super().finish()
