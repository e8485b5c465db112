"""``vai consumption``: what tenants held in datacenters."""

from typing import Annotated

import typer

from vai_app.cli.client import Json
from vai_app.cli.context import AsJson, client
from vai_app.cli.output import print_table, show
from vai_app.domain.consumption import Period


def consumption(
    tenant: Annotated[str | None, typer.Option(help="Another than yours is for administrators.")] = None,
    datacenter: Annotated[str | None, typer.Option("--datacenter", "-d", help="Name or id.")] = None,
    since: Annotated[str | None, typer.Option(help="Such as 2026-01-01T00:00:00Z; this month when left out.")] = None,
    until: Annotated[str | None, typer.Option(help="Such as 2026-02-01T00:00:00Z; now when left out.")] = None,
    period: Annotated[Period, typer.Option(help="What is summed together.")] = Period.ALL,
    *,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    as_json: AsJson = False,
) -> None:
    """Report what tenants held in datacenters, in hours."""
    query = {"tenant": tenant, "datacenter": datacenter, "since": since, "until": until, "period": period.value}
    with client() as api:
        if as_csv:
            typer.echo(api.text("/consumption", accept="text/csv", **query), nl=False)
            return
        found = api.get("/consumption", **query)["items"]
    show(found, as_json=as_json, table=lambda: _print(found))


def _print(found: list[Json]) -> None:
    amounts = ("machine_hours", "cpu_hours", "memory_gib_hours", "disk_gib_hours")
    columns = ("tenant", "datacenter", "since", "until", "machines", *(each.replace("_", " ") for each in amounts))
    rows = [
        (
            each["tenant"],
            each["datacenter"]["name"],
            each["since"],
            each["until"],
            str(each["machines"]),
            *(f"{each[name]:.2f}" for name in amounts),
        )
        for each in found
    ]
    print_table("Consumption", columns, rows)
