"""``/virtual-machines`` and ``/batches``."""

from collections.abc import Mapping, Sequence
from typing import Any

from flask import Response
from flask_restx import Namespace

from vai_app.api.auth import Confirmed, context, services
from vai_app.api.conventions import accepted, answer, change_context, datacenter_id, datacenter_names
from vai_app.api.documentation import also_answers, documented
from vai_app.api.explanations import ExplanationView, explanation_view
from vai_app.api.requests import read_body, read_query
from vai_app.api.views import OperationView
from vai_app.api.virtual_machines.requests import (
    AdoptBody,
    BatchBody,
    CreationQuery,
    MachineBody,
    MachineQuery,
    MigrateBody,
    PowerBody,
    RenewBody,
    ResizeBody,
)
from vai_app.api.virtual_machines.views import MachinePage, MachineView, machine_view
from vai_app.domain.ports.machines import MachineFilter
from vai_app.domain.ports.paging import PageRequest
from vai_app.domain.principals import Principal
from vai_app.domain.virtual_machines import VirtualMachine
from vai_app.services.placement import PlacementRequest

namespace = Namespace("virtual-machines", description="Virtual machines, whatever hypervisor they run on")
batches = Namespace("batches", description="Virtual machines that are placed together")
_REFUSALS = (404, 409)
_KEY = ("Idempotency-Key",)


@namespace.route("")
class Machines(Confirmed):
    """All machines."""

    @documented(namespace, 200, MachinePage, query=MachineQuery, problems=(404,), may="virtual-machines:read")
    def get(self) -> Response:
        """List machines in order of creation."""
        query = read_query(MachineQuery)
        wanted = MachineFilter(
            tenant=context().scope,
            datacenter_id=datacenter_id(query.datacenter),
            state=query.state,
            power=query.power,
            name=query.name,
            name_prefix=query.name_prefix,
            managed=query.managed,
            expires_before=query.expires_before,
            include_deleted=query.include_deleted,
        )
        page = services().machines.page(wanted, PageRequest(query.page_size, query.page_token))
        return answer(MachinePage(_views(page.items), page.next_token))

    @also_answers(namespace, 200, ExplanationView)
    @documented(
        namespace,
        202,
        OperationView,
        body=MachineBody,
        query=CreationQuery,
        problems=_REFUSALS,
        headers=_KEY,
        may="virtual-machines:create",
    )
    def post(self) -> Response:
        """Create a machine, or with ``dry_run`` explain where it would go and why."""
        dry_run, asking = read_query(CreationQuery).dry_run, change_context()
        body = read_body(MachineBody)
        if dry_run:
            asked = PlacementRequest(body.datacenter, body.spec(), body.placement.wish())
            return answer(explanation_view(_explained(asking.principal, asked)))
        operation = services().controller.create_machine(
            asking, body.datacenter, body.spec(), body.labels, body.placement.wish(), body.user_data
        )
        return accepted(operation)


@namespace.route("/<string:machine_id>")
class Machine(Confirmed):
    """One machine."""

    @documented(namespace, 200, MachineView, problems=(404,), may="virtual-machines:read")
    def get(self, machine_id: str) -> Response:
        """Show a machine."""
        machine = services().machines.get(machine_id, context().scope)
        return answer(_views([machine])[0])

    @documented(namespace, 202, OperationView, problems=(*_REFUSALS, 422), headers=_KEY, may="virtual-machines:delete")
    def delete(self, machine_id: str) -> Response:
        """Delete a machine and its disks."""
        return accepted(services().controller.delete_machine(change_context(), machine_id))


@namespace.route("/<string:machine_id>/actions/power")
class MachinePower(Confirmed):
    """A machine's power."""

    @documented(
        namespace, 202, OperationView, body=PowerBody, problems=_REFUSALS, headers=_KEY, may="virtual-machines:power"
    )
    def post(self, machine_id: str) -> Response:
        """Start, stop, shut down, reboot, reset or suspend a machine."""
        action = read_body(PowerBody).power_action()
        return accepted(services().controller.change_power(change_context(), machine_id, action))


@namespace.route("/<string:machine_id>/actions/resize")
class MachineSize(Confirmed):
    """A machine's size."""

    @documented(
        namespace, 202, OperationView, body=ResizeBody, problems=_REFUSALS, headers=_KEY, may="virtual-machines:resize"
    )
    def post(self, machine_id: str) -> Response:
        """Give a machine another size."""
        size = read_body(ResizeBody).size()
        return accepted(services().controller.resize_machine(change_context(), machine_id, size))


@namespace.route("/<string:machine_id>/actions/migrate")
class MachineHost(Confirmed):
    """A machine's host."""

    @documented(
        namespace,
        202,
        OperationView,
        body=MigrateBody,
        problems=_REFUSALS,
        headers=_KEY,
        may="virtual-machines:migrate",
    )
    def post(self, machine_id: str) -> Response:
        """Move a machine to another host of its datacenter; one that runs goes on running."""
        asking, body = change_context(), read_body(MigrateBody)
        controller = services().controller
        return accepted(controller.migrate_machine(asking, machine_id, body.host, host_is_off=body.host_is_off))


@namespace.route("/<string:machine_id>/actions/renew")
class MachineLifetime(Confirmed):
    """A machine's lifetime."""

    @documented(namespace, 200, MachineView, body=RenewBody, problems=_REFUSALS, may="virtual-machines:renew")
    def post(self, machine_id: str) -> Response:
        """Give a machine a new lifetime, from now."""
        hours = read_body(RenewBody).lifetime_hours
        return answer(_views([services().lifetimes.renew(context(), machine_id, hours)])[0])


@namespace.route("/<string:machine_id>/actions/adopt")
class MachineAdoption(Confirmed):
    """A machine's owner."""

    @documented(
        namespace, 202, OperationView, body=AdoptBody, problems=_REFUSALS, headers=_KEY, may="virtual-machines:adopt"
    )
    def post(self, machine_id: str) -> Response:
        """Let VAI manage a machine that it found."""
        tenant = read_body(AdoptBody).tenant or context().principal.tenant
        return accepted(services().controller.adopt_machine(change_context(), machine_id, tenant))


@batches.route("")
class Batches(Confirmed):
    """Machines that are placed together."""

    @documented(
        batches, 202, OperationView, body=BatchBody, problems=_REFUSALS, headers=_KEY, may="virtual-machines:create"
    )
    def post(self) -> Response:
        """Create machines that are placed together; each has an operation of its own."""
        asking, body = change_context(), read_body(BatchBody)
        machines, rules = body.batch()
        return accepted(services().controller.create_batch(asking, machines, body.datacenters, rules))


def _explained(asking: Principal, asked: PlacementRequest) -> Mapping[str, Any]:
    return services().placement.explain_request(asking.tenant, asked, asking.roles)


def _views(machines: Sequence[VirtualMachine]) -> list[MachineView]:
    open_operations = services().operations.open_on([machine.id for machine in machines])
    name_of = datacenter_names()
    return [machine_view(machine, name_of, open_operations.get(machine.id)) for machine in machines]
