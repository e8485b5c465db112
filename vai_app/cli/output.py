"""What the commands print: tables for people, JSON for programs."""

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

_PIPE_WIDTH = 200

console = Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH)
errors = Console(stderr=True)

Row = Sequence[str]
_STYLES = {
    "active": "green",
    "succeeded": "green",
    "on": "green",
    "reachable": "green",
    "ok": "green",
    "failed": "red",
    "missing": "red",
    "unreachable": "red",
    "rejected": "yellow",
    "cancelled": "yellow",
}


_WHOLE = ("id", "name")  # what a person copies is not broken into lines


def print_json(value: Any) -> None:
    """Print for programs: stable, on standard output, without colours."""
    typer.echo(json.dumps(value, indent=2))


def print_table(title: str, columns: Sequence[str], rows: Iterable[Row]) -> None:
    """Print for people."""
    table = Table(title=title, title_justify="left", header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column in _WHOLE)
    for row in rows:
        table.add_row(*(_styled(cell) for cell in row))
    console.print(table)


def show(value: Any, *, as_json: bool, table: Callable[[], None]) -> None:
    """Print JSON or the table."""
    if as_json:
        print_json(value)
    else:
        table()


def _styled(cell: str) -> Text:
    """Return a cell that shows what it holds: brackets of a user's or a provider's are no markup."""
    return Text(cell, style=_STYLES.get(cell, ""))
