"""The prepared state that every cloud starts from: every service's empty databases and Keystone's keys, in one file."""

import getpass
import grp
import os
import subprocess
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.lab.cache import cached, digest
from tests.lab.mariadb import MariaDB
from tests.lab.openstack.configuration import DATABASES, PASSWORD, Layout, write
from tests.lab.openstack.installation import LOCK, Installation

_CREATE_USER = f"CREATE USER 'os'@'%' IDENTIFIED BY '{PASSWORD}'; GRANT ALL ON *.* TO 'os'@'%';"
# Nova fills these in from its configuration, so that the state knows no ports.
_DATABASE = "{scheme}://{username}:{password}@{hostname}:{port}/"
_BROKER = "{scheme}://{username}:{password}@{hostname}:{port}/"


def restore(installation: Installation, folder: Path) -> None:
    """Put databases and keys into a cloud's folder; they are made on first use, in about a minute."""
    name = f"openstack-golden-{digest([LOCK, Path(__file__)])}.tar.gz"
    state = cached(name, lambda target: _make(installation, target))
    with tarfile.open(state) as archive:
        archive.extractall(folder, filter="data")


def _make(installation: Installation, target: Path) -> None:
    with TemporaryDirectory(prefix="vai-lab-") as name:
        folder = Path(name)
        mariadb = MariaDB(folder)
        mariadb.initialize()
        mariadb.start()
        try:
            databases = (f"CREATE DATABASE {each} CHARACTER SET utf8mb3;" for each in DATABASES)
            mariadb.execute("\n".join([_CREATE_USER, *databases]))
            layout = Layout(folder, "none", installation, mariadb.port)
            write(layout)
            with ThreadPoolExecutor() as threads:
                list(threads.map(lambda fill: fill(layout), (_keystone_and_others, _nova, _neutron, _cinder)))
        finally:
            mariadb.stop()
        with tarfile.open(target, "w:gz", compresslevel=1) as archive:
            for part in (mariadb.data, layout.keys):
                archive.add(part, part.name)


def _keystone_and_others(layout: Layout) -> None:
    layout.keys.mkdir()
    keystone = ("keystone-manage", "--config-file", layout.etc / "keystone" / "keystone.conf")
    owner = ("--keystone-user", getpass.getuser(), "--keystone-group", grp.getgrgid(os.getgid()).gr_name)
    _run(layout, *keystone, "fernet_setup", *owner)
    _run(layout, *keystone, "credential_setup", *owner)
    _run(layout, *keystone, "db_sync")
    _run(layout, "placement-manage", "--config-file", layout.etc / "placement" / "placement.conf", "db", "sync")
    _run(layout, "glance-manage", "--config-file", layout.etc / "glance" / "glance-api.conf", "db_sync")


def _nova(layout: Layout) -> None:
    nova = ("nova-manage", "--config-file", layout.etc / "nova" / "nova.conf")
    _run(layout, *nova, "api_db", "sync")
    cell0, cell1 = (f"{_DATABASE}{name}?{{query}}" for name in ("nova_cell0", "nova"))
    _run(layout, *nova, "cell_v2", "map_cell0", "--database_connection", cell0)
    _run(layout, *nova, "db", "sync")
    _run(layout, *nova, "cell_v2", "create_cell", "--name", "cell1", "--database_connection", cell1,
         "--transport-url", _BROKER)  # fmt: skip


def _neutron(layout: Layout) -> None:
    _run(layout, "neutron-db-manage", "--config-file", layout.etc / "neutron" / "neutron.conf", "upgrade", "heads")


def _cinder(layout: Layout) -> None:
    _run(layout, "cinder-manage", "--config-file", layout.cinder, "db", "sync")


def _run(layout: Layout, program: str, *arguments: str | Path) -> None:
    command = [layout.installation.program(program), *arguments]
    environment = {**os.environ, **layout.environment}
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    if done.returncode:
        message = f"{program} failed:\n{(done.stdout + done.stderr)[-3000:]}"
        raise RuntimeError(message)
