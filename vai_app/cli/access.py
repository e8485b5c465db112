"""``vai token``, ``vai role``, ``vai policy`` and ``vai tenant``: who may do what, and how much of it."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from vai_app.cli.client import Json
from vai_app.cli.context import AsJson, client, explained
from vai_app.cli.output import console, print_table, show
from vai_app.cli.state_folder import ADMIN_TOKEN_FILE
from vai_app.domain.errors import InvalidRequest, NotFound
from vai_app.settings import Settings

tokens = typer.Typer(help="Tokens of the API.", no_args_is_help=True)
roles = typer.Typer(help="Roles and their permissions.", no_args_is_help=True)
policies = typer.Typer(help="Policies and their limits.", no_args_is_help=True)
tenants = typer.Typer(help="Tenants.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="Its name.")]
File = Annotated[Path, typer.Option("--file", "-f", help="JSON document, as 'show --json' prints it.", exists=True)]
Role = Annotated[list[str] | None, typer.Option("--role", "-r", help="Role; may be given several times.")]
Description = Annotated[str, typer.Option(help="For people.")]


@tokens.command("show")
def show_token() -> None:
    """Print the administrator's token of the installation on this machine."""
    path = Settings().state_folder / ADMIN_TOKEN_FILE
    with explained():
        if not path.exists():
            raise NotFound(f"There is no {path}. 'vai up' makes it at its first start.")
        typer.echo(path.read_text().strip())


@tokens.command("create")
def create_token(
    name: Annotated[str, typer.Argument(help="Who bears it; stands in the activity log.")],
    tenant: Annotated[str, typer.Option(help="The bearer's tenant.")],
    role: Role = None,
    days: Annotated[float | None, typer.Option(help="It ends after so many days; never when left out.")] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Create a token and print its secret, which is shown only now."""
    ends = (datetime.now(UTC) + timedelta(days=days)).isoformat() if days is not None else None
    with client() as api:
        made = api.post("/tokens", {"name": name, "tenant": tenant, "roles": role or [], "expires_at": ends})
    show(made, as_json=as_json, table=lambda: typer.echo(made["secret"]))


@tokens.command("list")
def list_tokens(*, as_json: AsJson = False) -> None:
    """List tokens, without their secrets."""
    with client() as api:
        found = api.get("/tokens")["items"]
    rows = [(t["name"], t["tenant"], ", ".join(t["roles"]), t["expires_at"] or "never", t["id"]) for t in found]
    show(
        found, as_json=as_json, table=lambda: print_table("Tokens", ("name", "tenant", "roles", "expires", "id"), rows)
    )


@tokens.command("revoke")
def revoke_token(token_id: Annotated[str, typer.Argument(help="Id of a token, as 'vai token list' shows it.")]) -> None:
    """Revoke a token; it stops working within seconds."""
    with client() as api:
        gone = api.delete(f"/tokens/{token_id}")
    console.print(f"The token of {gone['name']} is revoked.")


@roles.command("create")
def create_role(
    name: Name,
    permission: Annotated[list[str], typer.Option("--permission", "-p", help="Such as virtual-machines:*")],
    description: Description = "",
    *,
    as_json: AsJson = False,
) -> None:
    """Create a role."""
    with client() as api:
        made = api.post("/roles", {"name": name, "permissions": permission, "description": description})
    show(made, as_json=as_json, table=lambda: _print_roles([made]))


@roles.command("change")
def change_role(
    name: Name,
    permission: Annotated[list[str], typer.Option("--permission", "-p", help="All that it is to carry.")],
    description: Description = "",
    *,
    as_json: AsJson = False,
) -> None:
    """Replace what a role carries; it holds at once."""
    with client() as api:
        body = {"permissions": permission, "description": description}
        changed = api.change_configuration("PUT", f"/roles/{name}", body)
    show(changed, as_json=as_json, table=lambda: _print_roles([changed]))


@policies.command("create")
def create_policy(file: File, *, as_json: AsJson = False) -> None:
    """Create a policy from a JSON document with name, limits, roles and tenants."""
    with client() as api:
        made = api.post("/policies", _document(file))
    show(made, as_json=as_json, table=lambda: _print_policies([made]))


@policies.command("change")
def change_policy(name: Name, file: File, *, as_json: AsJson = False) -> None:
    """Replace a policy by a JSON document; it holds at once."""
    with client() as api:
        body = {key: value for key, value in _document(file).items() if key not in ("name", "revision")}
        changed = api.change_configuration("PUT", f"/policies/{name}", body)
    show(changed, as_json=as_json, table=lambda: _print_policies([changed]))


@policies.command("evaluate")
def evaluate(  # noqa: PLR0913 - one parameter an option
    role: Role = None,
    tenant: Annotated[str | None, typer.Option(help="Yours when left out.")] = None,
    permission: Annotated[str, typer.Option(help="What is to be done.")] = "virtual-machines:create",
    cpus: Annotated[int, typer.Option(help="Virtual CPUs.")] = 0,
    memory_mib: Annotated[int, typer.Option("--memory-mib", help="MiB.")] = 0,
    disk_gib: Annotated[int, typer.Option("--disk-gib", help="GiB.")] = 0,
    lifetime_hours: Annotated[int, typer.Option("--lifetime-hours", help="Hours until it is deleted.")] = 0,
    datacenter: Annotated[str | None, typer.Option("--datacenter", "-d", help="Name or id.")] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Say whether a request would be allowed, which limits it breaks, and who could do it."""
    body = {
        "permission": permission,
        "tenant": tenant,
        "roles": role,
        "cpus": cpus,
        "memory_mib": memory_mib,
        "disk_gib": disk_gib,
        "lifetime_hours": lifetime_hours,
        "datacenter": datacenter,
    }
    with client() as api:
        found = api.post("/policies/evaluate", body)
    show(found, as_json=as_json, table=lambda: _print_evaluation(found))


@tenants.command("create")
def create_tenant(name: Name, description: Description = "", *, as_json: AsJson = False) -> None:
    """Create a tenant."""
    with client() as api:
        made = api.post("/tenants", {"name": name, "description": description})
    show(made, as_json=as_json, table=lambda: _print_tenants([made]))


@tenants.command("enable")
def enable_tenant(name: Name) -> None:
    """Serve a tenant again."""
    _set_enabled(name, enabled=True)


@tenants.command("disable")
def disable_tenant(name: Name) -> None:
    """Refuse a tenant everything; its machines go on."""
    _set_enabled(name, enabled=False)


def _set_enabled(name: str, *, enabled: bool) -> None:
    with client() as api:
        known = api.get(f"/tenants/{name}")
        body = {"description": known["description"], "enabled": enabled}
        changed = api.change_configuration("PUT", f"/tenants/{name}", body)
    _print_tenants([changed])


def _print_roles(found: list[Json]) -> None:
    rows = [(each["name"], ", ".join(each["permissions"]), each["description"]) for each in found]
    print_table("Roles", ("name", "permissions", "description"), rows)


def _print_policies(found: list[Json]) -> None:
    rows = [
        (
            each["name"],
            ", ".join(each["roles"]) or "all",
            ", ".join(each["tenants"]) or "all",
            "; ".join(f"{limit}: {_shown(value)}" for limit, value in each["limits"].items() if value is not None),
        )
        for each in found
    ]
    print_table("Policies", ("name", "roles", "tenants", "limits"), rows)


def _print_tenants(found: list[Json]) -> None:
    rows = [(each["name"], "yes" if each["enabled"] else "no", each["description"]) for each in found]
    print_table("Tenants", ("name", "enabled", "description"), rows)


def _print_evaluation(found: Json) -> None:
    console.print("[green]Allowed.[/]" if found["allowed"] else "[red]Refused.[/]")
    if not found["permitted"]:
        console.print(f"No role of {', '.join(found['roles']) or 'none'} carries {found['permission']}.")
    for each in found["refusals"]:
        console.print(each["detail"], highlight=False, markup=False)
    console.print(f"Roles that could: {', '.join(found['roles_that_could']) or 'none'}.")


def _shown(value: object) -> str:
    return ", ".join(value) if isinstance(value, list) else str(value)


def _document(file: Path) -> Json:
    with explained():
        try:
            found = json.loads(file.read_text())
        except ValueError as error:
            raise InvalidRequest(f"{file} holds no JSON: {error}.") from error
        if not isinstance(found, dict):
            raise InvalidRequest(f"{file} holds no JSON object.")
        return found


_PRINTS = {"roles": _print_roles, "policies": _print_policies, "tenants": _print_tenants}


def _common_commands(app: typer.Typer, resource: str, one: str) -> None:
    @app.command("list", help=f"List {resource}.")
    def list_all(*, as_json: AsJson = False) -> None:
        with client() as api:
            found = api.get(f"/{resource}")["items"]
        show(found, as_json=as_json, table=lambda: _PRINTS[resource](found))

    @app.command("show", help=f"Show a {one}.")
    def show_one(name: Name, *, as_json: AsJson = False) -> None:
        with client() as api:
            found = api.get(f"/{resource}/{name}")
        show(found, as_json=as_json, table=lambda: _PRINTS[resource]([found]))

    @app.command("history", help=f"List the revisions of a {one}, newest first.")
    def history(name: Name, *, as_json: AsJson = False) -> None:
        with client() as api:
            found = api.get(f"/{resource}/{name}/history")["items"]
        rows = [(str(r["revision"]), r["at"], r["by"], json.dumps(r["content"])) for r in found]
        show(found, as_json=as_json, table=lambda: print_table(name, ("revision", "at", "by", "content"), rows))

    @app.command("delete", help=f"Delete a {one}.")
    def delete(name: Name) -> None:
        with client() as api:
            api.change_configuration("DELETE", f"/{resource}/{name}")
        console.print(f"The {one} {name} is deleted.")


_common_commands(roles, "roles", "role")
_common_commands(policies, "policies", "policy")
_common_commands(tenants, "tenants", "tenant")
