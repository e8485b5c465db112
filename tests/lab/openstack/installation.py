"""The clouds' own virtual environment, installed once for each lock file with its hashes."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.lab.cache import cached, digest

FOLDER = Path(__file__).parent
LOCK = FOLDER / "requirements.txt"


@dataclass(frozen=True)
class Installation:
    """Where OpenStack's programs are."""

    folder: Path

    @property
    def python(self) -> str:
        """The interpreter that imports OpenStack."""
        return str(self.folder / "bin" / "python")

    def program(self, name: str) -> str:
        """Return the path of a command."""
        return str(self.folder / "bin" / name)

    def etc(self, *parts: str) -> Path:
        """Return a file that a package brought as its default configuration."""
        return self.folder.joinpath("etc", *parts)

    @property
    def environment(self) -> dict[str, str]:
        """What every program needs in its environment."""
        return {
            "PYTHONPATH": str(FOLDER / "plugin"),
            "PYTHONUNBUFFERED": "1",
            "PYTHONWARNINGS": "ignore",
            "PYTHONDONTWRITEBYTECODE": "",  # without .pyc files every start costs minutes
            "OS_NOVA_DISABLE_EVENTLET_PATCHING": "1",
            "OS_CINDER_DISABLE_EVENTLET_PATCHING": "1",
        }


def installation() -> Installation:
    """Return the installation, made on first use: about a minute and 1 GB."""
    return Installation(cached(f"openstack-{digest([LOCK], sys.version)}", _install))


def _install(folder: Path) -> None:
    # The programs' first lines name this interpreter: it must be called by the folder's final name.
    final = folder.with_suffix("")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    subprocess.run(
        # The lock is complete; pip takes an extra of a pinned package for another, unpinned one.
        [sys.executable, "-m", "pip", "--python", folder / "bin" / "python", "install", "-qq", "--require-hashes",
         "--no-deps", "--no-compile", "-r", LOCK],
        check=True,
    )  # fmt: skip
    for script in (folder / "bin").iterdir():
        content = script.read_bytes()
        if script.is_file() and not script.is_symlink() and str(folder).encode() in content:
            script.write_bytes(content.replace(str(folder).encode(), str(final).encode()))
    compiled = [folder / "bin" / "python", "-m", "compileall", "-q", "-j", "2", folder / "lib"]
    subprocess.run(compiled, check=True, env={**os.environ, "PYTHONDONTWRITEBYTECODE": ""})
