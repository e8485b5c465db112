"""What python-openstackclient, which shares no code with VAI's driver but the SDK, sees of a project."""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.lab.openstack.cloud import Account, Cloud, write_clouds_yaml

_SECONDS = 120


@dataclass(frozen=True)
class Seen:
    """Everything of a project that costs something."""

    servers: list[dict[str, Any]]
    ports: list[dict[str, Any]]

    @property
    def nothing(self) -> bool:
        """Whether nothing is left."""
        return not self.servers and not self.ports


class Witness:
    """``openstack`` commands, run for one account of a cloud."""

    def __init__(self, cloud: Cloud, folder: Path, account: Account) -> None:
        """``folder`` gets a clouds.yaml."""
        file = folder / "clouds.yaml"
        write_clouds_yaml(file, {account.project: account.clouds_yaml})
        self._program = cloud.layout.installation.program("openstack")
        self._environment = {
            **os.environ,
            "OS_CLIENT_CONFIG_FILE": str(file),
            "OS_CLOUD": account.project,
            "PYTHONWARNINGS": "ignore",
        }

    def project(self) -> Seen:
        """Return all servers and ports of the project."""
        return Seen(self.ask("server", "list", "--long"), self.ask("port", "list", "--long"))

    def images(self) -> list[dict[str, Any]]:
        """Return the images that belong to the project alone."""
        found: list[dict[str, Any]] = self.ask("image", "list", "--private")
        return found

    def server(self, ref: str) -> dict[str, Any]:
        """Return one server with its metadata (``properties``), flavor, image and addresses."""
        found: dict[str, Any] = self.ask("server", "show", ref)
        return found

    def ports_of(self, ref: str) -> list[dict[str, Any]]:
        """Return the ports that belong to a server."""
        found: list[dict[str, Any]] = self.ask("port", "list", "--device-id", ref)
        return found

    def ask(self, *command: str) -> Any:
        """Run a command that prints; what it printed, parsed."""
        done = subprocess.run(
            [self._program, *command, "-f", "json"], check=True, capture_output=True, text=True, timeout=_SECONDS,
            env=self._environment,
        )  # fmt: skip
        return json.loads(done.stdout)
