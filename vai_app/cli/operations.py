"""``vai operation`` and ``vai event``: what is being done, and what was."""

from typing import Annotated

import typer

from vai_app.cli.client import Json
from vai_app.cli.context import AsJson, NoWait, client, finish, watch
from vai_app.cli.explanations import print_explanation
from vai_app.cli.output import console, print_table, show

app = typer.Typer(help="Operations: changes of the world, each from request to end.", no_args_is_help=True)
events = typer.Typer(help="Events: what happened.", no_args_is_help=True)

Operation = Annotated[str, typer.Argument(help="Id of an operation.")]
Limit = Annotated[int, typer.Option(help="How many, newest first.", min=1, max=500)]


@app.command("list")
def list_operations(
    state: Annotated[str | None, typer.Option(help="pending, running, undoing, succeeded, ...")] = None,
    limit: Limit = 20,
    *,
    as_json: AsJson = False,
) -> None:
    """List operations."""
    with client() as api:
        found = api.get("/operations", state=state, page_size=limit)["items"]
    show(found, as_json=as_json, table=lambda: print_operations(found))


@app.command("show")
def show_operation(operation: Operation, *, as_json: AsJson = False) -> None:
    """Show an operation and its history."""
    with client() as api:
        found = api.get(f"/operations/{operation}")
    show(found, as_json=as_json, table=lambda: _print_details(found))


@app.command("watch")
def watch_operation(operation: Operation, *, as_json: AsJson = False) -> None:
    """Follow an operation to its end."""
    with client() as api:
        finish(api, api.get(f"/operations/{operation}"), wait=True, as_json=as_json)


@app.command("explain")
def explain(operation: Operation, *, as_json: AsJson = False) -> None:
    """Show why a machine was placed where it is, or nowhere."""
    with client() as api:
        found = api.get(f"/operations/{operation}/explanation")
    show(found, as_json=as_json, table=lambda: print_explanation(found))


@app.command("confirm")
def confirm(operation: Operation, *, no_wait: NoWait = False, as_json: AsJson = False) -> None:
    """Let a rejected machine go to the datacenter that was recommended."""
    with client() as api:
        finish(api, api.post(f"/operations/{operation}/actions/confirm"), wait=not no_wait, as_json=as_json)


@app.command("cancel")
def cancel(operation: Operation, *, as_json: AsJson = False) -> None:
    """Turn an operation back and wait until it is undone."""
    with client() as api:
        api.post(f"/operations/{operation}/cancel")
        ended = watch(api, operation, quiet=as_json)
    show(ended, as_json=as_json, table=lambda: _print_details(ended))


@app.command("resend")
def resend(operation: Operation) -> None:
    """Publish an operation's current step again."""
    with client() as api:
        sent = api.post(f"/operations/{operation}/resend")
    console.print(f"{sent['step']} of {sent['id']} is published again.")


@events.command("list")
def list_events(
    kind: Annotated[str | None, typer.Option(help="Such as operation.failed or machine.missing.")] = None,
    limit: Limit = 20,
    *,
    as_json: AsJson = False,
) -> None:
    """List events."""
    with client() as api:
        found = api.get("/events", kind=kind, page_size=limit)["items"]
    rows = [(each["at"][:19], each["kind"], each["actor"], each["message"]) for each in found]
    show(found, as_json=as_json, table=lambda: print_table("Events", ("at", "kind", "actor", "message"), rows))


def print_operations(operations: list[Json]) -> None:
    """Print operations as a table."""
    columns = ("id", "kind", "state", "step", "requested by", "machine", "since")
    rows = [
        (
            each["id"],
            each["kind"],
            each["state"],
            each["step"] or "",
            each["requested_by"],
            each["machine_id"],
            each["created_at"][:19],
        )
        for each in operations
    ]
    print_table("Operations", columns, rows)


def _print_details(operation: Json) -> None:
    print_operations([operation])
    history = [
        (each["at"][:23], each["step"], each["event"], str(each["attempts"]), each["detail"] or "")
        for each in operation["history"]
    ]
    print_table("History", ("at", "step", "event", "attempts", "detail"), history)
    for name in ("problem", "waiting_for"):
        if operation[name]:
            console.print(f"{name.replace('_', ' ')}: {operation[name]['title']}. {operation[name]['detail']}")
    for left in operation["residue"]:
        console.print(f"[red]left behind:[/] {left}")
