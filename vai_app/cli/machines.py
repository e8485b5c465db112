"""``vai vm``: virtual machines."""

import base64
from pathlib import Path
from typing import Annotated

import typer

from vai_app.cli.client import Json
from vai_app.cli.context import AsJson, NoWait, client, finish
from vai_app.cli.explanations import print_explanation
from vai_app.cli.output import print_table, show
from vai_app.domain.placement.asks import Elsewhere

app = typer.Typer(help="Virtual machines, in any datacenter.", no_args_is_help=True)

LifetimeHours = Annotated[
    int | None,
    typer.Option(help="Hours until it is deleted; as long as policies allow, or for ever, when left out."),
]
Machine = Annotated[str, typer.Argument(help="Name or id of a machine.")]


@app.command("create")
def create(  # noqa: PLR0913, PLR0917 - one parameter an option
    name: Annotated[str, typer.Argument(help="A DNS label, unique in the tenant.")],
    datacenter: Annotated[str, typer.Option("--datacenter", "-d", help="Name or id.")],
    cpus: Annotated[int, typer.Option(help="Virtual CPUs.")] = 1,
    memory_mib: Annotated[int, typer.Option("--memory-mib", help="Memory in MiB.")] = 1024,
    disk_gib: Annotated[int, typer.Option("--disk-gib", help="Disk in GiB; 0: as the image has it.")] = 0,
    image: Annotated[str | None, typer.Option(help="Template or image; none builds from scratch.")] = None,
    network: Annotated[list[str] | None, typer.Option(help="Network; may be given several times.")] = None,
    cluster: Annotated[str | None, typer.Option(help="Cluster; chosen when left out.")] = None,
    host: Annotated[str | None, typer.Option(help="Host; chosen when left out.")] = None,
    datastore: Annotated[str | None, typer.Option(help="Datastore; chosen when left out.")] = None,
    *,
    power_on: Annotated[bool, typer.Option("--power-on/--power-off", help="Start it when made.")] = True,
    elsewhere: Annotated[
        Elsewhere, typer.Option(help="Where the datacenter is short: never another, if confirmed, automatically.")
    ] = Elsewhere.ASK,
    apart_from: Annotated[list[str] | None, typer.Option(help="Machine on whose host it must not be.")] = None,
    address: Annotated[
        list[str] | None, typer.Option(metavar="NETWORK=IP", help="Address in a network; several times for several.")
    ] = None,
    security_group: Annotated[
        list[str] | None, typer.Option(help="Security group; may be given several times.")
    ] = None,
    keypair: Annotated[str | None, typer.Option(help="Key pair of VAI's account in the datacenter.")] = None,
    user_data: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="File that the guest reads at its first start.")
    ] = None,
    lifetime_hours: LifetimeHours = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Create nothing; show where it would go and why.")] = False,
    explain: Annotated[bool, typer.Option("--explain", help="Show why it went where it went.")] = False,
    no_wait: NoWait = False,
    as_json: AsJson = False,
) -> None:
    """Create a machine and wait until it is there."""
    body: Json = {
        "name": name,
        "datacenter": datacenter,
        "cpus": cpus,
        "memory_mib": memory_mib,
        "disk_gib": disk_gib,
        "image": image,
        "networks": network or [],
        "location": {"cluster": cluster, "host": host, "datastore": datastore},
        "power_on": power_on,
        "lifetime_hours": lifetime_hours,
        "fixed_addresses": [_fixed_address(each) for each in address or ()],
        "security_groups": security_group or [],
        "keypair": keypair,
        "user_data": base64.b64encode(user_data.read_bytes()).decode() if user_data else None,
    }
    with client() as api:
        body["placement"] = {
            "elsewhere": elsewhere.value,
            "apart_from": [api.machine(each)["id"] for each in apart_from or ()],
        }
        if dry_run:
            explanation = api.post("/virtual-machines?dry_run=true", body)
            show(explanation, as_json=as_json, table=lambda: print_explanation(explanation))
            return
        operation = api.post("/virtual-machines", body)
        try:
            finish(api, operation, wait=not no_wait, as_json=as_json)
        finally:
            if explain and not no_wait and not as_json:
                print_explanation(api.get(f"/operations/{operation['id']}/explanation"))
        if not no_wait and not as_json:
            print_machines([api.get(f"/virtual-machines/{operation['machine_id']}")])


@app.command("list")
def list_machines(
    datacenter: Annotated[str | None, typer.Option("--datacenter", "-d")] = None,
    state: Annotated[str | None, typer.Option(help="requested, active, missing, failed or deleted.")] = None,
    power: Annotated[str | None, typer.Option(help="on, off, suspended or unknown.")] = None,
    name_prefix: Annotated[str | None, typer.Option(help="Beginning of the name.")] = None,
    *,
    managed: Annotated[bool | None, typer.Option("--managed/--unmanaged", help="VAI's own, or strangers'.")] = None,
    as_json: AsJson = False,
) -> None:
    """List machines."""
    with client() as api:
        query = {
            "datacenter": datacenter,
            "state": state,
            "power": power,
            "name_prefix": name_prefix,
            "managed": str(managed).lower() if managed is not None else None,
            "page_size": 500,
        }
        machines = list(api.items("/virtual-machines", **query))
    show(machines, as_json=as_json, table=lambda: print_machines(machines))


@app.command("show")
def show_machine(machine: Machine, *, as_json: AsJson = False) -> None:
    """Show one machine."""
    with client() as api:
        found = api.machine(machine)
    show(found, as_json=as_json, table=lambda: _print_details(found))


@app.command("delete")
def delete(machine: Machine, *, no_wait: NoWait = False, as_json: AsJson = False) -> None:
    """Delete a machine and its disks."""
    with client() as api:
        operation = api.delete(f"/virtual-machines/{api.machine(machine)['id']}")
        finish(api, operation, wait=not no_wait, as_json=as_json)


@app.command("resize")
def resize(
    machine: Machine,
    cpus: Annotated[int | None, typer.Option(help="Virtual CPUs; as before when left out.")] = None,
    memory_mib: Annotated[int | None, typer.Option("--memory-mib", help="MiB; as before when left out.")] = None,
    disk_gib: Annotated[int, typer.Option("--disk-gib", help="GiB; 0 leaves the disk.")] = 0,
    *,
    no_wait: NoWait = False,
    as_json: AsJson = False,
) -> None:
    """Give a machine another size."""
    with client() as api:
        found = api.machine(machine)
        body = {
            "cpus": cpus or found["size"]["cpus"],
            "memory_mib": memory_mib or found["size"]["memory_mib"],
            "disk_gib": disk_gib,
        }
        operation = api.post(f"/virtual-machines/{found['id']}/actions/resize", body)
        finish(api, operation, wait=not no_wait, as_json=as_json)


@app.command("migrate")
def migrate(
    machine: Machine,
    host: Annotated[str | None, typer.Argument(help="A host's name or reference; VAI chooses when left out.")] = None,
    *,
    host_is_off: Annotated[
        bool,
        typer.Option("--host-is-off", help="Its host does not answer, and you have seen that it is off."),
    ] = False,
    no_wait: NoWait = False,
    as_json: AsJson = False,
) -> None:
    """Move a machine to another host of its datacenter; one that runs goes on running."""
    with client() as api:
        body = {"host": host, "host_is_off": host_is_off}
        operation = api.post(f"/virtual-machines/{api.machine(machine)['id']}/actions/migrate", body)
        finish(api, operation, wait=not no_wait, as_json=as_json)


@app.command("statistics")
def statistics(
    machine: Machine,
    last: Annotated[int, typer.Option(help="So many samples, the newest first.", min=1, max=500)] = 10,
    *,
    as_json: AsJson = False,
) -> None:
    """Show what a machine used, as it was measured."""
    with client() as api:
        samples = api.get(f"/virtual-machines/{api.machine(machine)['id']}/statistics", page_size=last)["items"]
    show(samples, as_json=as_json, table=lambda: _print_samples(machine, samples))


@app.command("renew")
def renew(machine: Machine, lifetime_hours: LifetimeHours = None, *, as_json: AsJson = False) -> None:
    """Give a machine a new lifetime, from now."""
    with client() as api:
        path = f"/virtual-machines/{api.machine(machine)['id']}/actions/renew"
        renewed = api.post(path, {"lifetime_hours": lifetime_hours})
    show(renewed, as_json=as_json, table=lambda: _print_details(renewed))


@app.command("adopt")
def adopt(
    machine: Machine,
    tenant: Annotated[str | None, typer.Option(help="The new owner; yours when left out.")] = None,
    *,
    no_wait: NoWait = False,
    as_json: AsJson = False,
) -> None:
    """Let VAI manage a machine that it found."""
    with client() as api:
        path = f"/virtual-machines/{api.machine(machine)['id']}/actions/adopt"
        finish(api, api.post(path, {"tenant": tenant}), wait=not no_wait, as_json=as_json)


def _power_command(action: str, promise: str) -> None:
    @app.command(action, help=promise)
    def run(machine: Machine, *, no_wait: NoWait = False, as_json: AsJson = False) -> None:
        with client() as api:
            path = f"/virtual-machines/{api.machine(machine)['id']}/actions/power"
            finish(api, api.post(path, {"action": action}), wait=not no_wait, as_json=as_json)


for _action, _promise in (
    ("start", "Power a machine on."),
    ("stop", "Power a machine off at once."),
    ("shutdown", "Ask the guest to shut down."),
    ("reboot", "Ask the guest to reboot."),
    ("reset", "Power-cycle a machine."),
    ("suspend", "Suspend a machine to disk."),
):
    _power_command(_action, _promise)


def _fixed_address(text: str) -> Json:
    network, equals, address = text.rpartition("=")
    if not equals:
        raise typer.BadParameter(f"{text!r} is not NETWORK=IP.")
    return {"network": network, "address": address}


def print_machines(machines: list[Json]) -> None:
    """Print machines as a table."""
    columns = ("name", "datacenter", "state", "power", "cpus", "memory MiB", "operation", "managed", "id")
    rows = [
        (
            machine["name"],
            machine["datacenter"]["name"],
            machine["state"],
            machine["observed"]["power"],
            str(machine["size"]["cpus"]),
            str(machine["size"]["memory_mib"]),
            machine["operation"]["kind"] if machine["operation"] else "",
            "yes" if machine["managed"] else "no",
            machine["id"],
        )
        for machine in machines
    ]
    print_table("Machines", columns, rows)


def _print_samples(machine: str, samples: list[Json]) -> None:
    columns = ("at", "CPU %", "memory MiB", "received KiB/s", "sent KiB/s", "read KiB/s", "written KiB/s", "W")
    rows = [tuple(_measured(value) for value in each.values()) for each in samples]
    print_table(machine, columns, rows)


def _measured(value: str | float | None) -> str:
    return "" if value is None else value if isinstance(value, str) else f"{value:.1f}"


def _print_details(machine: Json) -> None:
    observed = machine["observed"]
    rows = [
        ("id", machine["id"]),
        ("datacenter", machine["datacenter"]["name"]),
        ("state", machine["state"]),
        ("problem", machine["problem"] or ""),
        ("operation", machine["operation"]["id"] if machine["operation"] else ""),
        ("size", f"{machine['size']['cpus']} CPUs, {machine['size']['memory_mib']} MiB"),
        ("image", machine["image"] or ""),
        ("observed power", observed["power"]),
        ("observed host", observed["host"] or ""),
        ("addresses", ", ".join(observed["addresses"])),
        ("networks", ", ".join(observed["networks"] or machine["networks"])),
        ("expires", machine["expires_at"] or "never"),
        ("drift", "; ".join(machine["drift"])),
        ("managed by VAI", "yes" if machine["managed"] else "no"),
        ("provider reference", machine["provider_ref"] or ""),
    ]
    print_table(machine["name"], ("property", "value"), rows)
