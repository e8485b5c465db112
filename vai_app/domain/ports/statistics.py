"""What machines used."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from vai_app.domain.ports.paging import Page, PageRequest
from vai_app.domain.statistics import Sample


@dataclass(frozen=True, slots=True)
class SampleFilter:
    """Samples of one machine, from ``since`` on and before ``until``. Whoever asks has seen that it is the tenant's."""

    machine_id: str
    since: datetime | None = None
    until: datetime | None = None


class StatisticsRepository(Protocol):
    """Samples of what machines used, each kept until its time."""

    def append(self, samples: Sequence[Sample], keep_until: datetime) -> None:
        """Store samples at once; storing the same id again does nothing."""
        ...

    def newest_totals(self, datacenter_id: str, since: datetime) -> Mapping[str, Sample]:
        """Return the newest sample with totals of each machine that has one since, by the machine's id."""
        ...

    def page(self, wanted: SampleFilter, page: PageRequest) -> Page[Sample]:
        """Newest first."""
        ...
