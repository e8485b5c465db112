"""``/virtual-machines/{machine_id}/snapshots``."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from flask import Response
from flask_restx import Namespace
from pydantic import Field, StringConstraints

from vai_app.api.auth import Confirmed, context, services
from vai_app.api.conventions import accepted, answer, change_context
from vai_app.api.documentation import documented
from vai_app.api.requests import Body, read_body
from vai_app.api.views import OperationView, SizeView, size_view
from vai_app.domain.snapshots import Snapshot

namespace = Namespace("snapshots", description="Snapshots of virtual machines")
_REFUSALS = (404, 409)
_KEY = ("Idempotency-Key",)
SnapshotName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,79}$")]


class SnapshotBody(Body):
    """A snapshot to take."""

    name: SnapshotName | None = Field(default=None, description="Unique among the machine's; none is its time.")


@dataclass(slots=True)
class SnapshotView:
    """A snapshot that VAI took; ``size`` is what its machine had then."""

    id: str
    name: str
    machine_id: str
    size: SizeView
    taken_at: datetime
    provider_ref: str


@dataclass(slots=True)
class SnapshotList:
    """Every snapshot of a machine, oldest first."""

    items: list[SnapshotView]


@namespace.route("/<string:machine_id>/snapshots")
class Snapshots(Confirmed):
    """A machine's snapshots."""

    @documented(namespace, 200, SnapshotList, problems=(404,), may="snapshots:read")
    def get(self, machine_id: str) -> Response:
        """List the snapshots that VAI took of a machine, oldest first."""
        machine = services().machines.get(machine_id, context().scope)
        return answer(SnapshotList([_view(each) for each in services().snapshots.of_machine(machine.id)]))

    @documented(
        namespace, 202, OperationView, body=SnapshotBody, problems=_REFUSALS, headers=_KEY, may="snapshots:take"
    )
    def post(self, machine_id: str) -> Response:
        """Take a snapshot of a machine's disks; one that runs goes on running."""
        asking, name = change_context(), read_body(SnapshotBody).name
        return accepted(services().controller.take_snapshot(asking, machine_id, name))


@namespace.route("/<string:machine_id>/snapshots/<string:snapshot_id>")
class OneSnapshot(Confirmed):
    """One snapshot."""

    @documented(namespace, 202, OperationView, problems=(*_REFUSALS, 422), headers=_KEY, may="snapshots:delete")
    def delete(self, machine_id: str, snapshot_id: str) -> Response:
        """Delete a snapshot; the machine stays as it is."""
        return accepted(services().controller.delete_snapshot(change_context(), machine_id, snapshot_id))


@namespace.route("/<string:machine_id>/snapshots/<string:snapshot_id>/actions/restore")
class Restoration(Confirmed):
    """A machine as it was."""

    @documented(namespace, 202, OperationView, problems=(*_REFUSALS, 422), headers=_KEY, may="snapshots:restore")
    def post(self, machine_id: str, snapshot_id: str) -> Response:
        """Restore a machine's disks to a snapshot; what came later is lost. It runs afterwards if it ran before."""
        return accepted(services().controller.restore_machine(change_context(), machine_id, snapshot_id))


def _view(snapshot: Snapshot) -> SnapshotView:
    return SnapshotView(
        id=snapshot.id,
        name=snapshot.name,
        machine_id=snapshot.machine_id,
        size=size_view(snapshot.size),
        taken_at=snapshot.taken_at,
        provider_ref=snapshot.provider_ref,
    )
