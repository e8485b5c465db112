"""``/operations`` and ``/events``: what is being done, and what was."""

from flask import Response
from flask_restx import Namespace

from vai_app.api.auth import Confirmed, context, services
from vai_app.api.conventions import accepted, answer
from vai_app.api.documentation import documented
from vai_app.api.explanations import ExplanationView, explanation_view
from vai_app.api.requests import EventQuery, OperationQuery, read_query
from vai_app.api.views import EventPage, OperationPage, OperationView, event_view, operation_view
from vai_app.domain.errors import NotFound
from vai_app.domain.ports import EventFilter, OperationFilter, PageRequest

namespace = Namespace("operations", description="Changes of the world, each from request to end")
events = Namespace("events", description="What happened")


@namespace.route("")
class Operations(Confirmed):
    """All operations."""

    @documented(namespace, 200, OperationPage, query=OperationQuery, problems=(404,), may="operations:read")
    def get(self) -> Response:
        """List operations, newest first."""
        query = read_query(OperationQuery)
        wanted = OperationFilter(
            tenant=context().scope,
            state=query.state,
            kind=query.kind,
            target_id=query.machine,
            datacenter_id=_datacenter_id(query.datacenter),
            open=query.open,
        )
        page = services().operations.page(wanted, PageRequest(query.page_size, query.page_token))
        return answer(OperationPage([operation_view(each) for each in page.items], page.next_token))


@namespace.route("/<string:operation_id>")
class OneOperation(Confirmed):
    """One operation."""

    @documented(namespace, 200, OperationView, problems=(404,), may="operations:read")
    def get(self, operation_id: str) -> Response:
        """Show an operation."""
        return answer(operation_view(services().operations.get(operation_id, context().scope)))


@namespace.route("/<string:operation_id>/cancel")
class Cancellation(Confirmed):
    """The wish to turn back."""

    @documented(namespace, 202, OperationView, problems=(404, 409), may="operations:cancel")
    def post(self, operation_id: str) -> Response:
        """Turn an operation back at its next step."""
        return accepted(services().controller.cancel_operation(context(), operation_id))


@namespace.route("/<string:operation_id>/explanation")
class PlacementExplanation(Confirmed):
    """Why a machine was placed where it is, or nowhere."""

    @documented(namespace, 200, ExplanationView, problems=(404,), may="operations:read")
    def get(self, operation_id: str) -> Response:
        """Show the explanation that decided."""
        operation = services().operations.get(operation_id, context().scope)
        if operation.explanation is None:
            message = f"Operation {operation_id} has no explanation: nothing has been placed by it."
            raise NotFound(message)
        return answer(explanation_view(operation.explanation))


@namespace.route("/<string:operation_id>/actions/confirm")
class Confirmation(Confirmed):
    """The consent to another datacenter."""

    @documented(namespace, 202, OperationView, problems=(404, 409), may="operations:confirm")
    def post(self, operation_id: str) -> Response:
        """Ask for a rejected machine again, in the datacenter that was recommended; asked twice is asked once."""
        return accepted(services().controller.confirm_elsewhere(context(), operation_id))


@namespace.route("/<string:operation_id>/resend")
class Resending(Confirmed):
    """A lost message."""

    @documented(namespace, 202, OperationView, problems=(404, 409), may="operations:resend")
    def post(self, operation_id: str) -> Response:
        """Publish the operation's current step again."""
        return accepted(services().controller.resend_operation(context(), operation_id))


@events.route("")
class Events(Confirmed):
    """All events."""

    @documented(events, 200, EventPage, query=EventQuery, problems=(404,), may="events:read")
    def get(self) -> Response:
        """List events, newest first."""
        query = read_query(EventQuery)
        wanted = EventFilter(
            tenant=context().scope,
            kind=query.kind,
            operation_id=query.operation,
            machine_id=query.machine,
            datacenter_id=_datacenter_id(query.datacenter),
            since=query.since,
            until=query.until,
        )
        page = services().events.page(wanted, PageRequest(query.page_size, query.page_token))
        return answer(EventPage([event_view(each) for each in page.items], page.next_token))


def _datacenter_id(named: str | None) -> str | None:
    return services().datacenters.get(named).id if named else None
