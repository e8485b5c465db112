"""``/virtual-machines/{machine_id}/statistics``: what a machine used."""

from dataclasses import dataclass
from datetime import datetime

from flask import Response
from flask_restx import Namespace

from vai_app.api.auth import Confirmed, context, services
from vai_app.api.conventions import answer
from vai_app.api.documentation import documented
from vai_app.api.requests import IntervalQuery, read_query
from vai_app.domain.ports.paging import PageRequest
from vai_app.domain.ports.statistics import SampleFilter
from vai_app.domain.statistics import Metric, Sample

namespace = Namespace("statistics", description="What virtual machines use")


@dataclass(slots=True)
class SampleView:
    """What a machine used at one moment, or on the average since the sample before; null is what is not measured."""

    at: datetime
    cpu_percent: float | None  # of all its CPUs together
    memory_mib: float | None  # that it takes from its host
    network_received_kib_s: float | None
    network_sent_kib_s: float | None
    disk_read_kib_s: float | None
    disk_written_kib_s: float | None
    power_watts: float | None


@dataclass(slots=True)
class SamplePage:
    """A page of samples, newest first."""

    items: list[SampleView]
    next_page_token: str | None


@namespace.route("/<string:machine_id>/statistics")
class Statistics(Confirmed):
    """What a machine used."""

    @documented(namespace, 200, SamplePage, query=IntervalQuery, problems=(404,), may="virtual-machines:read")
    def get(self, machine_id: str) -> Response:
        """List what was measured of a machine, newest first."""
        machine = services().machines.get(machine_id, context().scope)
        query = read_query(IntervalQuery)
        wanted = SampleFilter(machine.id, query.since, query.until)
        page = services().statistics.page(wanted, PageRequest(query.page_size, query.page_token))
        return answer(SamplePage([_view(each) for each in page.items], page.next_token))


def _view(sample: Sample) -> SampleView:
    return SampleView(at=sample.at, **{metric.value: sample.values.get(metric) for metric in Metric})
