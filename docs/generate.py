"""Writes the pages of the documentation that code knows better: ``make docs``. It connects to nothing."""

import inspect
import re
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Annotated, Literal, get_args, get_origin

from pydantic import BaseModel, SecretStr

from beat_schedule import BEAT_SCHEDULE
from vai_app.api.errors import STATUS
from vai_app.cli.processes import command_lines
from vai_app.dispatch import BEGIN_COLLECTIONS, COLLECT_STATISTICS, QUEUE_OF, QUEUES
from vai_app.domain.errors import VaiError, all_errors
from vai_app.domain.hypervisor import Capability, Hypervisor
from vai_app.domain.operations import OperationKind
from vai_app.drivers.registry import DRIVERS
from vai_app.services.plans import PLANS
from vai_app.settings import Settings

FOLDER = Path(__file__).parent
_SENT_BY = {COLLECT_STATISTICS: f"each datacenter's turn, by `{BEGIN_COLLECTIONS}`"}
_NOTE = "<!-- Written by `make docs` from {source}. Change that, not this page. -->\n"


def pages() -> dict[Path, str]:
    """Return every generated page by its path."""
    return {FOLDER / "configuration.md": configuration(), FOLDER / "reference.md": reference()}


def configuration() -> str:
    """Every setting: its variable, type, default and meaning."""
    rows = [
        (
            f"`{variable_of(name)}`",
            _type_of(field.annotation),
            _default_of(field.default),
            field.description or "",
        )
        for name, field in Settings.model_fields.items()
    ]
    return "\n".join(
        [
            _NOTE.format(source="`vai_app/settings.py`"),
            "# Configuration",
            "",
            "Everything is an environment variable. None has to be set: what is empty is embedded.",
            "",
            _table(("variable", "type", "default", "what it is"), rows),
            "",
            "Commands of the same user find a running `vai up` by themselves: it leaves the addresses of its servers",
            "in `run.env` in the state folder, and the administrator's token in `admin.token`. A variable wins.",
            "",
            "`VAI_DATACENTER_PASSWORD` is read by `vai datacenter register`. `FLOWER_BASIC_AUTH` (`user:password`) is",
            "Flower's own; `vai up` sets it, elsewhere set it yourself.",
            "",
        ]
    )


def reference() -> str:
    """What is on the wire, what runs, what can go wrong, and what each driver can do."""
    return "\n".join(
        [
            _NOTE.format(source="the code"),
            "# Reference",
            "",
            *_processes(),
            *_tasks(),
            *_problems(),
            *_drivers(),
        ]
    )


def variable_of(name: str) -> str:
    """Return the environment variable of a setting."""
    return f"VAI_{name.upper()}"


def driver_class(kind: str) -> type[Hypervisor]:
    """Return the class of a kind's driver, without connecting."""
    for module in _modules_of(DRIVERS[kind]):
        for _, found in inspect.getmembers(module, inspect.isclass):
            if issubclass(found, Hypervisor) and found.__module__.startswith(DRIVERS[kind]):
                return found
    message = f"{DRIVERS[kind]} has no class that implements Hypervisor."
    raise LookupError(message)


def capability_meanings() -> Mapping[str, str]:
    """Return what each capability promises, from the comment beside it."""
    source = inspect.getsource(Capability)
    return dict(re.findall(r'= "([^"]+)"\s*# (.+)', source))


def _processes() -> Iterable[str]:
    commands = command_lines(Settings.model_construct())
    rows = [(f"`{name}`", f"`{_readable(command)}`") for name, command in commands.items()]
    yield "## Processes"
    yield ""
    yield "`vai up` runs them all, `vai run NAME` runs one, `vai probe NAME` says whether it does its work."
    yield ""
    yield _table(("name", "command"), rows)
    yield ""


def _tasks() -> Iterable[str]:
    yield "## Tasks and queues"
    yield ""
    yield "The names are a contract between releases. Steps take an operation's id, collections a datacenter's."
    yield ""
    periodic = {entry["task"]: entry for entry in BEAT_SCHEDULE.values()}
    rows = []
    for task, queue in QUEUE_OF.items():
        every = (
            f"every {periodic[task]['schedule'].total_seconds():g} s" if task in periodic else _SENT_BY.get(task, "")
        )
        kinds = ", ".join(f"`{kind}`" for kind in OperationKind if task in PLANS[kind])
        rows.append((f"`{task!s}`", f"`{queue}`", kinds or every))
    yield _table(("task", "queue", "part of, or how often"), rows)
    yield ""
    yield f"Queues: {', '.join(f'`{queue}`' for queue in QUEUES)}. On RabbitMQ they are quorum queues."
    yield ""
    yield "## Operations and their steps"
    yield ""
    plans = [(f"`{kind}`", " → ".join(f"`{step}`" for step in PLANS[kind])) for kind in OperationKind]
    yield _table(("operation", "steps, undone in reverse"), plans)
    yield ""


def _problems() -> Iterable[str]:
    yield "## Problem types"
    yield ""
    yield "Errors are `application/problem+json` (RFC 9457). Their `type` is `/problems/NAME`, which explains it."
    yield ""
    rows = [
        (
            f"`{error.problem}`",
            str(_status_of(error)),
            "yes" if error.retryable else "no",
            (inspect.getdoc(error) or "").split("\n")[0].replace("``", "`"),
        )
        for error in sorted(all_errors(), key=lambda error: (_status_of(error), error.problem))
    ]
    yield _table(("name", "status", "ask again?", "meaning"), rows)
    yield ""


def _drivers() -> Iterable[str]:
    kinds = sorted(DRIVERS)
    yield "## Drivers"
    yield ""
    yield "Every driver creates, deletes, observes, starts and stops machines. Beyond that:"
    yield ""
    able = {kind: driver_class(kind).capabilities for kind in kinds}
    meanings = capability_meanings()
    rows = [
        (f"`{each}`", *("yes" if each in able[kind] else "no" for kind in kinds), meanings[each]) for each in Capability
    ]
    yield _table(("capability", *(f"`{kind}`" for kind in kinds), "meaning"), rows)
    yield ""
    for kind in kinds:
        options = _options_of(kind)
        if options is None:
            continue
        yield f"### Options of a datacenter of the kind `{kind}`"
        yield ""
        fields = [
            (f"`{name}`", _type_of(field.annotation), _default_of(field.default), field.description or "")
            for name, field in options.model_fields.items()
        ]
        yield _table(("option", "type", "default", "what it is"), fields)
        yield ""


def _modules_of(package: str) -> Iterable[ModuleType]:
    yield import_module(package)
    if find_spec(f"{package}.driver"):
        yield import_module(f"{package}.driver")


def _options_of(kind: str) -> type[BaseModel] | None:
    name = f"{DRIVERS[kind]}.options"
    options = getattr(import_module(name), "Options", None) if find_spec(name) else None
    return options if options is not None and issubclass(options, BaseModel) else None


def _status_of(error: type[VaiError]) -> int:
    return next(STATUS[base] for base in error.__mro__ if base in STATUS)


def _readable(command: Sequence[str]) -> str:
    return " ".join("python" if part == sys.executable else part for part in command)


def _type_of(annotation: object) -> str:
    if annotation is SecretStr:
        return "secret"
    if get_origin(annotation) is Annotated:
        return _type_of(get_args(annotation)[0])
    if get_origin(annotation) is dict:
        key, value = (_type_of(each) for each in get_args(annotation))
        return f"dict[{key}, {value}]"
    if get_origin(annotation) is Literal:
        return " or ".join(f"`{choice}`" for choice in get_args(annotation))
    name = getattr(annotation, "__name__", "") if isinstance(annotation, type) else ""
    known = {"str": "text", "int": "integer", "float": "number", "bool": "true or false", "Path": "path"}
    return known.get(name) or str(annotation).replace("typing.", "").replace("str", "text").replace(" | None", "")


def _default_of(default: object) -> str:
    if isinstance(default, SecretStr):
        default = default.get_secret_value()
    if default in ("", None):
        return ""
    if isinstance(default, Path):
        return f"`{str(default).replace(str(Path.home()), '~')}`"
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def write(path: Path, text: str) -> None:
    """Write a page whole or not at all."""
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False, encoding="utf-8") as partial:
        partial.write(text)
    Path(partial.name).chmod(0o644)
    Path(partial.name).replace(path)


def main() -> int:
    """Write the pages, or with ``--check`` only name those that are not current."""
    stale = {page: text for page, text in pages().items() if not page.exists() or page.read_text() != text}
    if "--check" in sys.argv:
        for page in stale:
            print(f"{page.relative_to(FOLDER.parent)} is not current: run 'make docs' and commit it.")  # noqa: T201
        return 1 if stale else 0
    for page, text in stale.items():
        write(page, text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
