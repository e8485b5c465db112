"""``vai vm create`` tells why a machine goes where it goes: the real commands against the real API."""

import json

import httpx
import pytest
from flask.testing import FlaskClient
from typer.testing import CliRunner

from tests.api.installation import API, Installation
from vai_app.cli import context
from vai_app.cli.client import ApiClient
from vai_app.cli.main import app

GIB = 1024
HUGE = ["--memory-mib", str(24 * GIB), "--cpus", "2", "--image", "debian-12"]


@pytest.fixture
def vai_command(vai: Installation, admin: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    """Run ``vai`` in this process, as ann, against two datacenters: ``small`` is short, ``large`` is not."""
    for name, memory_mib in (("small", 16 * GIB), ("large", 64 * GIB)):
        options = {"host_memory_mib": memory_mib}
        assert admin.post(f"{API}/datacenters", json=vai.datacenter_body(name, options=options)).status_code == 201
        vai.reconcile(name)
    token = vai.token("ann", "acme")
    transport = httpx.WSGITransport(app=vai.app)
    monkeypatch.setattr(context, "client_of", lambda *_: ApiClient("http://vai", token, transport))
    return CliRunner()


def test_a_dry_run_shows_each_check_with_its_numbers(vai_command: CliRunner) -> None:
    shown = vai_command.invoke(app, ["vm", "create", "big", "-d", "small", *HUGE, "--dry-run"])
    assert shown.exit_code == 0, shown.output
    assert "24576 >  16384" in shown.output
    assert "24576 of 65536" in shown.output
    assert "Fits in: large" in shown.output
    assert "Would fit in small: 2 CPUs, 16384 MiB" in shown.output


def test_a_dry_run_for_programs_is_json(vai_command: CliRunner) -> None:
    shown = vai_command.invoke(app, ["vm", "create", "big", "-d", "small", *HUGE, "--dry-run", "--json"])
    assert [each["fits"] for each in json.loads(shown.output)["datacenters"]] == [False, True]


def test_a_rejected_machine_is_explained_and_confirmed(vai: Installation, vai_command: CliRunner) -> None:
    accepted = vai_command.invoke(app, ["vm", "create", "big", "-d", "small", *HUGE, "--no-wait", "--json"])
    operation = json.loads(accepted.output)["id"]
    vai.run()
    refused = vai_command.invoke(app, ["operation", "watch", operation])
    assert refused.exit_code == 1
    assert f"vai operation confirm {operation}" in refused.output
    explained = vai_command.invoke(app, ["operation", "explain", operation])
    assert "24576 >  16384" in explained.output
    confirmed = vai_command.invoke(app, ["operation", "confirm", operation, "--no-wait", "--json"])
    vai.run()
    watched = vai_command.invoke(app, ["operation", "watch", json.loads(confirmed.output)["id"], "--json"])
    assert json.loads(watched.output)["state"] == "succeeded"


def test_with_consent_beforehand_the_machine_goes_elsewhere(vai: Installation, vai_command: CliRunner) -> None:
    asked = ["vm", "create", "big", "-d", "small", *HUGE, "--elsewhere", "automatically", "--no-wait", "--json"]
    operation = json.loads(vai_command.invoke(app, asked).output)["id"]
    vai.run()
    explained = vai_command.invoke(app, ["operation", "explain", operation])
    assert "Chosen: large" in explained.output


def test_an_operator_sets_what_is_kept_free(vai: Installation, vai_command: CliRunner) -> None:
    token = vai.token("root", "ops", "admin")
    transport = httpx.WSGITransport(app=vai.app)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(context, "client_of", lambda *_: ApiClient("http://vai", token, transport))
        for options in (["--failover-hosts", "1"], ["--strategy", "pack"]):
            changed = vai_command.invoke(app, ["datacenter", "placement", "large", *options, "--json"])
            assert changed.exit_code == 0, changed.output
    settings = json.loads(changed.output)["placement"]
    assert (settings["failover_hosts"], settings["strategy"]) == (1, "pack")
