"""Events."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from vai_app.domain.events import Event
from vai_app.domain.ports.paging import Page, PageRequest


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events, newest first; ``tenant`` ``None`` means all and is for administrators."""

    tenant: str | None
    kind: str | None = None
    operation_id: str | None = None
    machine_id: str | None = None
    datacenter_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None


class EventRepository(Protocol):
    """The event log."""

    def append(self, *events: Event) -> None:
        """Store events at once; storing the same id again does nothing."""
        ...

    def page(self, wanted: EventFilter, page: PageRequest) -> Page[Event]:
        """Newest first."""
        ...

    def archive(self, before: datetime) -> int:
        """Move older events to the archive and return how many; repeatable after any interruption."""
        ...
