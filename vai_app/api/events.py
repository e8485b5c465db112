"""``/events``: what happened."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from flask import Response
from flask_restx import Namespace
from pydantic import Field, StringConstraints

from vai_app.api.auth import Confirmed, context, services
from vai_app.api.conventions import answer, datacenter_id
from vai_app.api.documentation import documented
from vai_app.api.requests import Identifier, IntervalQuery, read_query
from vai_app.domain.events import Event
from vai_app.domain.ports.events import EventFilter
from vai_app.domain.ports.paging import PageRequest

namespace = Namespace("events", description="What happened")


class EventQuery(IntervalQuery):
    """Which events."""

    kind: Annotated[str, StringConstraints(pattern=r"^[a-z.-]{1,64}$")] | None = None
    operation: Identifier | None = None
    machine: Identifier | None = None
    datacenter: Identifier | None = Field(default=None, description="Name or id of a datacenter.")


@dataclass(slots=True)
class EventView:
    """An event."""

    id: str
    at: datetime
    kind: str
    outcome: str
    message: str
    actor: str
    correlation_id: str
    tenant: str | None
    operation_id: str | None
    machine_id: str | None
    datacenter_id: str | None


@dataclass(slots=True)
class EventPage:
    """A page of events."""

    items: Sequence[EventView]
    next_page_token: str | None


@namespace.route("")
class Events(Confirmed):
    """All events."""

    @documented(namespace, 200, EventPage, query=EventQuery, problems=(404,), may="events:read")
    def get(self) -> Response:
        """List events, newest first."""
        query = read_query(EventQuery)
        wanted = EventFilter(
            tenant=context().scope,
            kind=query.kind,
            operation_id=query.operation,
            machine_id=query.machine,
            datacenter_id=datacenter_id(query.datacenter),
            since=query.since,
            until=query.until,
        )
        page = services().events.page(wanted, PageRequest(query.page_size, query.page_token))
        return answer(EventPage([_view(each) for each in page.items], page.next_token))


def _view(event: Event) -> EventView:
    """Return an event as it is shown."""
    return EventView(
        id=event.id,
        at=event.at,
        kind=event.kind,
        outcome=event.outcome,
        message=event.message,
        actor=event.actor,
        correlation_id=event.correlation_id,
        tenant=event.tenant,
        operation_id=event.operation_id,
        machine_id=event.machine_id,
        datacenter_id=event.datacenter_id,
    )
