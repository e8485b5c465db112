"""``vai datacenter``: the datacenters that VAI manages."""

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from vai_app.cli.client import Json
from vai_app.cli.context import AsJson, client
from vai_app.cli.output import console, print_table, show
from vai_app.domain.datacenters import PlacementStrategy
from vai_app.domain.statistics import Metric

app = typer.Typer(help="Datacenters: register, watch over, forget.", no_args_is_help=True)

Datacenter = Annotated[str, typer.Argument(help="Name or id of a datacenter.")]
_BY_PART = ("by_host", "by_datastore", "quota")
_PASSWORD_VARIABLE = "VAI_DATACENTER_PASSWORD"  # noqa: S105 - the name of a variable


@app.command("register")
def register(  # noqa: PLR0913 - one parameter an option
    name: str,
    kind: Annotated[str, typer.Option(help="vmware, simulated, ...")],
    endpoint: Annotated[str, typer.Option(help="Such as https://vcenter.example.org")],
    username: Annotated[str | None, typer.Option(help="Account at the datacenter.")] = None,
    password_file: Annotated[
        Path | None, typer.Option(help=f"File with the password; else {_PASSWORD_VARIABLE}, else a prompt.")
    ] = None,
    ca_certificate: Annotated[Path | None, typer.Option(help="PEM of the authority to trust.")] = None,
    credential: Annotated[
        list[str] | None, typer.Option(help="name=value of the kind's further credentials, such as project=web.")
    ] = None,
    option: Annotated[list[str] | None, typer.Option(help="name=value of the kind's own; JSON values.")] = None,
    *,
    insecure: Annotated[bool, typer.Option(help="Do not verify the TLS certificate.")] = False,
    verify_now: Annotated[bool, typer.Option("--verify/--no-verify", help="Try the connection first.")] = True,
    as_json: AsJson = False,
) -> None:
    """Register a datacenter, after it accepted the credentials."""
    credentials = {}
    if username is not None:
        credentials = {"username": username, "password": _password(password_file)}
    credentials |= dict(_pair(each) for each in credential or [])
    body = {
        "name": name,
        "kind": kind,
        "endpoint": endpoint,
        "credentials": credentials,
        "verify_tls": not insecure,
        "ca_certificate": ca_certificate.read_text() if ca_certificate else None,
        "options": dict(_option(each) for each in option or []),
        "verify_now": verify_now,
    }
    with client() as api:
        registered = api.post("/datacenters", body)
    show(registered, as_json=as_json, table=lambda: _print_datacenters([registered]))


@app.command("register-cloud")
def register_cloud(
    cloud: Annotated[str, typer.Argument(help="Name of a cloud in clouds.yaml.")],
    name: Annotated[str | None, typer.Option(help="Name of the datacenter; the cloud's when left out.")] = None,
    file: Annotated[
        Path | None,
        typer.Option("--file", "-f", help="clouds.yaml; looked for where OpenStack's clients do.", exists=True),
    ] = None,
    *,
    verify_now: Annotated[bool, typer.Option("--verify/--no-verify", help="Try the connection first.")] = True,
    as_json: AsJson = False,
) -> None:
    """Register an OpenStack cloud as clouds.yaml describes it."""
    with client() as api:
        from vai_app.drivers.openstack.clouds_yaml import registration_of  # noqa: PLC0415 - the SDK is slow to load

        body = {**registration_of(cloud, file), "name": name or cloud, "verify_now": verify_now}
        registered = api.post("/datacenters", body)
    show(registered, as_json=as_json, table=lambda: _print_datacenters([registered]))


@app.command("list")
def list_datacenters(*, as_json: AsJson = False) -> None:
    """List datacenters."""
    with client() as api:
        found = api.get("/datacenters")["items"]
    show(found, as_json=as_json, table=lambda: _print_datacenters(found))


@app.command("show")
def show_datacenter(datacenter: Datacenter, *, as_json: AsJson = False) -> None:
    """Show a datacenter and its capacity."""
    with client() as api:
        found = api.get(f"/datacenters/{datacenter}")
        capacity = api.get(f"/datacenters/{datacenter}/capacity")
    rows = [(key.replace("_", " "), str(value)) for key, value in {**found, **capacity}.items() if key not in _BY_PART]
    show({**found, "capacity": capacity}, as_json=as_json, table=lambda: print_table(found["name"], ("", ""), rows))


@app.command("capacity")
def capacity(datacenter: Datacenter, *, as_json: AsJson = False) -> None:
    """Show what each host and datastore may give, who has it, and what is free."""
    with client() as api:
        found = api.get(f"/datacenters/{datacenter}/capacity")
    show(found, as_json=as_json, table=lambda: _print_capacity(found))


@app.command("inventory")
def inventory(datacenter: Datacenter, *, as_json: AsJson = False) -> None:
    """Show clusters, hosts, datastores, networks and images."""
    with client() as api:
        found = api.get(f"/datacenters/{datacenter}/inventory")
    show(found, as_json=as_json, table=lambda: _print_inventory(found))


@app.command("verify")
def verify(datacenter: Datacenter, *, as_json: AsJson = False) -> None:
    """Try the stored connection now."""
    with client() as api:
        found = api.post(f"/datacenters/{datacenter}/verify")
    show(found, as_json=as_json, table=lambda: _print_datacenters([found]))


@app.command("enable")
def enable(datacenter: Datacenter, *, as_json: AsJson = False) -> None:
    """Let VAI use a datacenter again."""
    _set_enabled(datacenter, enabled=True, as_json=as_json)


@app.command("disable")
def disable(datacenter: Datacenter, *, as_json: AsJson = False) -> None:
    """Stop VAI from calling a datacenter."""
    _set_enabled(datacenter, enabled=False, as_json=as_json)


@app.command("placement")
def placement(  # noqa: PLR0913 - one parameter an option
    datacenter: Datacenter,
    *,
    strategy: Annotated[PlacementStrategy | None, typer.Option(help="How its hosts are filled.")] = None,
    failover_hosts: Annotated[int | None, typer.Option(help="So many of its largest hosts may fail.", min=0)] = None,
    cost: Annotated[float | None, typer.Option(help="Of a machine, beside other datacenters.", min=0)] = None,
    latency_ms: Annotated[float | None, typer.Option(help="To its users.", min=0)] = None,
    preferred_by: Annotated[list[str] | None, typer.Option(help="Tenant that would rather be here.")] = None,
    cpu_ratio: Annotated[float | None, typer.Option(help="Virtual CPUs for one of the hardware.", min=0)] = None,
    memory_ratio: Annotated[float | None, typer.Option(help="MiB given out for one of the hardware.", min=0)] = None,
    disk_ratio: Annotated[float | None, typer.Option(help="GiB promised for one of a datastore.", min=0)] = None,
    as_json: AsJson = False,
) -> None:
    """Say how machines are placed in a datacenter; what is left out stays."""
    given = {
        "strategy": strategy.value if strategy else None,
        "failover_hosts": failover_hosts,
        "cost": cost,
        "latency_ms": latency_ms,
        "preferred_by": preferred_by,
        "cpu_ratio": cpu_ratio,
        "memory_ratio": memory_ratio,
        "disk_ratio": disk_ratio,
    }
    _change_settings(datacenter, "placement", given, as_json=as_json)


@app.command("statistics")
def statistics(
    datacenter: Datacenter,
    *,
    enabled: Annotated[bool | None, typer.Option("--enabled/--disabled", help="Whether anything is measured.")] = None,
    interval_seconds: Annotated[int | None, typer.Option(help="How often.", min=5)] = None,
    retention_hours: Annotated[int | None, typer.Option(help="How long it is kept.", min=1)] = None,
    batch_size: Annotated[int | None, typer.Option(help="Machines that one call asks about.", min=1)] = None,
    metric: Annotated[list[Metric] | None, typer.Option(help="What is measured; all when never said.")] = None,
    as_json: AsJson = False,
) -> None:
    """Say how statistics are collected in a datacenter; what is left out stays."""
    given = {
        "enabled": enabled,
        "interval_seconds": interval_seconds,
        "retention_hours": retention_hours,
        "batch_size": batch_size,
        "metrics": [each.value for each in metric] if metric else None,
    }
    _change_settings(datacenter, "statistics", given, as_json=as_json)


@app.command("forget")
def forget(datacenter: Datacenter) -> None:
    """Forget a datacenter that holds no machine of VAI's."""
    with client() as api:
        api.change_configuration("DELETE", f"/datacenters/{datacenter}")
    console.print(f"{datacenter} is forgotten.")


def _change_settings(datacenter: str, what: str, given: Json, *, as_json: bool) -> None:
    """Change what is given of a group of a datacenter's settings, and show the group."""
    with client() as api:
        path = f"/datacenters/{datacenter}"
        settings = api.get(path)[what] | {name: value for name, value in given.items() if value is not None}
        found = api.change_configuration("PATCH", path, {what: settings})
    rows = [(name.replace("_", " "), str(value)) for name, value in found[what].items()]
    show(found, as_json=as_json, table=lambda: print_table(found["name"], (what, ""), rows))


def _set_enabled(datacenter: str, *, enabled: bool, as_json: bool) -> None:
    with client() as api:
        found = api.change_configuration("PATCH", f"/datacenters/{datacenter}", {"enabled": enabled})
    show(found, as_json=as_json, table=lambda: _print_datacenters([found]))


def _password(path: Path | None) -> str:
    if path is not None:
        return path.read_text().strip()
    return os.environ.get(_PASSWORD_VARIABLE) or str(typer.prompt("Password", hide_input=True))


def _option(given: str) -> tuple[str, object]:
    name, value = _pair(given)
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _pair(given: str) -> tuple[str, str]:
    name, equals, value = given.partition("=")
    if not equals:
        message = f"{given!r} is not name=value"
        raise typer.BadParameter(message)
    return name, value


def _print_datacenters(datacenters: list[Json]) -> None:
    columns = ("name", "kind", "endpoint", "enabled", "reachable", "product", "problem")
    rows = [
        (
            each["name"],
            each["kind"],
            each["endpoint"],
            "yes" if each["enabled"] else "no",
            each["reachability"],
            each["product"] or "",
            each["problem"] or "",
        )
        for each in datacenters
    ]
    print_table("Datacenters", columns, rows)


def _print_capacity(found: Json) -> None:
    kinds = ("allocatable", "used", "reserved", "free")
    hosts = [
        (host["name"], host["state"], *(f"{host[kind]['cpus']} / {host[kind]['memory_mib']}" for kind in kinds))
        for host in found["by_host"]
    ]
    print_table("Hosts: CPUs / MiB", ("name", "state", "allocatable", "by others", "reserved", "free"), hosts)
    stores = [(store["name"], *(str(store[f"{kind}_gib"]) for kind in kinds)) for store in found["by_datastore"]]
    print_table("Datastores: GiB", ("name", "allocatable", "by others", "reserved", "free"), stores)
    quota = [(each["dimension"].replace("_", " "), *(str(each[kind]) for kind in kinds)) for each in found["quota"]]
    if quota:
        print_table("Quota of VAI's account", ("", "allocatable", "by others", "reserved", "free"), quota)


def _print_inventory(found: Json) -> None:
    hosts = [
        (
            host["name"],
            host["cluster"] or "",
            host["state"],
            f"{host['used_cpus']}/{host['cpus']}",
            f"{host['used_memory_mib']}/{host['memory_mib']}",
        )
        for host in found["hosts"]
    ]
    print_table("Hosts", ("name", "cluster", "state", "CPUs used", "MiB used"), hosts)
    stores = [(store["name"], str(store["free_gib"]), str(store["capacity_gib"])) for store in found["datastores"]]
    print_table("Datastores", ("name", "free GiB", "GiB"), stores)
    print_table("Networks", ("name", "ref"), [(each["name"], each["ref"]) for each in found["networks"]])
    print_table("Images", ("name", "ref"), [(each["name"], each["ref"]) for each in found["images"]])
