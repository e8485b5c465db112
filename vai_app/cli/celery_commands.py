"""``celery -A vai_app.celery_app vai ...``: VAI's part of the celery command line."""

import os

import click
from rich.console import Console

from vai_app.bootstrap import build_services
from vai_app.cli.output import print_table
from vai_app.domain.errors import VaiError
from vai_app.domain.operations import OperationState
from vai_app.domain.ports.operations import OperationFilter
from vai_app.domain.ports.paging import PageRequest
from vai_app.domain.principals import Principal
from vai_app.services.acceptance import RequestContext
from vai_app.settings import settings


@click.group()
def vai() -> None:
    """Operations of VAI, as the database has them."""


@vai.command()
@click.option("--state", type=click.Choice([state.value for state in OperationState]), default=None)
@click.option("--limit", type=click.IntRange(1, 500), default=20)
def operations(state: str | None, limit: int) -> None:
    """List operations, newest first, with what they wait for."""
    services = build_services(settings())
    try:
        wanted = OperationFilter(tenant=None, state=OperationState(state) if state else None)
        found = services.operations.page(wanted, PageRequest(limit)).items
    except VaiError as error:
        raise click.ClickException(error.detail) from error
    finally:
        services.close()
    rows = [
        (
            each.id,
            each.kind.value,
            each.state.value,
            each.step.value,
            str(each.attempts),
            each.waiting_for.detail if each.waiting_for else "",
        )
        for each in found
    ]
    print_table("Operations", ("id", "kind", "state", "step", "attempts", "waits for"), rows)


@vai.command()
@click.argument("operation_id")
def resend(operation_id: str) -> None:
    """Publish an operation's current step again."""
    services = build_services(settings())
    operator = Principal(name=f"celery/{os.environ.get('USER', 'operator')}", tenant="default", roles=("admin",))
    try:
        sent = services.controller.resend_operation(RequestContext(operator, "celery-cli"), operation_id)
    except VaiError as error:
        raise click.ClickException(error.detail) from error
    finally:
        services.close()
    Console().print(f"{sent.step} of {sent.id} is published again.")
