"""Ansible's VMware modules: a client of vSphere that knows nothing of VAI, in an environment of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.lab.cache import cached, digest
from tests.lab.vcsim import Vcsim

_REQUIREMENTS = Path(__file__).parent / "requirements.txt"


def guest_info(vcsim: Vcsim, name: str, folder: Path) -> dict[str, Any] | None:
    """Return what ``community.vmware.vmware_guest_info`` tells of a machine; ``None`` where it finds none."""
    python = cached(f"ansible-{digest([_REQUIREMENTS], sys.version)}", _install) / "bin" / "python"
    arguments = {
        "hostname": "127.0.0.1",
        "port": vcsim.port,
        "username": vcsim.username,
        "password": vcsim.password,
        "validate_certs": False,
        "datacenter": "DC0",
        "name": name,
    }
    done = subprocess.run(
        [
            *(str(python), "-m", "ansible", "adhoc", "localhost", "--connection", "local"),
            *("--module-name", "community.vmware.vmware_guest_info", "--args", json.dumps(arguments)),
            *("--extra-vars", f"ansible_python_interpreter={python}"),
        ],
        env={
            **os.environ,
            "ANSIBLE_HOME": str(folder / "ansible"),
            "ANSIBLE_LOAD_CALLBACK_PLUGINS": "1",
            "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    result: dict[str, Any] = json.loads(done.stdout)["plays"][0]["tasks"][0]["hosts"]["localhost"]
    if "instance" in result:
        instance: dict[str, Any] = result["instance"]
        return instance
    assert "non-existing VM" in result["msg"], result["msg"]
    return None


def _install(folder: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    command = [folder / "bin" / "pip", "install", "--quiet", "--require-hashes", "-r", _REQUIREMENTS]
    subprocess.run(command, check=True)
