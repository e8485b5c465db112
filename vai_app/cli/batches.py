"""``vai batch``: machines that are placed together."""

from typing import Annotated

import typer

from vai_app.cli.client import ApiClient, Json
from vai_app.cli.context import AsJson, NoWait, client, finish
from vai_app.cli.machines import LifetimeHours, print_machines
from vai_app.cli.output import console
from vai_app.domain.placement.asks import Scope

app = typer.Typer(help="Machines that are placed together.", no_args_is_help=True)

MOST = 100


@app.command("create")
def create(  # noqa: PLR0913 - one parameter an option
    name: Annotated[str, typer.Argument(help="Beginning of the names: web makes web-1, web-2, ...")],
    count: Annotated[int, typer.Option("--count", "-n", min=1, max=MOST, help="How many.")],
    datacenter: Annotated[
        list[str] | None, typer.Option("--datacenter", "-d", help="Where they may go; anywhere when left out.")
    ] = None,
    cpus: Annotated[int, typer.Option(help="Virtual CPUs of each.")] = 1,
    memory_mib: Annotated[int, typer.Option("--memory-mib", help="Memory of each, in MiB.")] = 1024,
    disk_gib: Annotated[int, typer.Option("--disk-gib", help="Disk of each, in GiB; 0: as the image has it.")] = 0,
    image: Annotated[str | None, typer.Option(help="Template or image; none builds from scratch.")] = None,
    network: Annotated[list[str] | None, typer.Option(help="Network; may be given several times.")] = None,
    *,
    apart: Annotated[Scope | None, typer.Option(help="What no two of them share.")] = None,
    largest_share: Annotated[
        float, typer.Option("--largest-share", min=0.01, max=1.0, help="The part that one datacenter may get.")
    ] = 1.0,
    some: Annotated[bool, typer.Option("--some", help="Make those that fit; else all or none.")] = False,
    lifetime_hours: LifetimeHours = None,
    no_wait: NoWait = False,
    as_json: AsJson = False,
) -> None:
    """Create machines that are placed together, and wait until they are there."""
    machine: Json = {
        "cpus": cpus,
        "memory_mib": memory_mib,
        "disk_gib": disk_gib,
        "image": image,
        "networks": network or [],
        "lifetime_hours": lifetime_hours,
    }
    body = {
        "machines": [{"name": f"{name}-{number}", **machine} for number in range(1, count + 1)],
        "datacenters": datacenter or [],
        "apart": apart.value if apart else "nothing",
        "largest_share": largest_share,
        "all_or_nothing": not some,
    }
    with client() as api:
        operation = finish(api, api.post("/batches", body), wait=not no_wait, as_json=as_json)
        if not no_wait and not as_json:
            print_machines(_machines(api, operation))
            if operation["unplaced"]:
                console.print(f"No place for: {', '.join(operation['unplaced'])}.", highlight=False)


def _machines(api: ApiClient, batch: Json) -> list[Json]:
    """Return the machines of a batch, those too that could not be made."""
    creations = [api.get(f"/operations/{each}") for each in batch["operations"]]
    return [api.get(f"/virtual-machines/{each['machine_id']}") for each in creations]
