"""A TLS server that says what it is told to: the bad days of a vCenter, and answers in parts."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.lab.certificates import self_signed
from vai_app.domain.datacenters import Connection

ENVELOPE = (
    '<?xml version="1.0" encoding="UTF-8"?><soapenv:Envelope '
    'xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" xmlns:xsd="http://www.w3.org/2001/XMLSchema" '
    'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><soapenv:Body>{}</soapenv:Body></soapenv:Envelope>'
)
CONTENT = (
    '<rootFolder type="Folder">group-d1</rootFolder>'
    '<propertyCollector type="PropertyCollector">propertyCollector</propertyCollector>'
    "<about><name>VMware vCenter Server</name><fullName>x</fullName><vendor>x</vendor><version>8.0.3</version>"
    "<build>1</build><osType>x</osType><productLineId>vpx</productLineId><apiType>VirtualCenter</apiType>"
    "<apiVersion>8.0.3.0</apiVersion></about>"
    '<sessionManager type="SessionManager">SessionManager</sessionManager>'
)

Reply = Callable[[ssl.SSLSocket, str], None]


@dataclass
class Peer:
    """What the server says to each SOAP method, and what it heard."""

    folder: Path
    replies: dict[str, Reply] = field(default_factory=dict)
    heard: list[str] = field(default_factory=list)
    lines: int = 0
    _stop: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def serving(self) -> Iterator[Connection]:
        """Serve on a free port; yields how it is reached, with a call timeout of one second."""
        certificate, key = self_signed("127.0.0.1")
        chain = self.folder / "peer.pem"
        chain.write_text(certificate + key)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(chain)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            thread = threading.Thread(target=self._accept, args=(listener, context), daemon=True)
            thread.start()
            yield Connection(
                datacenter_id="dc-1",
                kind="vmware",
                endpoint=f"https://127.0.0.1:{listener.getsockname()[1]}",
                credentials={"username": "user", "password": "pass"},
                ca_certificate=certificate,
                call_timeout_seconds=1.0,
            )
            self._stop.set()
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
        thread.join(5)

    def wait(self, seconds: float) -> None:
        """Say nothing for a while, or until the test has ended."""
        self._stop.wait(seconds)

    def _accept(self, listener: socket.socket, context: ssl.SSLContext) -> None:
        while not self._stop.is_set():
            try:
                plain, _ = listener.accept()
            except OSError:
                return
            self.lines += 1
            threading.Thread(target=self._serve, args=(plain, context), daemon=True).start()

    def _serve(self, plain: socket.socket, context: ssl.SSLContext) -> None:
        with suppress(OSError), context.wrap_socket(plain, server_side=True) as line:
            while method := _method(line):
                self.heard.append(method)
                self.replies.get(method, _usual)(line, method)


def say(line: ssl.SSLSocket, body: str, status: str = "200 OK", headers: str = "") -> None:
    """Answer with a body."""
    raw = body.encode()
    line.sendall(f"HTTP/1.1 {status}\r\nContent-Length: {len(raw)}\r\n{headers}\r\n".encode() + raw)


def answer(method: str, content: str) -> str:
    """Return a SOAP answer to a method."""
    return ENVELOPE.format(f'<{method}Response xmlns="urn:vim25"><returnval>{content}</returnval></{method}Response>')


def fault(kind: str, members: str = "") -> str:
    """Return a SOAP fault of a vSphere type."""
    return ENVELOPE.format(
        "<soapenv:Fault><faultcode>ServerFaultCode</faultcode><faultstring>no</faultstring>"
        f'<detail><{kind}Fault xmlns="urn:vim25" xsi:type="{kind}">{members}</{kind}Fault></detail></soapenv:Fault>'
    )


def _usual(line: ssl.SSLSocket, method: str) -> None:
    if method == "RetrieveServiceContent":
        say(line, answer(method, CONTENT))
    elif method == "Login":
        session = (
            "<key>k</key><userName>user</userName><fullName>u</fullName><loginTime>2026-01-01T00:00:00Z</loginTime>"
        )
        say(line, answer(method, session), headers='Set-Cookie: vmware_soap_session="abc"; Path=/\r\n')
    else:
        say(line, answer(method, ""))


def _method(line: ssl.SSLSocket) -> str:
    """Read one request and return its SOAP method; empty at the end."""
    data = b""
    while b"\r\n\r\n" not in data:
        chunk = line.recv(65536)
        if not chunk:
            return ""
        data += chunk
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
    while len(body) < length:
        body += line.recv(65536)
    return body.partition(b"Body><")[2].partition(b" ")[0].decode()
