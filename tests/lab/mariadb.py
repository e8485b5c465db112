"""MariaDB: Debian's server, run from a folder of its own, fast and forgetful of power cuts."""

import getpass
import subprocess
from pathlib import Path

from tests.lab.ports import free_port
from tests.lab.process import ServerProcess


class MariaDB:
    """``port`` takes TCP connections of the users that ``execute`` made."""

    def __init__(self, folder: Path) -> None:
        """Data and log live in ``folder``; the data may have been put there before."""
        self.port = free_port()
        self.data = folder / "mariadb"
        self._socket = folder / "mariadb.sock"
        self._user = f"--user={getpass.getuser()}"
        command = [
            "/usr/sbin/mariadbd",
            "--no-defaults",
            self._user,
            f"--datadir={self.data}",
            "--bind-address=127.0.0.1",
            f"--port={self.port}",
            f"--socket={self._socket}",
            f"--pid-file={folder / 'mariadb.pid'}",
            "--skip-log-bin",
            "--skip-name-resolve",
            "--performance-schema=OFF",
            "--character-set-server=utf8mb3",
            "--max-connections=1000",
            "--innodb-buffer-pool-size=128M",
            "--innodb-log-file-size=48M",
            "--innodb-flush-log-at-trx-commit=0",
            "--innodb-doublewrite=0",
            "--innodb-flush-method=nosync",
        ]
        self._process = ServerProcess("mariadb", command, folder)

    def initialize(self) -> None:
        """Make an empty server's data."""
        self.data.mkdir(parents=True)
        subprocess.run(
            ["mariadb-install-db", "--no-defaults", self._user, f"--datadir={self.data}",
             "--auth-root-authentication-method=normal", "--skip-test-db"],
            check=True, capture_output=True,
        )  # fmt: skip

    def start(self) -> None:
        """Start and wait until it lets in."""
        self._process.start(self._lets_in)

    def stop(self) -> None:
        """Shut down cleanly."""
        self._process.stop()

    def execute(self, statements: str) -> str:
        """Run SQL as its administrator; what it printed."""
        done = subprocess.run(self._client(), input=statements, check=True, capture_output=True, text=True)
        return done.stdout

    def _lets_in(self) -> bool:
        return subprocess.run([*self._client(), "-e", "SELECT 1"], check=False, capture_output=True).returncode == 0

    def _client(self) -> list[str]:
        return ["mariadb", "--no-defaults", "--batch", "-uroot", f"--socket={self._socket}"]
