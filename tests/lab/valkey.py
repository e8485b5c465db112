"""Valkey: the embedded server of the wheel."""

from pathlib import Path
from urllib.parse import quote

import redis

from tests.lab.ports import free_port
from tests.lab.process import ServerProcess
from vai_app.cli.embedded import valkey_command


class Valkey:
    """``url`` is ready for VAI_REDIS_URL and VAI_BROKER_URL."""

    def __init__(self, folder: Path) -> None:
        """Data and log live in ``folder``."""
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        data = folder / "valkey"
        data.mkdir(parents=True, exist_ok=True)
        self._process = ServerProcess("valkey", valkey_command(data, self.port), folder)

    def start(self) -> None:
        """Start and wait until it answers."""
        self._process.start(self._answers)

    def require_password(self, password: str) -> None:
        """Let nobody in without a password from now on; ``url`` holds it."""
        redis.Redis(port=self.port).config_set("requirepass", password)
        self.url = f"redis://:{quote(password, safe='')}@127.0.0.1:{self.port}/0"

    def stop(self) -> None:
        """Shut down cleanly."""
        self._process.stop()

    def kill(self) -> None:
        """Crash."""
        self._process.kill()

    def _answers(self) -> bool:
        try:
            return bool(redis.Redis(port=self.port, socket_timeout=1).ping())
        except redis.RedisError:
            return False
