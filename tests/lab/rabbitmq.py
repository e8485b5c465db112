"""RabbitMQ: Debian's server, run from a folder of its own."""

import os
import subprocess
from pathlib import Path
from urllib.parse import quote

import amqp

from tests.lab.ports import free_port
from tests.lab.process import ServerProcess, wait_until

_PROGRAMS = Path("/usr/lib/rabbitmq/bin")
_WRITE_SECONDS = 30.0


class RabbitMQ:
    """``url`` is ready for VAI_BROKER_URL."""

    def __init__(self, folder: Path, *, user: str = "guest", password: str = "guest") -> None:
        """Data and log live in ``folder``; the node and its port mapper are this one's own."""
        self.port = free_port()
        self.user, self.password = user, password
        self.url = f"amqp://{user}:{quote(password, safe='')}@127.0.0.1:{self.port}//"
        data = folder / "rabbitmq"
        data.mkdir(parents=True, exist_ok=True)
        (data / "rabbitmq.conf").write_text(
            f"listeners.tcp.1 = 127.0.0.1:{self.port}\nvm_memory_high_watermark.absolute = 512MB\n"
            f"default_user = {user}\ndefault_pass = {password}\n"
        )
        (data / "plugins").write_text("[].\n")
        self._mnesia = data / "mnesia"
        self._mapper_port = free_port()
        self._environment = {
            "HOME": str(data),
            "RABBITMQ_NODENAME": f"vai{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_MNESIA_BASE": str(self._mnesia),
            "RABBITMQ_LOG_BASE": str(data / "log"),
            "RABBITMQ_CONFIG_FILE": str(data / "rabbitmq"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(data / "plugins"),
            "RABBITMQ_PID_FILE": str(data / "pid"),
            "ERL_EPMD_PORT": str(self._mapper_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
        }
        self._process = ServerProcess("rabbitmq", [str(_PROGRAMS / "rabbitmq-server")], folder, self._environment)

    def start(self) -> None:
        """Start and wait until a client is let in."""
        self._process.start(self._lets_in, seconds=120)

    def stop(self) -> None:
        """Shut down cleanly."""
        self._process.stop()
        self._end_mapper()

    def kill(self) -> None:
        """Crash, port mapper and all.

        Not before the first state of each quorum queue is on its disk, which takes up to three seconds: RabbitMQ 3.10
        never finds a leader again for a queue that it lost in that time (rabbitmq-server issue 10070).
        """
        wait_until(self._queues_are_on_disk, seconds=_WRITE_SECONDS, what="RabbitMQ wrote its queues")
        self._process.kill()
        self._end_mapper()

    def control(self, *arguments: str) -> None:
        """Run ``rabbitmqctl`` on it."""
        command = [str(_PROGRAMS / "rabbitmqctl"), *arguments]
        subprocess.run(command, check=True, capture_output=True, env={**os.environ, **self._environment}, timeout=60)

    def _queues_are_on_disk(self) -> bool:
        for folder in self._mnesia.glob("*/quorum/*"):
            known = [(folder / name).read_bytes() for name in ("names.dets", "meta.dets")]
            queues = [each.name.encode() for each in folder.iterdir() if each.is_dir()]
            if any(queue not in content for queue in queues for content in known):
                return False
        return True

    def _end_mapper(self) -> None:
        """The port mapper leaves the server's process group at its start, and would outlive it."""
        subprocess.run(["epmd", "-port", str(self._mapper_port), "-kill"], capture_output=True, check=False)

    def _lets_in(self) -> bool:
        connection = amqp.Connection(f"127.0.0.1:{self.port}", self.user, self.password, connect_timeout=2)
        try:
            connection.connect()
        except (OSError, amqp.AMQPError):
            return False
        connection.close()
        return True
