"""Clients of the API on loopback, honest and other, each from an address of its own: bounded in count and time.

``python -m tests.lab.clients KIND PORT SECONDS ADDRESS:CONNECTIONS:TOKEN ...`` prints what was answered, as JSON.
One thread, plain sockets: the clients must cost less than what they measure.
"""

import json
import selectors
import socket
import subprocess
import sys
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field

PATH = "/api/v1/virtual-machines?page_size=5"
MOST_REQUESTS = 200_000
HONEST, FLOOD, FLOOD_ANEW, SLOW = "honest", "flood", "flood-anew", "slow"
PACE_SECONDS = 0.025
"""Between the requests of an honest client: 40 a second."""
_DRIP_SECONDS = 0.5
_END_SECONDS = 30.0


@dataclass
class Answers:
    """What came back: how often each status (0: the connection was closed), and how many per second were 200."""

    statuses: Counter[int] = field(default_factory=Counter)
    seconds: float = 0.0

    @property
    def served_per_second(self) -> float:
        """Requests that were served, a second."""
        return self.statuses[200] / self.seconds


@dataclass(frozen=True)
class Group:
    """Connections from one address with one token."""

    address: str
    connections: int
    token: str

    def __str__(self) -> str:
        """Return it as an argument."""
        return f"{self.address}:{self.connections}:{self.token}"


class Clients:
    """Clients in a process of their own."""

    def __init__(self, kind: str, port: int, seconds: float, groups: Sequence[Group]) -> None:
        """Start them; they stop by themselves after ``seconds``."""
        command = [sys.executable, "-m", "tests.lab.clients", kind, str(port), str(seconds), *map(str, groups)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self._seconds = seconds

    def answers(self) -> Answers:
        """Wait for the end and return what was answered."""
        output, _ = self._process.communicate(timeout=self._seconds + _END_SECONDS)
        assert self._process.returncode == 0
        found = json.loads(output)
        return Answers(Counter({int(status): count for status, count in found["statuses"].items()}), found["seconds"])


class _Client:
    """One connection after another from one address: sends a request, reads its answer, sends the next."""

    def __init__(self, kind: str, address: str, port: int, token: str) -> None:
        self._address, self._port = address, port
        self._anew, self._drip = kind == FLOOD_ANEW, kind == SLOW
        self.pace_seconds = PACE_SECONDS if kind == HONEST else 0.0
        self.due_at = 0.0
        self._request = (
            f"GET {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\nAccept: application/json\r\n"
            f"X-Padding: {'x' * (500 if kind == SLOW else 1)}\r\n\r\n"
        ).encode()
        self.sock: socket.socket | None = None

    def begin(self, selector: selectors.BaseSelector) -> bool:
        """Send the next request, on a new connection where needed; whether it could be."""
        if self.sock is None:
            sock = socket.socket()
            try:
                sock.bind((self._address, 0))
                sock.settimeout(5)
                sock.connect(("127.0.0.1", self._port))
            except OSError:
                sock.close()
                return False
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setblocking(False)
            selector.register(sock, selectors.EVENT_READ, self)
            self.sock, self._sent, self._buffer = sock, 0, b""
        try:
            self.sock.send(self._request[:1] if self._drip else self._request)
            self._sent = 1
        except OSError:
            self.end(selector)
            return False
        return True

    def drip(self) -> None:
        """Send one byte more, never the last."""
        if self.sock is not None and self._sent < len(self._request) - 1:
            try:
                self.sock.send(self._request[self._sent : self._sent + 1])
                self._sent += 1
            except OSError:
                pass

    def read(self, selector: selectors.BaseSelector) -> int | None:
        """Return the status of the answer once it is whole, 0 when the connection was closed."""
        assert self.sock is not None
        try:
            data = self.sock.recv(262_144)
        except BlockingIOError:
            return None
        except OSError:
            data = b""
        if not data:
            self.end(selector)
            return 0
        self._buffer += data
        head, end, body = self._buffer.partition(b"\r\n\r\n")
        if not end:
            return None
        lowered = head.lower()
        length = int(lowered.partition(b"content-length:")[2].partition(b"\r\n")[0])
        if len(body) < length:
            return None
        self._buffer = body[length:]
        if self._anew or b"\r\nconnection: close" in lowered:
            self.end(selector)
        return int(head[9:12])

    def end(self, selector: selectors.BaseSelector) -> None:
        """Close the connection."""
        if self.sock is not None:
            selector.unregister(self.sock)
            self.sock.close()
            self.sock = None


def run(kind: str, port: int, seconds: float, groups: Sequence[Group]) -> Answers:
    """Send until the time is over."""
    answers, selector = Answers(), selectors.DefaultSelector()
    clients = [_Client(kind, group.address, port, group.token) for group in groups for _ in range(group.connections)]
    idle: deque[_Client] = deque(clients)
    began_at = time.monotonic()
    drip_at, sent = began_at + _DRIP_SECONDS, 0
    while (now := time.monotonic()) < began_at + seconds:
        for _ in range(len(idle)):
            client = idle.popleft()
            if now < client.due_at or sent >= MOST_REQUESTS or not client.begin(selector):
                idle.append(client)
                continue
            client.due_at = max(client.due_at, now - client.pace_seconds) + client.pace_seconds
            sent += 1
        if kind == SLOW and now >= drip_at:
            drip_at = now + _DRIP_SECONDS
            for client in clients:
                client.drip()
        for key, _ in selector.select(timeout=0.002 if kind == HONEST else 0.05):
            status = key.data.read(selector)
            if status is not None:
                answers.statuses[status] += 1
                idle.append(key.data)
    answers.seconds = time.monotonic() - began_at
    for client in clients:
        client.end(selector)
    return answers


def _main(arguments: Sequence[str]) -> None:
    kind, port, seconds, *given = arguments
    parts = [each.split(":") for each in given]
    groups = [Group(address, int(connections), token) for address, connections, token in parts]
    answers = run(kind, int(port), float(seconds), groups)
    print(json.dumps({"statuses": dict(answers.statuses), "seconds": answers.seconds}))


if __name__ == "__main__":
    _main(sys.argv[1:])
