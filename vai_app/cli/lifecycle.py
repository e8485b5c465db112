"""``vai up``, ``down``, ``status``, ``doctor`` and ``prepare``: an installation from its start to its end.

What only the server side needs is imported where it is used: it takes a second, which every other command saves.
"""

import os
import shutil
import signal
import sys
import time
from pathlib import Path
from threading import Event
from typing import Annotated

import typer
from rich.markup import escape

import vai_app
from vai_app.cli.client import Json, client_of
from vai_app.cli.context import FAILED, AsJson, client, explained
from vai_app.cli.demo import prepare_demo
from vai_app.cli.output import console, errors, print_table, show
from vai_app.cli.state_folder import StateFolder
from vai_app.domain.errors import NotFound
from vai_app.settings import Settings, at_home, settings

app = typer.Typer()

_DOWN_SECONDS = 90.0


@app.command()
def up(*, demo: Annotated[bool, typer.Option("--demo", help="With two simulated datacenters.")] = False) -> None:
    """Start VAI on this machine and stay in the foreground; Ctrl-C ends it."""
    from vai_app.cli.installation import Installation  # noqa: PLC0415 - see above

    configured = Settings()
    installation = Installation(configured, _tell)
    stop = Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: stop.set())
    with explained():
        try:
            console.print(f"VAI {vai_app.__version__} starts; state and logs are in {configured.state_folder}")
            installation.start(stop.is_set)
            if not stop.is_set():
                _greet(configured, demo=demo)
            installation.keep_running(stop.is_set)
        finally:
            console.print("VAI ends ...")
            installation.stop()
    console.print("VAI has ended; nothing is left running.")


@app.command("prepare")
def prepare_servers(
    *,
    patience_seconds: Annotated[float, typer.Option("--patience", help="Seconds to wait for the servers.")] = 0.0,
    new_replica_set: Annotated[
        bool, typer.Option("--initiate-replica-set", help="First make a fresh MongoDB a replica set of one.")
    ] = False,
) -> None:
    """Make the indexes and the administrator's token on the configured servers; 'vai up' does it by itself."""
    from vai_app.cli.preparation import initiate_replica_set, prepare  # noqa: PLC0415 - see above

    with explained():
        if new_replica_set:
            initiate_replica_set(settings(), patience_seconds)
        prepare(settings(), patience_seconds)


@app.command()
def down() -> None:
    """End the VAI that runs on this state folder."""
    folder = StateFolder(Settings().state_folder)
    supervisor = folder.pids().get("supervisor")
    with explained():
        if supervisor is None:
            raise NotFound(f"No VAI runs on {folder.path}.")
        os.kill(supervisor, signal.SIGTERM)
        deadline = time.monotonic() + _DOWN_SECONDS
        while folder.locked:
            if time.monotonic() > deadline:
                raise NotFound(f"VAI (process {supervisor}) did not end within {_DOWN_SECONDS:g} s. See {folder.logs}.")
            time.sleep(0.1)
    console.print("VAI has ended.")


@app.command()
def status(*, as_json: AsJson = False) -> None:
    """Show the processes, readiness and datacenters of the running VAI."""
    pids = StateFolder(Settings().state_folder).pids()
    with client() as api:
        found: Json = {
            "version": vai_app.__version__,
            "api": api.base_url,
            "processes": pids,
            "datacenters": api.get("/datacenters")["items"],
        }

    def table() -> None:
        print_table("Processes", ("name", "pid"), [(name, str(pid)) for name, pid in pids.items()])
        rows = [(each["name"], each["kind"], each["reachability"]) for each in found["datacenters"]]
        print_table("Datacenters", ("name", "kind", "state"), rows)

    show(found, as_json=as_json, table=table)


@app.command()
def doctor(*, as_json: AsJson = False) -> None:
    """Check what VAI needs on this machine, and say what to do."""
    from vai_app.cli.doctor import examine  # noqa: PLC0415 - see above

    found = list(examine(settings()))
    show(dict(found), as_json=as_json, table=lambda: print_table("Checks", ("what", "finding"), found))
    if any(finding != "ok" and not finding.startswith("none;") for _, finding in found):
        raise typer.Exit(FAILED)


def _greet(configured: Settings, *, demo: bool) -> None:
    api = client_of(configured, None, configured.token.get_secret_value() or None)
    if demo:
        rows = [
            (each["name"], each["datacenter"]["name"], each["state"], each["observed"]["power"], each["id"])
            for each in prepare_demo(api, configured)
        ]
        print_table("Machines of the demo", ("name", "datacenter", "state", "power", "id"), rows)
    vai = "vai" if shutil.which("vai") else os.path.relpath(Path(sys.executable).parent / "vai")
    flower = f"http://{at_home(configured.flower_host)}:{configured.flower_port}/"
    console.print(
        f"""
[bold green]VAI is ready.[/]
  API and Swagger UI   {api.base_url}/
  Flower               {flower}   (user admin, password in flower.password below)
  State, keys, logs    {configured.state_folder}

In another terminal:
  {vai} vm list
  {vai} vm create web-1 --datacenter berlin --image debian-12 --cpus 2 --memory-mib 2048
  {vai} datacenter register vc1 --kind vmware --endpoint https://vcenter.example.org --username you@vsphere.local

Ctrl-C ends VAI.""",
        highlight=False,
        soft_wrap=True,
    )


def _tell(name: str, line: str) -> None:
    errors.print(f"[dim]{name:>16} |[/] {escape(line)}", highlight=False, soft_wrap=True)
