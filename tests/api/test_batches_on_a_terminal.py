"""``vai batch create`` and ``vai consumption`` on a terminal: the real commands against the real API."""

import base64
import json
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from click.testing import Result
from typer.testing import CliRunner

from tests.api.installation import Installation
from vai_app.cli import context
from vai_app.cli.client import ApiClient
from vai_app.cli.main import app

IMAGE = ["--image", "debian-12", "--memory-mib", "256"]


@pytest.fixture
def run(vai: Installation, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Run ``vai`` in this process as ann; what it follows is worked off as it looks."""
    token = vai.token("ann", "acme")

    class Working(ApiClient):
        def follow(self, operation_id: str) -> object:  # type: ignore[override] # an iterator of JSON
            vai.run()
            return super().follow(operation_id)

    transport = httpx.WSGITransport(app=vai.app)
    monkeypatch.setattr(context, "client_of", lambda *_: Working("http://vai", token, transport))
    return lambda *arguments: CliRunner().invoke(app, list(arguments), env={"COLUMNS": "200"})


@pytest.mark.usefixtures("berlin", "madrid")
def test_a_batch_is_spread_as_asked_and_shown(run: Callable[..., Result]) -> None:
    made = run("batch", "create", "web", "-n", "4", *IMAGE, "--apart", "host", "--largest-share", "0.5")
    assert made.exit_code == 0, made.output
    rows = [line.split() for line in made.output.splitlines() if "web-" in line]
    assert sorted(each for row in rows for each in row if each.startswith("web-")) == [f"web-{n}" for n in range(1, 5)]
    where = [each for row in rows for each in row if each in {"berlin", "madrid"}]
    assert sorted(where) == ["berlin", "berlin", "madrid", "madrid"]


@pytest.mark.usefixtures("berlin")
def test_a_batch_that_does_not_fit_makes_nothing_or_what_fits(run: Callable[..., Result]) -> None:
    refused = run("batch", "create", "web", "-n", "3", *IMAGE, "--apart", "host")
    assert refused.exit_code == 1
    assert "1 of 3 machines have no place together with the others" in " ".join(refused.output.split())
    some = run("batch", "create", "web", "-n", "3", *IMAGE, "--apart", "host", "--some")
    assert some.exit_code == 0, some.output
    assert "No place for: web-3." in some.output


@pytest.mark.spec(17)
@pytest.mark.usefixtures("berlin")
def test_consumption_is_shown_as_a_table_json_and_csv(run: Callable[..., Result]) -> None:
    assert run("batch", "create", "web", "-n", "2", *IMAGE, "--lifetime-hours", "5").exit_code == 0
    assert "berlin" in run("consumption").output
    (row,) = json.loads(run("consumption", "--json").output)
    assert (row["tenant"], row["machines"]) == ("acme", 2)
    head, line = run("consumption", "--csv").output.splitlines()
    assert head.startswith("tenant,datacenter,since,until,machines,")
    assert line.startswith("acme,berlin,")


@pytest.mark.usefixtures("berlin")
def test_a_lifetime_is_shown_and_renewed(run: Callable[..., Result]) -> None:
    made = json.loads(run("vm", "create", "short", "-d", "berlin", *IMAGE, "--lifetime-hours", "5", "--json").output)
    before = json.loads(run("vm", "show", "short", "--json").output)["expires_at"]
    assert before in run("vm", "show", made["machine_id"]).output
    assert run("vm", "renew", "short", "--lifetime-hours", "50").exit_code == 0
    assert json.loads(run("vm", "show", "short", "--json").output)["expires_at"] > before
    assert "never" in run("vm", "renew", "short").output


@pytest.mark.usefixtures("berlin")
def test_a_file_is_told_to_the_guest_as_it_is(run: Callable[..., Result], vai: Installation, tmp_path: Path) -> None:
    (tmp_path / "user-data").write_bytes(b"\x1f\x8b of any kind")
    made = run("vm", "create", "web", "-d", "berlin", *IMAGE, "--user-data", str(tmp_path / "user-data"), "--json")
    assert made.exit_code == 0, made.output
    ref = json.loads(run("vm", "show", "web", "--json").output)["provider_ref"]
    assert base64.b64decode(vai.control("berlin").user_data(ref) or "") == b"\x1f\x8b of any kind"
    assert run("vm", "create", "web-2", "-d", "berlin", *IMAGE, "--user-data", "/nowhere").exit_code == 2


@pytest.mark.usefixtures("berlin")
def test_an_address_is_asked_for_as_network_and_address(run: Callable[..., Result]) -> None:
    made = run("vm", "create", "web", "-d", "berlin", *IMAGE, "--address", "default=198.51.100.7", "--json")
    assert made.exit_code == 0, made.output
    shown = json.loads(run("vm", "show", "web", "--json").output)
    assert shown["networks"] == ["default"]
    assert run("vm", "create", "web-2", "-d", "berlin", *IMAGE, "--address", "198.51.100.8").exit_code == 2
