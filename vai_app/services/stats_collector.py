"""The stats collector: reads at intervals what machines use, datacenter by datacenter, and keeps it for a while."""

import logging
from collections.abc import Sequence
from datetime import timedelta

from vai_app.domain.datacenters import Datacenter
from vai_app.domain.errors import ServiceUnavailable, VaiError
from vai_app.domain.hypervisor import Capability
from vai_app.domain.identifiers import new_id
from vai_app.domain.ports.clock import Clock, LeaseRepository
from vai_app.domain.ports.datacenters import DatacenterRepository, Hypervisors
from vai_app.domain.ports.machines import MachineRepository
from vai_app.domain.ports.statistics import StatisticsRepository
from vai_app.domain.statistics import sample_of

log = logging.getLogger(__name__)

LEASE_SECONDS = 120.0
# So many intervals back a counter is looked for to compare with; after a longer pause a rate would say little.
_INTERVALS_BACK = 3


class StatsCollector:
    """Collects what each datacenter's settings ask for, read anew each time: a change counts at once."""

    def __init__(
        self,
        *,
        statistics: StatisticsRepository,
        machines: MachineRepository,
        datacenters: DatacenterRepository,
        leases: LeaseRepository,
        hypervisors: Hypervisors,
        clock: Clock,
    ) -> None:
        """Collaborators."""
        self._statistics = statistics
        self._machines = machines
        self._datacenters = datacenters
        self._leases = leases
        self._hypervisors = hypervisors
        self._clock = clock

    def take_due(self) -> Sequence[str]:
        """Return the datacenters whose turn it is; in an interval each is handed to one caller."""
        return [each.id for each in self._datacenters.list() if _is_measured(each) and self._take_turn(each)]

    def collect(self, datacenter_id: str) -> int:
        """Read what the machines of a datacenter use, and keep it; returns how many were measured.

        What goes wrong there is told with the datacenter, and tried again in its next turn. Raises NotFound, and
        ServiceUnavailable when it cannot be kept.
        """
        datacenter, collection = self._datacenters.get(datacenter_id), self._owner()
        if not _is_measured(datacenter):
            return 0
        if not self._hold(datacenter, collection):
            log.info("%s: the last collection of statistics is still under way.", datacenter.name)
            return 0
        try:
            measured = self._collect(datacenter, collection)
        except ServiceUnavailable:
            raise
        except VaiError as error:
            log.warning("%s: no statistics: %s", datacenter.name, error.detail)
            self._datacenters.record_collected(datacenter.id, error.detail)
            return 0
        finally:
            self._release(datacenter, collection)
        self._datacenters.record_collected(datacenter.id, None)
        return measured

    def _collect(self, datacenter: Datacenter, collection: str) -> int:
        settings, now, measured = datacenter.statistics, self._clock(), 0
        machine_ids = self._machines.running(datacenter.id)
        lately = now - timedelta(seconds=_INTERVALS_BACK * settings.interval_seconds)
        before = self._statistics.newest_totals(datacenter.id, lately)
        refs = list(machine_ids)
        for start in range(0, len(refs), settings.batch_size):
            batch = refs[start : start + settings.batch_size]
            with self._hypervisors.use(datacenter.id) as hypervisor:
                readings = hypervisor.observe_statistics(batch, settings.metrics)
            samples = [
                sample_of(each, machine_ids[each.ref], datacenter.id, before.get(machine_ids[each.ref]))
                for each in readings
            ]
            self._statistics.append(samples, now + timedelta(hours=settings.retention_hours))
            measured += len(samples)
            self._hold(datacenter, collection)
        return measured

    def _take_turn(self, datacenter: Datacenter) -> bool:
        # With the interval in its name a turn that was taken for a longer one does not hold up a shorter one.
        seconds = datacenter.statistics.interval_seconds
        return self._leases.hold(f"statistics-turn/{datacenter.id}/{seconds}", self._owner(), seconds)

    def _hold(self, datacenter: Datacenter, collection: str) -> bool:
        return self._leases.hold(f"statistics/{datacenter.id}", collection, LEASE_SECONDS)

    def _release(self, datacenter: Datacenter, collection: str) -> None:
        try:
            self._leases.release(f"statistics/{datacenter.id}", collection)
        except ServiceUnavailable as error:
            log.warning("the lease of %s's statistics is left to expire: %s", datacenter.name, error.detail)

    def _owner(self) -> str:
        return new_id("st", self._clock())


def _is_measured(datacenter: Datacenter) -> bool:
    wanted = datacenter.enabled and datacenter.statistics.enabled
    return wanted and Capability.STATISTICS.value in (datacenter.inventory.capabilities or ())
