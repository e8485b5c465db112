"""The ``vai`` command."""

import typer
from pydantic import ValidationError

import vai_app
from vai_app.cli import datacenters, lifecycle, machines, one_process, operations
from vai_app.cli.context import explained
from vai_app.cli.output import console
from vai_app.cli.state_folder import ADMIN_TOKEN_FILE
from vai_app.domain.errors import InvalidRequest, NotFound
from vai_app.settings import Settings

app = typer.Typer(
    help="VAI, the Virtual Abstraction Interface: one API over datacenters that run different hypervisors.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
)
token = typer.Typer(help="Tokens of the API.", no_args_is_help=True)
app.add_typer(lifecycle.app)
app.add_typer(one_process.app)
app.add_typer(machines.app, name="vm")
app.add_typer(datacenters.app, name="datacenter")
app.add_typer(operations.app, name="operation")
app.add_typer(operations.events, name="event")
app.add_typer(token, name="token")


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


@token.command("show")
def show_token() -> None:
    """Print the administrator's token of the installation on this machine."""
    path = Settings().state_folder / ADMIN_TOKEN_FILE
    with explained():
        if not path.exists():
            raise NotFound(f"There is no {path}. 'vai up' makes it at its first start.")
        typer.echo(path.read_text().strip())


if __name__ == "__main__":
    app()
