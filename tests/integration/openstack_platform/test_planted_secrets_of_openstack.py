"""A secret that is planted as the password of an OpenStack account is found nowhere but encrypted."""

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.leaks import Content, database_tells, leaks, processes_tell
from tests.lab.openstack.cloud import Account, Cloud
from tests.lab.openstack.content import IMAGE
from tests.lab.process import wait_until
from tests.lab.vai import Vai
from vai_app.domain.errors import VaiError

PASSWORD, WRONG = (f'{name}-"{secrets.token_hex(8)}"/+%' for name in ("password", "wrong"))
LABEL = f"label-{secrets.token_hex(8)}"


@pytest.fixture
def account(openstack_cloud: Cloud) -> Account:
    """A project with a password of its own."""
    return openstack_cloud.new_project(PASSWORD)


def test_an_openstack_password_is_found_nowhere_but_encrypted(
    tmp_path: Path, account: Account, mongo_url: str, rabbitmq_url: str, valkey_url: str
) -> None:
    answers: list[str] = []
    vai = Vai(
        tmp_path / "vai", mongo_url=mongo_url, broker_url=rabbitmq_url, redis_url=valkey_url, log_level="DEBUG",
        inventory_seconds=1,
    )  # fmt: skip
    body = {"kind": "openstack", "endpoint": account.auth_url, "verify_tls": False}
    options = {"region": account.region}

    def credentials(password: str) -> dict[str, str]:
        return {"username": account.username, "password": password, "project": account.project}

    with vai.running():
        entry = {**body, "name": "os", "credentials": credentials(PASSWORD), "options": options}
        answers.append(str(vai.client.post("/datacenters", entry)))
        for changes in ({"credentials": credentials(WRONG)}, {"endpoint": "http://127.0.0.1:1/v3"}):
            with pytest.raises(VaiError) as refused:
                vai.client.post("/datacenters", {**entry, "name": "os2", **changes})
            answers.append(f"{refused.value} {refused.value.detail}")
        vai.client.post(
            "/datacenters", {**entry, "name": "os3", "credentials": credentials(WRONG), "verify_now": False}
        )
        wait_until(
            lambda: vai.client.get("/datacenters/os3")["reachability"] == "unreachable",
            seconds=60, what="the wrong password is found out",
        )  # fmt: skip
        asked = {"cpus": 1, "memory_mib": 512, "disk_gib": 1, "image": IMAGE, "networks": ["lab-net"]}
        made = vai.end(vai.create("web-1", "os", **asked, labels={"note": LABEL}), seconds=120)
        assert made["state"] == "succeeded", made["problem"]
        answers += [
            str(vai.client.get(f"/{path}")) for path in ("virtual-machines", "operations", "events", "datacenters")
        ]
        assert vai.end(vai.client.delete(f"/virtual-machines/{made['machine_id']}"), 120)["state"] == "succeeded"
        contents = list(_everything(vai, answers))
    assert leaks(contents, [PASSWORD, WRONG]) == []
    assert {where for where, _ in leaks(contents, [LABEL])} >= {
        "answers",
        "collection machines",
        "log of worker-provision",
    }


def _everything(vai: Vai, answers: list[str]) -> Iterator[Content]:
    yield "answers", "\n".join(answers).encode()
    yield from processes_tell(vai.processes)
    yield from database_tells(vai)
