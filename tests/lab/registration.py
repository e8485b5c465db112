"""Entering a lab's servers into the VAI that runs here, as a person would: by the ``vai`` command."""

import os
import subprocess
import sys
from dataclasses import dataclass, field
from typing import Any

_VAI = (sys.executable, "-m", "vai_app.cli.main", "datacenter")


@dataclass(frozen=True)
class Entry:
    """One datacenter to register."""

    name: str
    kind: str
    endpoint: str
    username: str
    password: str
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def command(self) -> list[str]:
        """The words after ``vai datacenter``."""
        options = [word for name, value in self.options.items() for word in ("--option", f"{name}={value}")]
        return [
            "register", self.name, "--kind", self.kind, "--endpoint", self.endpoint, "--username", self.username,
            "--insecure", *options,
        ]  # fmt: skip

    def register(self) -> bool:
        """Register it, or print how to; whether VAI took it."""
        environment = {**os.environ, "VAI_DATACENTER_PASSWORD": self.password}
        if subprocess.run([*_VAI, *self.command], check=False, env=environment).returncode == 0:
            print(f"Registered. Try: vai datacenter inventory {self.name}")
            return True
        print("VAI did not take it. When it runs (make run), register it with:")
        print(f"  VAI_DATACENTER_PASSWORD={self.password} vai datacenter {' '.join(self.command)}")
        return False

    def forget(self) -> None:
        """Let VAI forget it; it says so where machines stand in the way."""
        subprocess.run([*_VAI, "forget", self.name], check=False)
