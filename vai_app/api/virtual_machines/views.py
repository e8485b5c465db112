"""How machines are shown."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from vai_app.api.views import Reference, SizeView, size_view
from vai_app.domain.operations import Operation, OperationKind, OperationState, StepName
from vai_app.domain.virtual_machines import MachineState, Power, VirtualMachine


@dataclass(slots=True)
class RunningOperation:
    """The operation that is working on a machine."""

    id: str
    kind: OperationKind
    state: OperationState
    step: StepName


@dataclass(slots=True)
class Observed:
    """What the hypervisor showed last."""

    power: Power
    host: str | None
    size: SizeView | None
    networks: Sequence[str]
    addresses: Sequence[str]
    at: datetime | None


@dataclass(slots=True)
class MachineView:
    """A machine: recorded state, running operation and observation, apart."""

    id: str
    name: str
    tenant: str | None
    datacenter: Reference
    state: MachineState
    managed: bool
    size: SizeView
    image: str | None
    networks: Sequence[str]
    operation: RunningOperation | None
    observed: Observed
    drift: Sequence[str]
    problem: str | None
    provider_ref: str | None
    labels: Mapping[str, str]
    created_at: datetime
    expires_at: datetime | None


@dataclass(slots=True)
class MachinePage:
    """A page of machines."""

    items: Sequence[MachineView]
    next_page_token: str | None


def machine_view(machine: VirtualMachine, name_of: Callable[[str], str], operation: Operation | None) -> MachineView:
    """Return a machine as it is shown; ``name_of`` names datacenters."""
    seen = machine.observed_size
    return MachineView(
        id=machine.id,
        name=machine.name,
        tenant=machine.tenant,
        datacenter=Reference(machine.datacenter_id, name_of(machine.datacenter_id)),
        state=machine.state,
        managed=machine.managed,
        size=size_view(machine.spec.size),
        image=machine.spec.image,
        networks=machine.spec.networks,
        operation=_running(operation) if operation else None,
        observed=Observed(
            power=machine.observed_power,
            host=machine.observed_host,
            size=size_view(seen) if seen else None,
            networks=machine.networks,
            addresses=machine.addresses,
            at=machine.observed_at,
        ),
        drift=machine.drift,
        problem=machine.problem,
        provider_ref=machine.provider_ref,
        labels=machine.labels,
        created_at=machine.created_at,
        expires_at=machine.lifetime.expires_at if machine.lifetime else None,
    )


def _running(operation: Operation) -> RunningOperation:
    return RunningOperation(operation.id, operation.kind, operation.state, operation.step)
