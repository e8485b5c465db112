"""The file with the keys that encrypt credentials, and how they are exchanged while processes use them."""

import os
from pathlib import Path

from cryptography.fernet import Fernet

from vai_app.domain.errors import ServiceUnavailable


class KeyFile:
    """One key a line, the newest first. Each write leaves the whole new content, or the old."""

    def __init__(self, path: Path) -> None:
        """Touch nothing yet."""
        self.path = path

    def keys(self) -> list[str]:
        """Return the keys. Raises ServiceUnavailable."""
        try:
            return self.path.read_text().replace(",", " ").split()
        except OSError as error:
            raise ServiceUnavailable(f"{self.path} cannot be read: {error.strerror}.") from error

    def begin_rotation(self) -> bool:
        """Put a new key before the present one. False where a rotation had begun: its key is the new one."""
        keys = self.keys()
        if len(keys) > 1:
            return False
        self._write([Fernet.generate_key().decode(), *keys])
        return True

    def end_rotation(self) -> None:
        """Forget all keys but the newest."""
        self._write(self.keys()[:1])

    def _write(self, keys: list[str]) -> None:
        partial = self.path.with_name(f"{self.path.name}.partial")
        try:
            partial.unlink(missing_ok=True)
            handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "w") as file:
                file.write("".join(f"{key}\n" for key in keys))
                file.flush()
                os.fsync(file.fileno())
            partial.replace(self.path)
        except OSError as error:
            raise ServiceUnavailable(f"{self.path} cannot be written: {error.strerror}.") from error
