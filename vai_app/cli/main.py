"""The ``vai`` command."""

import typer
from pydantic import ValidationError

import vai_app
from vai_app.cli import (
    access,
    batches,
    consumption,
    datacenters,
    encryption_keys,
    lifecycle,
    machines,
    one_process,
    operations,
    snapshots,
)
from vai_app.cli.context import explained
from vai_app.cli.output import console
from vai_app.domain.errors import InvalidRequest
from vai_app.settings import Settings

app = typer.Typer(
    help="VAI, the Virtual Abstraction Interface: one API over datacenters that run different hypervisors.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
)
app.add_typer(lifecycle.app)
app.add_typer(one_process.app)
app.add_typer(machines.app, name="vm")
app.add_typer(snapshots.app, name="snapshot")
app.add_typer(batches.app, name="batch")
app.add_typer(datacenters.app, name="datacenter")
app.add_typer(operations.app, name="operation")
app.add_typer(operations.events, name="event")
app.add_typer(access.tokens, name="token")
app.add_typer(access.roles, name="role")
app.add_typer(access.policies, name="policy")
app.add_typer(access.tenants, name="tenant")
app.add_typer(encryption_keys.app, name="secrets")
app.command("consumption")(consumption.consumption)


@app.callback()
def check_settings() -> None:
    """Name a setting of no use before anything is done. What it holds is not told: it may be a secret."""
    with explained():
        try:
            Settings()
        except ValidationError as error:
            wrong = [f"VAI_{'_'.join(map(str, each['loc'])).upper()}: {each['msg']}." for each in error.errors()]
            raise InvalidRequest(" ".join(wrong)) from error


@app.command()
def version() -> None:
    """Print the version."""
    console.print(vai_app.__version__)


if __name__ == "__main__":
    app()
