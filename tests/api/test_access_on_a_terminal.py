"""``vai token``, ``vai role``, ``vai policy``, ``vai tenant``, and a refusal on the terminal."""

import json
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from click.testing import Result
from typer.testing import CliRunner

from tests.api.installation import API, Installation
from vai_app.cli import context
from vai_app.cli.client import ApiClient
from vai_app.cli.main import app

Run = Callable[..., Result]


@pytest.fixture
def run(vai: Installation, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run ``vai`` in this process, by default as an administrator."""
    root = vai.token("root", "ops", "admin")

    def run(*arguments: str, token: str = root) -> Result:
        transport = httpx.WSGITransport(app=vai.app)
        monkeypatch.setattr(context, "client_of", lambda *_: ApiClient("http://vai", token, transport))
        return CliRunner().invoke(app, list(arguments))

    return run


@pytest.mark.spec(26)
@pytest.mark.usefixtures("berlin")
def test_a_tester_sees_which_policy_refuses_the_large_machine(vai: Installation, run: Run) -> None:
    token = vai.token("tom", "acme", "tester")
    shown = run("vm", "create", "big", "-d", "berlin", "--cpus", "64", "--image", "debian-12", token=token)
    assert shown.exit_code == 1
    said = " ".join(shown.output.split())
    assert "A policy refuses this. Policy 'small-machines-for-testers' limits machine_cpus to 4, 64 asked." in said


def test_a_token_is_created_listed_used_and_revoked(vai: Installation, run: Run) -> None:
    secret = run("token", "create", "ann", "--tenant", "acme", "-r", "developer", "--days", "1").output.strip()
    assert vai.client(secret).get(f"{API}/events").status_code == 200
    listed = json.loads(run("token", "list", "--json").output)
    mine = next(each for each in listed if each["name"] == "ann")
    assert (mine["tenant"], mine["roles"]) == ("acme", ["developer"])
    assert secret not in run("token", "list", "--json").output
    assert run("token", "revoke", mine["id"]).exit_code == 0
    assert vai.client(secret).get(f"{API}/events").status_code == 401


def test_a_policy_is_created_from_a_document_changed_and_shown(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "policy.json"
    file.write_text(json.dumps({"name": "tiny", "limits": {"machine_cpus": 2}, "roles": ["developer"]}))
    assert run("policy", "create", "-f", str(file)).exit_code == 0
    shown = json.loads(run("policy", "show", "tiny", "--json").output)
    shown["limits"]["machine_cpus"] = 3
    file.write_text(json.dumps(shown))
    changed = run("policy", "change", "tiny", "-f", str(file))
    assert "machine_cpus: 3" in changed.output
    judged = run("policy", "evaluate", "-r", "developer", "--cpus", "4")
    assert "Policy 'tiny' limits machine_cpus to 3, 4 asked." in judged.output
    assert "Roles that could: admin, operator, tester." in judged.output
    assert [each["revision"] for each in json.loads(run("policy", "history", "tiny", "--json").output)] == [2, 1]
    assert run("policy", "delete", "tiny").exit_code == 0
    assert run("policy", "show", "tiny").exit_code == 1


def test_a_role_is_created_changed_and_deleted(run: Run) -> None:
    assert run("role", "create", "auditor", "-p", "events:read").exit_code == 0
    assert "events:read, operations:read" in " ".join(
        run("role", "change", "auditor", "-p", "events:read", "-p", "operations:read").output.split()
    )
    assert "auditor" in run("role", "list").output
    assert run("role", "delete", "auditor").exit_code == 0


def test_a_tenant_is_created_and_disabled(run: Run) -> None:
    assert run("tenant", "create", "acme").exit_code == 0
    assert run("tenant", "disable", "acme").exit_code == 0
    assert json.loads(run("tenant", "show", "acme", "--json").output)["enabled"] is False
    assert run("tenant", "enable", "acme").exit_code == 0


def test_a_policy_that_is_no_document_is_named(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "policy.json"
    file.write_text("cpus: 2")
    shown = run("policy", "create", "-f", str(file))
    assert shown.exit_code == 2
    assert "holds no JSON" in " ".join(shown.output.split())
