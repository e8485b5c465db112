"""HTTPS to one vCenter: keep-alive lines shared by many threads, each call within its deadline, in bytes.

pyVmomi's own adapter has one socket timeout for all calls, counts it anew with every packet and leaves HTTP
statuses to be read from messages; this one keeps a deadline per call and tells failures apart by type.
"""

import select
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPResponse, HTTPSConnection, IncompleteRead
from time import monotonic

from vai_app.drivers.vmware.options import Endpoint

PATH = "/sdk"
SOAP_ACTION = '"urn:vim25/6.5"'  # the oldest API that is spoken to; every later vCenter still serves it
IDLE_LINES = 32
_CHUNK_BYTES = 1 << 18
_ANSWERED = (200, 500)  # SOAP says 500 for a fault
_COOKIE = "vmware_soap_session"


class UnexpectedStatus(Exception):
    """An HTTP status that no SOAP service gives."""

    def __init__(self, status: int) -> None:
        """``status`` as it came."""
        super().__init__(f"HTTP {status}")
        self.status = status


class Transport:
    """Lines to one endpoint, and the session cookie that all of them send."""

    def __init__(self, endpoint: Endpoint) -> None:
        """Connect nothing yet."""
        self._endpoint = endpoint
        self._lock = threading.Lock()
        self._idle: list[Line] = []
        self._local = threading.local()
        self._cookie = ""

    @contextmanager
    def deadline(self, seconds: float) -> Iterator[None]:
        """Let every exchange of this thread within the block end by then; an outer deadline stays in force."""
        outer: float | None = getattr(self._local, "ends_at", None)
        ends_at = monotonic() + seconds
        self._local.ends_at = ends_at if outer is None else min(outer, ends_at)
        try:
            yield
        finally:
            self._local.ends_at = outer

    def remaining_seconds(self) -> float:
        """Return what is left of this thread's deadline. Raises TimeoutError when it has passed."""
        ends_at: float | None = getattr(self._local, "ends_at", None)
        if ends_at is None:
            return self._endpoint.call_timeout_seconds
        left = ends_at - monotonic()
        if left <= 0:
            raise TimeoutError
        return left

    def exchange(self, request: bytes, *, new_session: bool = False) -> tuple[int, bytes]:
        """Send and return status and body. ``new_session`` sends no cookie, and keeps the one that comes.

        Raises OSError (TimeoutError and ssl.SSLError are such), HTTPException, UnexpectedStatus.
        """
        line = self._take()
        try:
            line.send(request, "" if new_session else self._cookie)
            status, body = line.receive()
        except BaseException:
            line.close()
            raise
        if new_session:
            self._cookie = line.cookie or self._cookie
        self._give_back(line)
        return status, body

    def new_line(self) -> "Line":
        """Return a line that nobody else uses; the caller closes it."""
        return Line(self._endpoint, self.remaining_seconds)

    @property
    def cookie(self) -> str:
        """The session's cookie, as a request header has it."""
        return self._cookie

    def close(self) -> None:
        """Close the idle lines and forget the session."""
        self._cookie = ""
        with self._lock:
            idle, self._idle = self._idle, []
        for line in idle:
            line.close()

    def _take(self) -> "Line":
        while True:
            with self._lock:
                if not self._idle:
                    return self.new_line()
                line = self._idle.pop()
            if not line.readable(0):
                return line
            line.close()  # an idle line has nothing to say but that its other end is gone

    def _give_back(self, line: "Line") -> None:
        with self._lock:
            if line.reusable and len(self._idle) < IDLE_LINES:
                self._idle.append(line)
                return
        line.close()


class Line:
    """One keep-alive connection, used by one thread at a time: a request, then its answer."""

    def __init__(self, endpoint: Endpoint, remaining_seconds: Callable[[], float]) -> None:
        """Connect at the first request."""
        self._remaining = remaining_seconds
        self._http = HTTPSConnection(endpoint.host, endpoint.port, context=endpoint.context)
        self._socket: ssl.SSLSocket | None = None  # the connection's own, which forgets it at times
        self.cookie: str | None = None
        self.reusable = False

    def send(self, request: bytes, cookie: str) -> None:
        """Send a SOAP request."""
        connected = self._connected()
        headers = {"Content-Type": "text/xml; charset=utf-8", "SOAPAction": SOAP_ACTION}
        if cookie:
            headers["Cookie"] = cookie
        connected.settimeout(self._remaining())
        self._http.request("POST", PATH, request, headers)

    def readable(self, seconds: float) -> bool:
        """Wait until bytes have come, or the end of the connection; returns whether they have."""
        if self._socket is None:
            return False
        if self._socket.pending():
            return True
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return bool(poll.poll(seconds * 1000))

    def receive(self) -> tuple[int, bytes]:
        """Return status and body of the answer. Raises UnexpectedStatus, OSError, HTTPException."""
        self.reusable = False
        connected = self._connected()
        connected.settimeout(self._remaining())
        response = self._http.getresponse()
        body = self._read(response, connected)
        if response.status not in _ANSWERED:
            raise UnexpectedStatus(response.status)
        self.cookie = _session_cookie(response)
        self.reusable = not response.will_close
        return response.status, body

    def close(self) -> None:
        """Close; may be called twice."""
        self._http.close()

    def _connected(self) -> ssl.SSLSocket:
        if self._socket is None:
            self._http.timeout = self._remaining()
            self._http.connect()
            self._socket = self._http.sock
        return self._socket

    def _read(self, response: HTTPResponse, connected: ssl.SSLSocket) -> bytes:
        """Read the body to its end; each packet has what is left of the deadline, not all of it anew."""
        chunks = []
        while not response.isclosed():
            connected.settimeout(self._remaining())
            chunk = response.read1(_CHUNK_BYTES)
            if not chunk:
                break
            chunks.append(chunk)
        body = b"".join(chunks)
        if response.length:
            raise IncompleteRead(body, response.length)
        response.close()
        return body


def _session_cookie(response: HTTPResponse) -> str | None:
    for cookie in response.headers.get_all("Set-Cookie", ()):
        pair = cookie.partition(";")[0].strip()
        if pair.startswith(_COOKIE):
            return pair
    return None
