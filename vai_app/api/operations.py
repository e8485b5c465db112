"""``/operations``: what is being done."""

from collections.abc import Sequence
from dataclasses import dataclass

from flask import Response
from flask_restx import Namespace
from pydantic import Field

from vai_app.api.auth import Confirmed, context, services
from vai_app.api.conventions import accepted, answer, datacenter_id
from vai_app.api.documentation import documented
from vai_app.api.explanations import ExplanationView, explanation_view
from vai_app.api.requests import Identifier, PageQuery, read_query
from vai_app.api.views import OperationView, operation_view
from vai_app.domain.errors import NotFound
from vai_app.domain.operations import OperationKind, OperationState
from vai_app.domain.ports.operations import OperationFilter
from vai_app.domain.ports.paging import PageRequest

namespace = Namespace("operations", description="Changes of the world, each from request to end")


class OperationQuery(PageQuery):
    """Which operations."""

    state: OperationState | None = None
    kind: OperationKind | None = None
    machine: Identifier | None = Field(default=None, description="Id of the machine.")
    datacenter: Identifier | None = Field(default=None, description="Name or id of a datacenter.")
    open: bool | None = Field(default=None, description="Not ended yet, or ended.")


@dataclass(slots=True)
class OperationPage:
    """A page of operations."""

    items: Sequence[OperationView]
    next_page_token: str | None


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
            datacenter_id=datacenter_id(query.datacenter),
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
