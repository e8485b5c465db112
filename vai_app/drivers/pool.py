"""The pool: one hypervisor per registered datacenter in this process, behind its gate, renewed when reconfigured."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock

from vai_app.domain.datacenters import About, Connection
from vai_app.domain.errors import Conflict
from vai_app.domain.hypervisor import Connect, Hypervisor
from vai_app.domain.ports.datacenters import DatacenterRepository
from vai_app.drivers.gate import Gate
from vai_app.drivers.registry import connector
from vai_app.telemetry.scrubbing import learn_credentials


class HypervisorPool:
    """Implements the ``Hypervisors`` port."""

    def __init__(
        self,
        *,
        datacenters: DatacenterRepository,
        share: int,
        connector_of: Callable[[str], Connect] = connector,
    ) -> None:
        """``share`` is how many calls this process may have under way at one datacenter."""
        self._datacenters = datacenters
        self._share = share
        self._connector_of = connector_of
        self._lock = Lock()
        self._gates: dict[str, Gate] = {}
        self._sessions: dict[str, tuple[int, Hypervisor]] = {}

    @contextmanager
    def use(self, datacenter_id: str) -> Iterator[Hypervisor]:
        """Lend the hypervisor for a few calls, behind the datacenter's gate."""
        datacenter = self._datacenters.get(datacenter_id)
        if not datacenter.enabled:
            message = f"Datacenter {datacenter.name} is disabled. Enable it to go on."
            raise Conflict(message)
        gate = self._gate(datacenter.id, datacenter.name)
        with gate.call():
            yield self.session(datacenter.id)

    def session(self, datacenter_id: str) -> Hypervisor:
        """Return the hypervisor without its gate, for the one watcher of a datacenter."""
        revision = self._datacenters.get(datacenter_id).revision
        with self._lock:
            known = self._sessions.get(datacenter_id)
        if known is not None and known[0] == revision:
            return known[1]
        connection = self._datacenters.connection(datacenter_id)
        learn_credentials(connection.credentials)
        fresh = self._connector_of(connection.kind)(connection)
        with self._lock:
            replaced = self._sessions.get(datacenter_id)
            if replaced is not None and replaced[0] == revision:
                fresh, replaced = replaced[1], (revision, fresh)  # another thread was quicker
            else:
                self._sessions[datacenter_id] = (revision, fresh)
        if replaced is not None:
            replaced[1].close()
        return fresh

    def check_connection(self, connection: Connection) -> None:
        """Let the driver judge the settings."""
        learn_credentials(connection.credentials)
        self._connector_of(connection.kind)(connection).close()

    def try_connection(self, connection: Connection) -> About:
        """Verify a connection that is not registered yet, and close it."""
        learn_credentials(connection.credentials)
        hypervisor = self._connector_of(connection.kind)(connection)
        try:
            return hypervisor.verify()
        finally:
            hypervisor.close()

    def close(self) -> None:
        """Close every session."""
        with self._lock:
            sessions = [session for _, session in self._sessions.values()]
            self._sessions.clear()
        for session in sessions:
            session.close()

    def _gate(self, datacenter_id: str, name: str) -> Gate:
        with self._lock:
            return self._gates.setdefault(datacenter_id, Gate(name=name, share=self._share))
