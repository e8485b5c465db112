"""``/consumption``: what tenants held in datacenters, by periods, as JSON or CSV."""

import csv
import io
from dataclasses import dataclass
from datetime import UTC, datetime

from flask import Response, request
from flask_restx import Namespace
from pydantic import Field

from vai_app.api.auth import Confirmed, context, require_own, services
from vai_app.api.conventions import CSV, JSON, answer, datacenter_names
from vai_app.api.documentation import documented
from vai_app.api.requests import Identifier, Moment, Query, read_query
from vai_app.api.views import Reference
from vai_app.domain.consumption import Consumption, Period

namespace = Namespace("consumption", description="What tenants held in datacenters")

_DECIMALS = 6


class ConsumptionQuery(Query):
    """Whose consumption, where, when."""

    tenant: Identifier | None = Field(default=None, description="Another than the caller's is for administrators.")
    datacenter: Identifier | None = Field(default=None, description="Name or id of a datacenter.")
    since: Moment | None = Field(default=None, description="With time zone; the beginning of this month of UTC.")
    until: Moment | None = Field(default=None, description="With time zone; now. What is to come is not counted.")
    period: Period = Field(default=Period.ALL, description="What is summed together.")


@dataclass(slots=True)
class ConsumptionView:
    """What one tenant held in one datacenter in one period, in hours."""

    tenant: str
    datacenter: Reference
    since: datetime
    until: datetime
    machines: int
    machine_hours: float
    cpu_hours: float
    memory_gib_hours: float
    disk_gib_hours: float


@dataclass(slots=True)
class ConsumptionList:
    """By period, tenant and datacenter."""

    items: list[ConsumptionView]


@namespace.route("")
class ConsumptionReport(Confirmed):
    """What was held."""

    @documented(
        namespace, 200, ConsumptionList, query=ConsumptionQuery, problems=(404,), csv=True, may="consumption:read"
    )
    def get(self) -> Response:
        """Report what tenants held in datacenters; as CSV with 'Accept: text/csv'."""
        query, scope = read_query(ConsumptionQuery), context().scope
        if query.tenant is not None:
            require_own(query.tenant)
        datacenter = services().datacenters.get(query.datacenter).id if query.datacenter else None
        found = services().capacity.consumption(
            tenant=query.tenant or scope,
            datacenter_id=datacenter,
            since=query.since or _this_month(),
            until=query.until,
            period=query.period,
        )
        name_of = datacenter_names()
        views = [_view(each, name_of(each.datacenter_id)) for each in found]
        if request.accept_mimetypes.best_match([JSON, CSV]) == CSV:
            return Response(_table(views), mimetype=CSV)
        return answer(ConsumptionList(views))


def _this_month() -> datetime:
    return datetime.now(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def _view(found: Consumption, name: str) -> ConsumptionView:
    return ConsumptionView(
        tenant=found.tenant,
        datacenter=Reference(found.datacenter_id, name),
        since=found.since,
        until=found.until,
        machines=len(found.machine_ids),
        machine_hours=round(found.machine_hours, _DECIMALS),
        cpu_hours=round(found.cpu_hours, _DECIMALS),
        memory_gib_hours=round(found.memory_gib_hours, _DECIMALS),
        disk_gib_hours=round(found.disk_gib_hours, _DECIMALS),
    )


def _table(views: list[ConsumptionView]) -> str:
    amounts = ("machines", "machine_hours", "cpu_hours", "memory_gib_hours", "disk_gib_hours")
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(("tenant", "datacenter", "since", "until", *amounts))
    for each in views:
        times = (each.since.isoformat(), each.until.isoformat())
        writer.writerow((each.tenant, each.datacenter.name, *times, *(getattr(each, name) for name in amounts)))
    return text.getvalue()
