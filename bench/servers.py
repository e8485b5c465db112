"""The servers that both sides use, and VAI upon them."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.lab.mongo import Mongo
from tests.lab.rabbitmq import RabbitMQ
from tests.lab.vai import Vai
from tests.lab.valkey import Valkey
from tests.lab.vcsim import Vcsim


class Servers:
    """MongoDB, RabbitMQ and Valkey, fresh; simulated vCenters and VAI are added to them."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        """Start the three."""
        self._folder, self._stack = folder, stack
        self.mongo, self.valkey, self.rabbitmq = Mongo(folder), Valkey(folder), RabbitMQ(folder)
        for server in (self.mongo, self.valkey, self.rabbitmq):
            server.start()
            stack.callback(server.stop)

    def vcsim(self, *arguments: str, **sizes: int) -> Vcsim:
        """Start a simulated vCenter."""
        simulator = Vcsim(self._folder / "vcsim", *arguments, **sizes)
        simulator.start()
        self._stack.callback(simulator.stop)
        return simulator

    def vai(self, **settings: Any) -> Vai:
        """Start VAI."""
        vai = Vai(
            self._folder / "vai",
            mongo_url=self.mongo.url,
            broker_url=self.rabbitmq.url,
            redis_url=self.valkey.url,
            **settings,
        )
        return self._stack.enter_context(vai.running())


@contextmanager
def servers() -> Iterator[Servers]:
    """Lend fresh servers and end everything."""
    with TemporaryDirectory(prefix="vai-bench-") as folder, ExitStack() as stack:
        yield Servers(Path(folder), stack)
