"""The lab's fault-injecting proxy, in front of a real HTTP server."""

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from tests.lab.http_proxy import HttpProxy, answer, cut, delay, drop_answer


class _Service(BaseHTTPRequestHandler):
    """Counts what it was asked for, and tells its own address."""

    protocol_version = "HTTP/1.1"
    done: list[str]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.done.append(f"{self.command} {self.path} {body.decode()}")
        own = f"http://127.0.0.1:{self.server.server_address[1]}/v2"
        content = json.dumps({"link": own, "host": self.headers["Host"]}).encode()
        self.send_response(202)
        self.send_header("Location", f"{own}/1")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST  # noqa: N815

    def log_message(self, *_arguments: object) -> None:
        """Keep quiet."""


@pytest.fixture
def done() -> list[str]:
    return []


@pytest.fixture
def proxy(done: list[str]) -> Iterator[HttpProxy]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Service", (_Service,), {"done": done}))
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    with HttpProxy({"nova": server.server_address[1]}).running() as proxy:
        yield proxy
    server.shutdown()
    server.server_close()


@pytest.fixture
def client(proxy: HttpProxy) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"http://127.0.0.1:{proxy.ports['nova']}", trust_env=False, timeout=30) as client:
        yield client


def test_a_request_without_a_rule_reaches_the_service_and_its_addresses_become_the_proxys(
    proxy: HttpProxy, client: httpx.Client, done: list[str]
) -> None:
    answered = client.post("/servers", content=b"{}")
    assert answered.status_code == 202
    assert answered.json() == {"link": f"{client.base_url}/v2", "host": client.base_url.netloc.decode()}
    assert answered.headers["Location"] == f"{client.base_url}/v2/1"
    assert done == ["POST /servers {}"]
    assert proxy.count() == {"nova": 1}


def test_a_body_without_a_length_is_handed_on_whole(client: httpx.Client, done: list[str]) -> None:
    assert client.post("/servers", content=iter([b"first ", b"second"])).status_code == 202
    assert done == ["POST /servers first second"]


def test_a_dropped_answer_cuts_after_the_service_did_the_work(
    proxy: HttpProxy, client: httpx.Client, done: list[str]
) -> None:
    rule = proxy.add(drop_answer("POST", r"/servers$"))
    with pytest.raises(httpx.RemoteProtocolError):
        client.post("/servers")
    assert done == ["POST /servers "]
    assert client.post("/servers").status_code == 202
    assert rule.used == 1
    assert [call.status for call in proxy.calls] == [202, 202]


def test_a_cut_happens_before_the_service_hears_of_it(proxy: HttpProxy, client: httpx.Client, done: list[str]) -> None:
    proxy.add(cut("POST", r"/servers$", times=2))
    for _ in range(2):
        with pytest.raises(httpx.RemoteProtocolError):
            client.post("/servers")
    assert done == []
    assert client.post("/servers").status_code == 202


def test_an_injected_answer_carries_its_status_and_retry_after(
    proxy: HttpProxy, client: httpx.Client, done: list[str]
) -> None:
    proxy.add(answer("GET", r"/limits", status=429, retry_after=7))
    refused = client.get("/limits")
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "7")
    assert client.get("/limits").status_code == 202
    assert done == ["GET /limits "]


def test_a_delayed_request_arrives_late(proxy: HttpProxy, client: httpx.Client) -> None:
    proxy.add(delay("GET", r"/slow", seconds=0.3))
    began = time.monotonic()
    assert client.get("/slow").status_code == 202
    assert time.monotonic() - began >= 0.3


def test_a_rule_takes_only_its_method_path_and_service(proxy: HttpProxy, client: httpx.Client, done: list[str]) -> None:
    rules = [
        proxy.add(cut("DELETE", r"/servers")),
        proxy.add(cut("GET", r"/ports")),
        proxy.add(cut("GET", r"/servers", service="neutron")),
    ]
    assert client.get("/servers").status_code == 202
    assert [rule.used for rule in rules] == [0, 0, 0]
    proxy.clear()
    assert client.get("/ports").status_code == 202
    assert done == ["GET /servers ", "GET /ports "]
