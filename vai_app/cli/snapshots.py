"""``vai snapshot``: snapshots of virtual machines."""

from typing import Annotated

import typer

from vai_app.cli.client import ApiClient, Json
from vai_app.cli.context import AsJson, NoWait, client, finish
from vai_app.cli.machines import Machine
from vai_app.cli.output import print_table, show
from vai_app.domain.errors import NotFound

app = typer.Typer(help="Snapshots of virtual machines.", no_args_is_help=True)

Snapshot = Annotated[str, typer.Argument(help="Name or id of a snapshot.")]


@app.command("take")
def take(
    machine: Machine,
    name: Annotated[str | None, typer.Argument(help="Unique among the machine's; its time when left out.")] = None,
    *,
    no_wait: NoWait = False,
    as_json: AsJson = False,
) -> None:
    """Take a snapshot of a machine's disks; one that runs goes on running."""
    with client() as api:
        finish(api, api.post(_path(api, machine), {"name": name}), wait=not no_wait, as_json=as_json)


@app.command("list")
def list_snapshots(machine: Machine, *, as_json: AsJson = False) -> None:
    """List the snapshots that VAI took of a machine, oldest first."""
    with client() as api:
        snapshots = list(api.items(_path(api, machine)))
    show(snapshots, as_json=as_json, table=lambda: _print_snapshots(snapshots))


@app.command("restore")
def restore(machine: Machine, snapshot: Snapshot, *, no_wait: NoWait = False, as_json: AsJson = False) -> None:
    """Restore a machine's disks to a snapshot; what came later is lost. It runs afterwards if it ran before."""
    with client() as api:
        operation = api.post(f"{_path_of(api, machine, snapshot)}/actions/restore")
        finish(api, operation, wait=not no_wait, as_json=as_json)


@app.command("delete")
def delete(machine: Machine, snapshot: Snapshot, *, no_wait: NoWait = False, as_json: AsJson = False) -> None:
    """Delete a snapshot; the machine stays as it is."""
    with client() as api:
        finish(api, api.delete(_path_of(api, machine, snapshot)), wait=not no_wait, as_json=as_json)


def _path(api: ApiClient, machine: str) -> str:
    return f"/virtual-machines/{api.machine(machine)['id']}/snapshots"


def _path_of(api: ApiClient, machine: str, snapshot: str) -> str:
    path = _path(api, machine)
    for each in api.items(path):
        if snapshot in (each["id"], each["name"]):
            return f"{path}/{each['id']}"
    raise NotFound(f"{machine} has no snapshot {snapshot!r}. 'vai snapshot list {machine}' shows those it has.")


def _print_snapshots(snapshots: list[Json]) -> None:
    columns = ("name", "taken at", "cpus", "memory MiB", "id")
    rows = [
        (each["name"], each["taken_at"], str(each["size"]["cpus"]), str(each["size"]["memory_mib"]), each["id"])
        for each in snapshots
    ]
    print_table("Snapshots", columns, rows)
