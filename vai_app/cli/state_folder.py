"""The state folder: data, logs, keys and passwords of one installation, readable by its user alone."""

import fcntl
import json
import os
import secrets
from pathlib import Path

from cryptography.fernet import Fernet

from vai_app.domain.errors import Conflict, ServiceUnavailable
from vai_app.settings import RUN_FILE, SECRET_KEY_FILE

ADMIN_TOKEN_FILE = "admin.token"  # noqa: S105 - the name of a file
_LOCK_FILE = "lock"
_PIDS_FILE = "run.json"
_SMALLEST_FREE_BYTES = 1 << 30


class StateFolder:
    """Paths and secrets below one folder."""

    def __init__(self, path: Path) -> None:
        """Touch nothing yet."""
        self.path = path
        self.logs = path / "logs"
        self.run_file = path / RUN_FILE
        self._lock_handle: int | None = None

    def open(self) -> None:
        """Make the folder, or check that it can be used. Raises ServiceUnavailable with the way out."""
        try:
            for folder in (self.path, self.logs, self.path / "mongodb", self.path / "valkey", self.path / "simulated"):
                folder.mkdir(parents=True, exist_ok=True)
            self.path.chmod(0o700)
            probe = self.path / ".probe"
            probe.write_text("")
            probe.unlink()
            room = os.statvfs(self.path)
        except OSError as error:
            message = (
                f"The state folder {self.path} cannot be used: {error.strerror}. "
                "Mend its permissions, or choose another with VAI_STATE_FOLDER."
            )
            raise ServiceUnavailable(message) from error
        if room.f_bavail * room.f_frsize < _SMALLEST_FREE_BYTES:
            message = f"Less than 1 GiB is free at {self.path}. Make room, or choose another with VAI_STATE_FOLDER."
            raise ServiceUnavailable(message)

    def lock(self) -> None:
        """Make sure that only one VAI runs on the folder. Raises Conflict."""
        handle = os.open(self.path / _LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(handle)
            message = f"VAI runs on {self.path} already. 'vai status' shows it, 'vai down' ends it."
            raise Conflict(message) from error
        self._lock_handle = handle

    @property
    def locked(self) -> bool:
        """Whether some VAI runs on the folder now."""
        try:
            handle = os.open(self.path / _LOCK_FILE, os.O_RDWR)
        except OSError:
            return False
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
        finally:
            os.close(handle)
        return False

    def secret(self, name: str) -> str:
        """Return a secret of this installation, made at its first use."""
        path = self.path / name
        if not path.exists():
            fresh = Fernet.generate_key().decode() if name == SECRET_KEY_FILE else secrets.token_urlsafe(32)
            self.write_private(name, f"vai_{fresh}" if name == ADMIN_TOKEN_FILE else fresh)
        content = path.read_text().strip()
        if not content:
            message = f"{path} is empty. Restore it; without the key the stored credentials cannot be read."
            raise ServiceUnavailable(message)
        return content

    def write_private(self, name: str, content: str) -> Path:
        """Write a file that only its user can read, whole or not at all."""
        path = self.path / name
        partial = path.with_suffix(".partial")
        partial.unlink(missing_ok=True)
        handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(content)
        partial.rename(path)
        return path

    def write_run(self, environment: dict[str, str], pids: dict[str, int]) -> None:
        """Tell other commands of the same user where the running installation is."""
        self.write_private(RUN_FILE, "".join(f"{name}={value}\n" for name, value in environment.items()))
        self.write_private(_PIDS_FILE, json.dumps({"supervisor": os.getpid(), **pids}))

    def clear_run(self) -> None:
        """Say that nothing runs, unless it is another VAI that does."""
        if self._lock_handle is None:
            return
        self.run_file.unlink(missing_ok=True)
        (self.path / _PIDS_FILE).unlink(missing_ok=True)

    def pids(self) -> dict[str, int]:
        """Return the processes of the running installation by name; none when none runs or the file is broken."""
        if not self.locked:
            return {}
        try:
            found = json.loads((self.path / _PIDS_FILE).read_text())
        except (OSError, ValueError):
            return {}
        return {str(name): int(pid) for name, pid in found.items()}
