"""A secret that is planted as every credential is found nowhere but encrypted, whatever VAI was made to do with it."""

import base64
import secrets
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from tests.lab.leaks import Content, database_tells, leaks, processes_tell
from tests.lab.mongo import Mongo
from tests.lab.ports import free_port
from tests.lab.process import ServerProcess, wait_until
from tests.lab.rabbitmq import RabbitMQ
from tests.lab.vai import Vai
from tests.lab.valkey import Valkey
from tests.lab.vcsim import Vcsim
from vai_app.cli.processes import FLOWER, command_lines

PLANTED = {
    name: f'{name}-"{secrets.token_hex(8)}"/+%'
    for name in ("password", "wrong-password", "next-password", "client-secret", "mongodb", "redis")
}
PLANTED["broker"] = f"broker-{secrets.token_hex(8)}"  # that server's own configuration takes no quotes
PLANTED["user-data"] = base64.b64encode(secrets.token_bytes(24)).decode()
LABEL = f"label-{secrets.token_hex(8)}"


@dataclass
class Planted:
    """VAI with secrets as its credentials; ``bodies`` are all answers that clients got."""

    folder: Path
    vai: Vai
    mongo: Mongo
    valkey: Valkey
    vcsim: Vcsim
    flower: ServerProcess
    bodies: list[str] = field(default_factory=list)

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        """Ask the API as an administrator."""
        response = httpx.request(
            method, f"{self.vai.client.base_url}{path}", json=body, timeout=60, trust_env=False,
            headers={"Authorization": f"Bearer {self.vai.token}", **headers},
        )  # fmt: skip
        self.bodies.append(f"{response.headers}\n{response.text}")
        return response

    def register(self, name: str, password: str, **changes: Any) -> httpx.Response:
        """Register the vCenter under a name."""
        body = {
            "name": name, "kind": "vmware", "endpoint": self.vcsim.endpoint, "verify_tls": False,
            "credentials": {"username": self.vcsim.username, "password": password}, **changes,
        }  # fmt: skip
        return self.ask("POST", "/api/v1/datacenters", body)


@pytest.fixture
def planted(tmp_path: Path) -> Iterator[Planted]:
    mongo, valkey = Mongo(tmp_path), Valkey(tmp_path)
    rabbitmq = RabbitMQ(tmp_path, user="vai", password=PLANTED["broker"])
    vcsim = Vcsim(tmp_path / "vcsim", "-password", PLANTED["password"])
    flower_port = free_port()
    with ExitStack() as stack:
        for server in (mongo, valkey, rabbitmq, vcsim):
            server.start()
            stack.callback(server.stop)
        mongo.add_user("vai", PLANTED["mongodb"])
        valkey.require_password(PLANTED["redis"])
        vai = Vai(
            tmp_path / "vai",
            mongo_url=mongo.url, broker_url=rabbitmq.url, redis_url=valkey.url, log_level="DEBUG", inventory_seconds=1,
            introspection_client_secret=PLANTED["client-secret"], flower_port=flower_port,
        )  # fmt: skip
        stack.enter_context(vai.running())
        flower = ServerProcess("flower", command_lines(vai.settings)[FLOWER], tmp_path / "vai", {
            **vai.environment, "FLOWER_UNAUTHENTICATED_API": "true",
        })  # fmt: skip
        flower.start(lambda: True)
        stack.callback(flower.stop)
        yield Planted(tmp_path, vai, mongo, valkey, vcsim, flower)


@pytest.mark.timeout(400)
def test_a_secret_is_found_nowhere_but_encrypted(planted: Planted) -> None:
    vai = planted.vai
    assert planted.register("vc1", PLANTED["password"]).status_code == 201
    assert planted.register("vc2", PLANTED["wrong-password"]).status_code in {409, 422, 502, 503}
    assert planted.register("vc2", PLANTED["wrong-password"], verify_now=False).status_code == 201
    assert planted.register("vc3", PLANTED["password"], call_timeout_seconds="soon").status_code == 422
    assert planted.register("vc3", PLANTED["password"], endpoint="https://127.0.0.1:1").status_code in {409, 502, 503}
    made = vai.end(vai.create("web-1", "vc1", labels={"note": LABEL}, user_data=PLANTED["user-data"]))
    assert made["state"] == "succeeded", made["problem"]
    stuck = vai.create("web-2", "vc2", user_data=PLANTED["user-data"])
    wait_until(
        lambda: planted.ask("GET", "/api/v1/datacenters/vc2").json()["reachability"] == "unreachable",
        seconds=60, what="the wrong password is found out",
    )  # fmt: skip
    planted.ask("POST", "/api/v1/datacenters/vc2/verify")
    tag = planted.ask("GET", "/api/v1/datacenters/vc2").headers["ETag"]
    change = {"credentials": {"username": "user", "password": PLANTED["next-password"]}}
    planted.ask("PATCH", "/api/v1/datacenters/vc2", change, **{"If-Match": tag})
    token = planted.ask("POST", "/api/v1/tokens", {"name": "ci", "tenant": "acme", "roles": ["developer"]}).json()
    planted.bodies.pop()  # the one answer that tells a token
    httpx.get(
        f"{vai.client.base_url}/api/v1/virtual-machines", headers={"Authorization": f"Bearer {token['secret']}"},
        trust_env=False,
    )  # fmt: skip
    planted.ask("POST", f"/api/v1/operations/{stuck['id']}/cancel")
    for path in ("virtual-machines", "operations", "events", "datacenters", "tokens"):
        planted.ask("GET", f"/api/v1/{path}")
    planted.ask("GET", "/metrics")

    secret = {*PLANTED.values(), vai.token, token["secret"], vai.environment["VAI_SECRET_KEY"]}
    contents = list(_everything(planted))
    assert leaks(contents, secret) == []
    # Whoever looks so would find one: a label is no secret, and stands where it was given.
    assert {where for where, _ in leaks(contents, [LABEL])} >= {
        "answers",
        "collection machines",
        "log of worker-provision",
    }


def _everything(planted: Planted) -> Iterator[Content]:
    """Yield what can be read of VAI, and where."""
    yield "answers", "\n".join(planted.bodies).encode()
    yield from processes_tell({**planted.vai.processes, FLOWER: planted.flower})
    yield from database_tells(planted.vai)
    valkey = redis.Redis.from_url(planted.valkey.url)
    for key in valkey.scan_iter():
        yield f"key {key!r}", valkey.dump(key) or b""
    for path in ("workers?refresh=1", "tasks", "tasks?limit=100"):
        answered = _flower(planted, path)
        yield f"Flower's {path}", answered
    for file in (planted.folder / "rabbitmq").rglob("*"):
        if file.is_file() and file.name != "rabbitmq.conf":  # in which the server was told its password
            yield str(file), file.read_bytes()


def _flower(planted: Planted, path: str) -> bytes:
    port = planted.vai.settings.flower_port
    answers: list[httpx.Response] = []

    def answered() -> bool:
        try:
            answers.append(httpx.get(f"http://127.0.0.1:{port}/api/{path}", trust_env=False, timeout=30))
        except httpx.HTTPError:
            return False
        return answers[-1].status_code == 200

    wait_until(answered, seconds=60, what=f"Flower answers {path}")
    return answers[-1].content
