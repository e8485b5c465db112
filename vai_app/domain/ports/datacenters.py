"""Datacenters: their records, and their hypervisors."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from vai_app.domain.datacenters import About, Connection, Datacenter, Inventory, PlacementSettings
from vai_app.domain.hypervisor import Hypervisor
from vai_app.domain.statistics import StatisticsSettings


@dataclass(frozen=True, slots=True)
class DatacenterChange:
    """A change of a datacenter's configuration; ``None`` leaves a property as it is."""

    name: str | None = None
    endpoint: str | None = None
    enabled: bool | None = None
    credentials: Mapping[str, str] | None = None
    verify_tls: bool | None = None
    ca_certificate: str | None = None
    call_timeout_seconds: float | None = None
    options: Mapping[str, object] | None = None
    placement: PlacementSettings | None = None
    statistics: StatisticsSettings | None = None


class DatacenterRepository(Protocol):
    """Datacenters; credentials go in and come out only through ``connection``."""

    def insert(self, datacenter: Datacenter, credentials: Mapping[str, str]) -> None:
        """Raises NameTaken."""
        ...

    def get(self, datacenter_id: str) -> Datacenter:
        """By id or by name. Raises NotFound."""
        ...

    def list(self) -> Sequence[Datacenter]:
        """Every datacenter, in order of name."""
        ...

    def connection(self, datacenter_id: str) -> Connection:
        """Return how to reach it, credentials decrypted. Raises NotFound."""
        ...

    def change(self, datacenter_id: str, change: DatacenterChange, revision: int) -> Datacenter:
        """Store a change based on ``revision``. Raises NotFound, PreconditionFailed, NameTaken."""
        ...

    def delete(self, datacenter_id: str, revision: int) -> None:
        """Forget the datacenter and its strangers' machines. Raises PreconditionFailed, Conflict (ours left)."""
        ...

    def record_reachable(self, datacenter_id: str, about: About | None, inventory: Inventory | None) -> bool:
        """Store what was observed; ``True`` when it was not reachable before."""
        ...

    def record_unreachable(self, datacenter_id: str, problem: str) -> bool:
        """Store why not; ``True`` when it was reachable (or unknown) before."""
        ...

    def record_collected(self, datacenter_id: str, problem: str | None) -> None:
        """Store that its statistics were read now, or why they were not."""
        ...


class Hypervisors(Protocol):
    """Every registered datacenter's hypervisor, one session each in this process, behind its share and breaker."""

    def use(self, datacenter_id: str) -> AbstractContextManager[Hypervisor]:
        """Lend the hypervisor for a few calls.

        Raises NotFound, Conflict (disabled), ProviderBusy (the datacenter's share of this process is in use),
        ProviderUnavailable (the circuit breaker is open: no call was made).
        """
        ...

    def session(self, datacenter_id: str) -> Hypervisor:
        """Return the hypervisor without share and breaker, for a long poll of the datacenter's one watcher."""
        ...

    def check_connection(self, connection: Connection) -> None:
        """Call nobody. Raises InvalidRequest for a kind that has no driver and settings that the driver cannot use."""
        ...

    def try_connection(self, connection: Connection) -> About:
        """Verify a connection that is not registered yet, and close it."""
        ...

    def close(self) -> None:
        """Close every session."""
        ...
