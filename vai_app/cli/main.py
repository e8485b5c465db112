"""The ``vai`` command."""

import os
import signal
import time
from threading import Event
from typing import Annotated

import typer
from rich.markup import escape

import vai_app
from vai_app.cli import datacenters, machines, operations
from vai_app.cli.client import ApiClient, Json
from vai_app.cli.context import FAILED, AsJson, client, explained
from vai_app.cli.demo import prepare_demo
from vai_app.cli.doctor import examine
from vai_app.cli.installation import Installation
from vai_app.cli.output import console, errors, print_table, show
from vai_app.cli.state_folder import ADMIN_TOKEN_FILE, StateFolder
from vai_app.domain.errors import NotFound
from vai_app.settings import Settings, settings

app = typer.Typer(
    help="VAI, the Virtual Abstraction Interface: one API over datacenters that run different hypervisors.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
)
token = typer.Typer(help="Tokens of the API.", no_args_is_help=True)
app.add_typer(machines.app, name="vm")
app.add_typer(datacenters.app, name="datacenter")
app.add_typer(operations.app, name="operation")
app.add_typer(operations.events, name="event")
app.add_typer(token, name="token")

_DOWN_SECONDS = 90.0


@app.command()
def up(*, demo: Annotated[bool, typer.Option("--demo", help="With two simulated datacenters.")] = False) -> None:
    """Start VAI on this machine and stay in the foreground; Ctrl-C ends it."""
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
                _greet(configured, installation, demo=demo)
            installation.keep_running(stop.is_set)
        finally:
            console.print("VAI ends ...")
            installation.stop()
    console.print("VAI has ended; nothing is left running.")


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
    found = list(examine(settings()))
    show(dict(found), as_json=as_json, table=lambda: print_table("Checks", ("what", "finding"), found))
    if any(finding != "ok" and not finding.startswith("none;") for _, finding in found):
        raise typer.Exit(FAILED)


@app.command()
def version() -> None:
    """Print the version."""
    console.print(vai_app.__version__)


@token.command("show")
def show_token() -> None:
    """Print the administrator's token of the installation on this machine."""
    path = Settings().state_folder / ADMIN_TOKEN_FILE
    with explained():
        if not path.exists():
            raise NotFound(f"There is no {path}. 'vai up' makes it at its first start.")
        typer.echo(path.read_text().strip())


def _greet(configured: Settings, installation: Installation, *, demo: bool) -> None:
    base_url = f"http://{configured.api_host}:{configured.api_port}"
    api = ApiClient(base_url, installation.folder.secret(ADMIN_TOKEN_FILE))
    if demo:
        rows = [
            (each["name"], each["datacenter"]["name"], each["state"], each["observed"]["power"], each["id"])
            for each in prepare_demo(api, configured)
        ]
        print_table("Machines of the demo", ("name", "datacenter", "state", "power", "id"), rows)
    console.print(
        f"""
[bold green]VAI is ready.[/]
  API and Swagger UI   {base_url}/
  Flower               http://127.0.0.1:{configured.flower_port}/   (user admin, password in flower.password below)
  State, keys, logs    {configured.state_folder}

In another terminal:
  vai vm list
  vai vm create web-1 --datacenter berlin --image debian-12 --cpus 2 --memory-mib 2048
  vai datacenter register vc1 --kind vmware --endpoint https://vcenter.example.org --username you@vsphere.local

Ctrl-C ends VAI.""",
        highlight=False,
        soft_wrap=True,
    )


def _tell(name: str, line: str) -> None:
    errors.print(f"[dim]{name:>16} |[/] {escape(line)}", highlight=False, soft_wrap=True)


if __name__ == "__main__":
    app()
