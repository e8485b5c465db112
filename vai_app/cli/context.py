"""What every command shares: its options, its client, and how it ends when something is wrong."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.markup import escape

from vai_app.cli.client import ApiClient, Json, client_of
from vai_app.cli.output import console, errors, print_json
from vai_app.domain.errors import InvalidRequest, ServiceUnavailable, Unauthenticated, VaiError
from vai_app.settings import settings

FAILED, WRONG_USE, NOT_REACHED = 1, 2, 3

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
NoWait = Annotated[bool, typer.Option("--no-wait", help="Return as soon as the request is accepted.")]


@contextmanager
def client() -> Iterator[ApiClient]:
    """Lend the client; a problem ends the command with its sentence and an exit code."""
    with explained():
        configured = settings()
        yield client_of(configured, configured.api_url, configured.token.get_secret_value() or None)


@contextmanager
def explained() -> Iterator[None]:
    """Turn a VaiError into a message and an exit code: 1 refused or failed, 2 wrong use, 3 not reached."""
    try:
        yield
    except VaiError as error:
        errors.print(f"[red]{escape(error.title)}.[/] {escape(error.detail)}", highlight=False, soft_wrap=True)
        if isinstance(error, ServiceUnavailable | Unauthenticated):
            raise typer.Exit(NOT_REACHED) from error
        raise typer.Exit(WRONG_USE if isinstance(error, InvalidRequest) else FAILED) from error


def finish(api: ApiClient, operation: Json, *, wait: bool, as_json: bool) -> Json:
    """Follow an operation to its end, with its steps on a terminal; a failed one ends the command with 1."""
    if not wait:
        if as_json:
            print_json(operation)
        else:
            console.print(f"Accepted. Follow it with: vai operation watch {operation['id']}")
        return operation
    operation = watch(api, operation["id"], quiet=as_json)
    if as_json:
        print_json(operation)
    if operation["state"] != "succeeded":
        problem = operation["problem"] or {"title": "Failed", "detail": "No reason was recorded."}
        if not as_json:
            errors.print(f"[red]{problem['title']}.[/] {escape(problem['detail'])}", highlight=False, soft_wrap=True)
            for left in operation["residue"]:
                errors.print(f"[red]Left behind:[/] {escape(left)}", highlight=False, soft_wrap=True)
            if operation["recommended_datacenter_id"]:
                errors.print(f"It fits elsewhere: vai operation explain {operation['id']}", highlight=False)
                errors.print(f"Let it go there:   vai operation confirm {operation['id']}", highlight=False)
        raise typer.Exit(FAILED)
    return operation


def watch(api: ApiClient, operation_id: str, *, quiet: bool) -> Json:
    """Follow an operation to its end and return it."""
    if quiet or not console.is_terminal:
        *_, last = api.follow(operation_id)
        return last
    latest: Json = {}
    with console.status("") as status:
        for latest in api.follow(operation_id):
            waiting = f" ({escape(latest['waiting_for']['detail'])})" if latest["waiting_for"] else ""
            status.update(f"{latest['kind']} {latest['state']}: {latest['step'] or ''}{waiting}")
    console.print(f"{latest['kind']} {latest['state']}")
    return latest
