"""The arguments of operations: as the document keeps them, and read back as the values they were."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from vai_app.domain.capacity import Room, room_of
from vai_app.domain.lifetimes import Lifetime, LifetimeTerms
from vai_app.domain.operations import Operation
from vai_app.domain.placement.asks import Elsewhere, PlacementWish, Scope, Shortage
from vai_app.domain.placement.batches import BatchRules
from vai_app.domain.reservations import Owner
from vai_app.domain.virtual_machines import (
    FixedAddress,
    Location,
    MachineSpec,
    MachineState,
    PowerAction,
    Size,
    VirtualMachine,
)

SHORT = "short"
"""In the memo of a creation: the datacenters that refused to make the machine."""


@dataclass(frozen=True, slots=True)
class BatchMachine:
    """One machine of a batch."""

    spec: MachineSpec
    labels: Mapping[str, str]

    @property
    def room(self) -> Room:
        """What the machine takes."""
        return room_of(self.spec.size)


def plain(value: Any) -> Any:
    """Return a dataclass, or a sequence of them, as documents keep it: dictionaries and lists of plain values."""
    return msgspec.to_builtins(value)


def spec_of(operation: Operation) -> MachineSpec:
    """Return what a creation was asked to make."""
    return _spec(operation.arguments["spec"])


def machines_of(operation: Operation) -> list[BatchMachine]:
    """Return what a batch was asked to make."""
    return [BatchMachine(_spec(each["spec"]), each["labels"]) for each in operation.arguments["machines"]]


def rules_of(operation: Operation) -> BatchRules:
    """Return what must hold between the machines of a batch."""
    rules: Mapping[str, Any] = operation.arguments["rules"]
    return BatchRules(
        apart=Scope(rules["apart"]) if rules["apart"] is not None else None,
        largest_share=rules["largest_share"],
        all_or_nothing=rules["all_or_nothing"],
    )


def _spec(spec: Mapping[str, Any]) -> MachineSpec:
    return MachineSpec(
        name=spec["name"],
        size=Size(**spec["size"]),
        image=spec["image"],
        networks=tuple(spec["networks"]),
        location=Location(**spec["location"]),
        power_on=spec["power_on"],
        lifetime_hours=spec.get("lifetime_hours"),
        fixed_addresses=tuple(FixedAddress(**each) for each in spec.get("fixed_addresses", ())),
        security_groups=tuple(spec.get("security_groups", ())),
        keypair=spec.get("keypair"),
        user_data=spec.get("user_data", False),
    )


def lifetime_of(operation: Operation, spec: MachineSpec) -> Lifetime | None:
    """Return how long a creation's machine is kept, from when the creation was accepted."""
    terms = LifetimeTerms(**operation.arguments.get("lifetime", {}))
    return terms.begin(operation.created_at, spec.lifetime_hours)


def wish_of(operation: Operation) -> PlacementWish:
    """Return what a creation was told about placement."""
    wish: Mapping[str, Any] | None = operation.arguments.get("placement")
    if wish is None:
        return PlacementWish(elsewhere=Elsewhere.NEVER)
    return PlacementWish(
        elsewhere=Elsewhere(wish["elsewhere"]),
        apart_from=tuple(wish["apart_from"]),
        together_with=tuple(wish["together_with"]),
        scope=Scope(wish["scope"]),
    )


def shortages_of(operation: Operation) -> tuple[Shortage, ...]:
    """Return which datacenters refused to make the machine, and why."""
    return tuple(Shortage(**each) for each in operation.memo.get(SHORT, ()))


def owner_of(operation: Operation) -> Owner:
    """Return whose machine the operation makes or changes."""
    return Owner(operation.tenant, roles_of(operation))


def roles_of(operation: Operation) -> tuple[str, ...]:
    """Return the roles of whoever asked, by which policies judge where a machine may go."""
    return tuple(operation.arguments.get("roles", ()))


def size_of(operation: Operation) -> Size:
    """Return the size that a resize was asked for."""
    return Size(**operation.arguments["size"])


def snapshot_id_of(operation: Operation) -> str:
    """Return the snapshot that an operation was told."""
    return str(operation.arguments["snapshot_id"])


def snapshot_name_of(operation: Operation) -> str:
    """Return the name of a snapshot to take: its time, where none was given."""
    return operation.arguments["name"] or f"{operation.created_at:%Y-%m-%dT%H:%M:%SZ}"


def action_of(operation: Operation) -> PowerAction:
    """Return the action that a change of power was asked for."""
    return PowerAction(operation.arguments["action"])


def candidates_of(operation: Operation) -> list[Location]:
    """Return the locations that placement chose, best first."""
    return [Location(**location) for location in operation.memo["locations"]]


def machine_of(operation: Operation, spec: MachineSpec) -> VirtualMachine:
    """Return the record of the machine that a creation is to make."""
    return VirtualMachine(
        id=operation.target_id,
        name=spec.name,
        tenant=operation.tenant,
        datacenter_id=operation.datacenter_id or "",
        state=MachineState.REQUESTED,
        spec=spec,
        created_at=operation.created_at,
        labels=dict(operation.arguments.get("labels", {})),
        lifetime=lifetime_of(operation, spec),
    )
