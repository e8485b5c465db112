"""Entering a lab's servers into the VAI that runs here, as a person would: by the ``vai`` command."""

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.lab.openstack.cloud import Account

_VAI = (sys.executable, "-m", "vai_app.cli.main", "datacenter")


@dataclass(frozen=True)
class Entry:
    """One datacenter to register."""

    name: str
    kind: str
    endpoint: str
    username: str
    password: str
    credentials: dict[str, str] = field(default_factory=dict)  # besides the two
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def command(self) -> list[str]:
        """The words after ``vai datacenter``."""
        options = [word for name, value in self.options.items() for word in ("--option", f"{name}={value}")]
        options += [word for name, value in self.credentials.items() for word in ("--credential", f"{name}={value}")]
        return [
            "register", self.name, "--kind", self.kind, "--endpoint", self.endpoint, "--username", self.username,
            "--insecure", *options,
        ]  # fmt: skip

    def register(self, vai: Mapping[str, str] | None = None) -> bool:
        """Register it, or print how to; whether VAI took it. ``vai`` are settings that find another one than ours."""
        environment = {**os.environ, **(vai or {}), "VAI_DATACENTER_PASSWORD": self.password}
        if subprocess.run([*_VAI, *self.command], check=False, env=environment).returncode == 0:
            print(f"Registered. Try: vai datacenter inventory {self.name}")
            return True
        print("VAI did not take it. When it runs (make run), register it with:")
        print(f"  VAI_DATACENTER_PASSWORD={self.password} vai datacenter {' '.join(self.command)}")
        return False

    def forget(self) -> None:
        """Let VAI forget it; it says so where machines stand in the way."""
        subprocess.run([*_VAI, "forget", self.name], check=False)


def openstack_entry(name: str, account: Account, **options: str) -> Entry:
    """Return the entry of an account's cloud; ``options`` are given besides its region."""
    return Entry(
        name, "openstack", account.auth_url, account.username, account.password,
        credentials={"project": account.project}, options={"region": account.region, **options},
    )  # fmt: skip
