"""The documents cannot lie: what they name exists, what is generated is current, what exists is described."""

import os
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

import pytest

from docs.generate import capability_meanings, driver_class, variable_of
from vai_app import dispatch
from vai_app.cli.processes import command_lines
from vai_app.dispatch import QUEUE_OF, QUEUES
from vai_app.domain.hypervisor import Capability, Hypervisor
from vai_app.domain.operations import StepName
from vai_app.drivers.registry import DRIVERS
from vai_app.services.plans import PLANS
from vai_app.settings import Settings

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def text_of(name: str) -> str:
    return (ROOT / name).read_text()


def test_the_generated_pages_are_current() -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("VAI_")}
    command = [sys.executable, "-m", "docs.generate", "--check"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_module_that_the_architecture_names_exists() -> None:
    named = set(re.findall(r"`((?:vai_app|docker|tests|bench)/[\w/.-]*|\w+\.py)`", text_of("docs/architecture.md")))
    assert len(named) > 20
    below = {path.name for path in ROOT.glob("vai_app/**/*.py")}
    wrong = {name for name in named if not (ROOT / name).exists() and name not in below}
    assert wrong == set()


def test_every_package_is_described_in_the_architecture() -> None:
    described = text_of("docs/architecture.md")
    packages = {f"{path.parent.relative_to(ROOT)}/" for path in ROOT.glob("vai_app/*/**/__init__.py")}
    assert packages
    missing = {package for package in packages if f"`{package}`" not in described}
    assert missing == set(), "describe them in 'A map of the files' of docs/architecture.md"


def test_every_folder_of_tests_and_every_make_target_is_described_for_contributors() -> None:
    described = text_of("CONTRIBUTING.md")
    folders = {f"tests/{path.name}" for path in (ROOT / "tests").iterdir() if any(path.glob("**/*.py"))}
    targets = set(re.findall(r"^([a-z-]+):.*##", text_of("Makefile"), re.MULTILINE)) - {"help", "venv", "clean"}
    assert {folder for folder in folders if f"`{folder}`" not in described} == set(), "see 'Tests'"
    assert {target for target in targets if f"`make {target}`" not in described} == set(), "see 'Set up'"


def test_every_command_that_a_document_shows_exists_in_the_makefile() -> None:
    targets = set(re.findall(r"^([a-z-]+):", text_of("Makefile"), re.MULTILINE))
    shown = {
        (path.name, target)
        for path in DOCUMENTS
        for target in re.findall(r"(?:`|^\$ )make ([a-z-]+)", path.read_text(), re.MULTILINE)
    }
    assert ("README.md", "run") in shown
    assert ("README.md", "test") in shown
    assert {(name, target) for name, target in shown if target not in targets} == set()


def test_every_command_of_vai_that_a_document_shows_exists() -> None:
    from typer.main import get_command  # noqa: PLC0415 - its group is needed here alone

    from vai_app.cli.main import app  # noqa: PLC0415 - see above

    commands: dict[str, object] = dict(get_command(app).commands)  # type: ignore[attr-defined]
    shown = {
        (path.name, word, further)
        for path in DOCUMENTS
        for word, further in re.findall(
            r"(?:^\$ (?:\.venv/bin/)?|^|`|\$\(\.venv/bin/)vai ([a-z]+)(?: ([a-z]+))?", path.read_text(), re.MULTILINE
        )
    }
    assert len(shown) > 10
    wrong = {(name, word) for name, word, _ in shown if word not in commands}
    wrong |= {
        (name, f"{word} {further}")
        for name, word, further in shown
        if further and hasattr(commands.get(word), "commands") and further not in commands[word].commands
    }
    assert wrong == set()


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_resolve(path: Path) -> None:
    for link in _LINK.findall(_FENCE.sub("", path.read_text())):
        address, _, anchor = unquote(link).partition("#")
        if address.startswith(("http://", "https://")):
            continue
        target = (path.parent / address).resolve() if address else path
        assert target.exists(), f"{path.name} links to {link}"
        if anchor:
            assert anchor in anchors_of(target), f"{path.name} links to {link}"


def anchors_of(path: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", _FENCE.sub("", path.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_setting_has_a_description_and_a_line() -> None:
    page = text_of("docs/configuration.md")
    for name, field in Settings.model_fields.items():
        assert field.description, f"{name} needs a description"
        assert f"| `{variable_of(name)}` |" in page


def test_a_setting_that_a_document_names_exists() -> None:
    known = {variable_of(name) for name in Settings.model_fields} | {
        "VAI_DATACENTER_PASSWORD",  # of 'vai datacenter register'
        "VAI_IMAGE",  # of docker/compose.yml
        "VAI_BASE_IMAGE",
    }
    named = {(path.name, found) for path in DOCUMENTS for found in re.findall(r"VAI_[A-Z_]*[A-Z]", path.read_text())}
    assert {(name, found) for name, found in named if found not in known} == set()


def test_every_name_on_the_wire_has_a_task_and_a_queue() -> None:
    from vai_app.celery_app import app  # noqa: PLC0415 - it reads the settings

    app.loader.import_default_modules()
    constants = {value for value in vars(dispatch).values() if isinstance(value, str) and value.startswith("vai.")}
    names = {step.value for step in StepName} | (constants - set(QUEUES))
    assert names == {str(name) for name in QUEUE_OF}
    assert names <= set(app.tasks)
    assert {str(name) for name in app.tasks if str(name).startswith("vai.")} == names
    assert set(QUEUE_OF.values()) <= set(QUEUES)


def test_every_step_belongs_to_a_plan() -> None:
    assert {step for plan in PLANS.values() for step in plan} == set(StepName)


@pytest.mark.parametrize("kind", sorted(DRIVERS))
def test_a_driver_declares_capabilities_before_it_connects(kind: str) -> None:
    driver = driver_class(kind)
    assert issubclass(driver, Hypervisor)
    assert driver.capabilities <= frozenset(Capability)


def test_every_capability_says_what_it_promises() -> None:
    assert set(capability_meanings()) == {capability.value for capability in Capability}


def test_the_containers_run_every_process_by_its_name() -> None:
    compose = text_of("docker/compose.yml")
    processes = command_lines(Settings.model_construct())
    assert set(re.findall(r"^    command: \[([a-z-]+)\]$", compose, re.MULTILINE)) == set(processes)
    assert set(re.findall(r"vai, probe, ([a-z-]+)\]", compose)) == set(processes)


def test_decisions_are_numbered_listed_and_complete() -> None:
    decisions = sorted(path for path in (ROOT / "docs/adr").glob("*.md") if path.name != "README.md")
    index = text_of("docs/adr/README.md")
    assert len({path.name[:4] for path in decisions}) == len(decisions), "two decisions have one number"
    for path in decisions:
        assert re.fullmatch(r"\d{4}-[a-z0-9-]+\.md", path.name)
        assert f"({path.name})" in index, f"list {path.name} in docs/adr/README.md"
        for part in ("Status", "Context", "Decision", "Consequences"):
            assert re.search(rf"^(## )?{part}", path.read_text(), re.MULTILINE), f"{path.name} has no {part}"
