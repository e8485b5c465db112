"""A driver connected to a simulated vCenter, with what the tests do again and again."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pyVmomi import vim

from tests.lab.vcsim import Vcsim
from vai_app.domain.datacenters import Connection
from vai_app.domain.hypervisor import CreateRequest, NativeTask, TaskObservation, TaskState
from vai_app.domain.identifiers import new_id
from vai_app.domain.virtual_machines import Location, MachineSpec, Mark, PowerAction, Size
from vai_app.drivers.vmware import VmwareHypervisor

PATIENCE_SECONDS = 20.0


@dataclass
class Bench:
    """The driver, the simulator behind it and the folder of its datastores."""

    hypervisor: VmwareHypervisor
    vcsim: Vcsim
    datastores: Path
    marks: list[Mark] = field(default_factory=list)

    def request(self, name: str, **spec: Any) -> NativeTask:
        """Ask for a machine with a mark of its own."""
        self.marks.append(Mark(machine_id=new_id("vm", datetime.now(UTC)), token=new_id("op", datetime.now(UTC))))
        location = spec.pop("location", Location())
        size = spec.pop("size", Size(cpus=2, memory_mib=256, disk_gib=4))
        request = CreateRequest(MachineSpec(name=name, size=size, **spec), self.marks[-1], location)
        return self.hypervisor.request_create(request)

    def create(self, name: str, **spec: Any) -> str:
        """Make a machine and return its reference."""
        ended = self.end(self.request(name, **spec))
        assert ended.error is None, ended.error
        assert ended.machine_ref is not None
        return ended.machine_ref

    def power(self, ref: str, action: PowerAction) -> None:
        """Change a machine's power."""
        task = self.hypervisor.request_power(ref, action)
        assert task is not None
        assert self.end(task).state is TaskState.SUCCEEDED

    def end(self, task: NativeTask | None) -> TaskObservation:
        """Wait for a task's end."""
        assert task is not None
        ended = self.hypervisor.wait_tasks([task.ref], PATIENCE_SECONDS)
        assert [each.ref for each in ended] == [task.ref]
        return ended[0]

    def names(self) -> list[str]:
        """Return the names of all machines."""
        return sorted(seen.name for seen in self.hypervisor.list_machines())


def connection_to(vcsim: Vcsim, **changes: Any) -> Connection:
    settings: dict[str, Any] = {
        "datacenter_id": "dc-1",
        "kind": "vmware",
        "endpoint": vcsim.endpoint,
        "credentials": {"username": vcsim.username, "password": vcsim.password},
        "verify_tls": False,
        "call_timeout_seconds": 10.0,
    }
    return Connection(**{**settings, **changes})


def machine_of(vcenter: vim.ServiceInstance, ref: str) -> vim.VirtualMachine:
    """Return a machine as the independent client has it."""
    return vim.VirtualMachine(ref, vcenter._stub)
