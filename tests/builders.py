"""Builders: domain objects as tests need them, every property with a sensible value that a test may replace."""

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

from vai_app.domain.datacenters import (
    Cluster,
    Datacenter,
    Datastore,
    Host,
    HostState,
    Image,
    Inventory,
    Network,
)
from vai_app.domain.events import Event
from vai_app.domain.operations import REPUBLISH_SECONDS, Operation, OperationKind, StepName
from vai_app.domain.principals import ApiToken, Principal
from vai_app.domain.virtual_machines import (
    MachineObservation,
    MachineSpec,
    MachineState,
    Mark,
    Power,
    Size,
    VirtualMachine,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CREATE_PLAN = (StepName.VALIDATE, StepName.PLACE, StepName.CREATE_VM, StepName.START_VM)
SMALL = Size(cpus=2, memory_mib=2048)

_numbers = itertools.count(1)


def a_spec(name: str = "web-1", **properties: Any) -> MachineSpec:
    """Return what a user asks for."""
    return MachineSpec(**{"name": name, "size": SMALL, "image": "debian", "networks": ("lan",), **properties})


def a_machine(**properties: Any) -> VirtualMachine:
    """Return a managed machine that was just asked for; each call another id, name ``web-<number>``."""
    number = next(_numbers)
    name = properties.pop("name", f"web-{number}")
    machine: dict[str, Any] = {
        "id": f"vm-{number:08}",
        "name": name,
        "tenant": "acme",
        "datacenter_id": "dc-1",
        "state": MachineState.REQUESTED,
        "spec": a_spec(name),
        "created_at": NOW,
    }
    return VirtualMachine(**(machine | properties))


def an_active_machine(**properties: Any) -> VirtualMachine:
    """Return a managed machine that exists at the provider and shows what was asked for."""
    machine = a_machine(**properties)
    shown: dict[str, Any] = {
        "state": MachineState.ACTIVE,
        "provider_ref": f"ref-{machine.id}",
        "mark": Mark(machine_id=machine.id, token=f"op-of-{machine.id}"),
        "observed_power": Power.ON,
        "observed_host": "host-1",
        "observed_size": machine.spec.size,
        "observed_at": NOW,
    }
    return a_machine(**{"id": machine.id, "name": machine.name, "spec": machine.spec, **shown, **properties})


def an_observation(machine: VirtualMachine | None = None, **properties: Any) -> MachineObservation:
    """Return what a hypervisor shows: the given machine unchanged, or a stranger's."""
    if machine is None:
        number = next(_numbers)
        shown: dict[str, Any] = {"ref": f"ref-{number}", "name": f"stranger-{number}", "power": Power.ON, "size": SMALL}
    else:
        shown = {
            "ref": machine.provider_ref or f"ref-{machine.id}",
            "name": machine.name,
            "power": machine.observed_power,
            "size": machine.observed_size or machine.spec.size,
            "host": machine.observed_host,
            "networks": machine.networks,
            "addresses": machine.addresses,
            "mark": machine.mark,
        }
    return MachineObservation(**(shown | properties))


def an_operation(**properties: Any) -> Operation:
    """Return a pending creation; each call another id and target."""
    number = next(_numbers)
    created_at = properties.get("created_at", NOW)
    operation: dict[str, Any] = {
        "id": f"op-{number:08}",
        "kind": OperationKind.CREATE_VM,
        "tenant": "acme",
        "requested_by": "ann",
        "correlation_id": f"cor-{number}",
        "target_id": f"vm-{number:08}",
        "datacenter_id": "dc-1",
        "arguments": {"spec": {"name": "web-1"}, "labels": {}},
        "plan": CREATE_PLAN,
        "created_at": created_at,
        "deadline": created_at + timedelta(minutes=15),
        "due_at": created_at + timedelta(seconds=REPUBLISH_SECONDS),
    }
    return Operation(**(operation | properties))


def an_inventory(*, hosts: int = 2, host_memory_mib: int = 65536) -> Inventory:
    """Return a cluster with hosts that are up and empty, one datastore, the network ``lan``, the image ``debian``."""
    return Inventory(
        clusters=(Cluster(ref="cluster-1", name="main"),),
        hosts=tuple(
            Host(
                ref=f"host-{number}",
                name=f"node-{number}",
                cluster="cluster-1",
                state=HostState.UP,
                power=Power.ON,
                cpus=16,
                memory_mib=host_memory_mib,
                datastores=("datastore-1",),
            )
            for number in range(1, hosts + 1)
        ),
        datastores=(Datastore(ref="datastore-1", name="fast", capacity_gib=4096, free_gib=4096),),
        networks=(Network(ref="network-1", name="lan"),),
        images=(Image(ref="image-1", name="debian", size_gib=4),),
    )


def a_datacenter(**properties: Any) -> Datacenter:
    """Return a registered, enabled datacenter; without ``id`` it is ``dc-1`` named ``berlin``."""
    datacenter: dict[str, Any] = {
        "id": "dc-1",
        "name": "berlin",
        "kind": "simulated",
        "endpoint": "simulated:///tmp/world.db",
        "enabled": True,
        "revision": 1,
        "created_at": NOW,
    }
    return Datacenter(**(datacenter | properties))


def an_event(**properties: Any) -> Event:
    """Return an event of the tenant ``acme``; each call another id."""
    number = next(_numbers)
    event: dict[str, Any] = {
        "id": f"ev-{number:08}",
        "at": NOW,
        "kind": "operation.succeeded",
        "outcome": "succeeded",
        "message": "create_vm succeeded.",
        "actor": "ann",
        "correlation_id": f"cor-{number}",
        "tenant": "acme",
    }
    return Event(**(event | properties))


def a_principal(**properties: Any) -> Principal:
    """Return a member of the tenant ``acme`` without special roles."""
    return Principal(**{"name": "ann", "tenant": "acme", **properties})


def an_admin(**properties: Any) -> Principal:
    """Return an administrator of the installation."""
    return a_principal(**{"name": "root", "roles": ("admin",), **properties})


def a_token(**properties: Any) -> ApiToken:
    """Return a token without an end; each call another id and digest."""
    number = next(_numbers)
    token: dict[str, Any] = {
        "id": f"tok-{number:08}",
        "digest": f"{number:064x}",
        "principal": a_principal(),
        "created_at": NOW,
    }
    return ApiToken(**(token | properties))
