"""A datacenter that the contract is held to: its driver, and what a test needs done behind the driver's back."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from vai_app.domain.datacenters import HostState
from vai_app.domain.errors import VaiError
from vai_app.domain.hypervisor import Capability, CreateRequest, Hypervisor, NativeTask, TaskObservation, TaskState
from vai_app.domain.identifiers import new_id
from vai_app.domain.statistics import Metric, Reading
from vai_app.domain.virtual_machines import (
    FixedAddress,
    Location,
    MachineObservation,
    MachineSpec,
    Mark,
    PowerAction,
    Size,
)

PATIENCE_SECONDS = 60.0


def a_mark() -> Mark:
    """Return a mark of its own."""
    now = datetime.now(UTC)
    return Mark(machine_id=new_id("vm", now), token=new_id("op", now))


class Site(ABC):
    """One backend. ``image`` and ``networks`` are names of what exists there, sizes are such that it can give."""

    image: str
    networks: tuple[str, ...]
    small = Size(cpus=2, memory_mib=256, disk_gib=4)
    larger = Size(cpus=4, memory_mib=512, disk_gib=8)
    huge = Size(cpus=1, memory_mib=2**22, disk_gib=4)  # more than any host has
    many = 16  # machines that tests make at once

    def __init__(self) -> None:
        """Connect."""
        self.hypervisor = self.connect()

    @abstractmethod
    def connect(self, **credentials: str) -> Hypervisor:
        """Return a further connection, as another process would have it; ``credentials`` replace the right ones."""

    @abstractmethod
    def stranger(self) -> str:
        """Return the reference of a machine that somebody else made."""

    @abstractmethod
    def fail_host(self, ref: str) -> None:
        """Let a host stop answering."""

    # Of drivers that declare the capabilities

    def restore_host(self, ref: str) -> None:
        """Let a host that failed answer again."""
        raise NotImplementedError

    def create_on_a_host_that_may_fail(self, name: str) -> str:
        """Make a machine that is off on a host that ``fail_host`` may take; any, where a test has its own."""
        return self.create(name)

    def free_address(self) -> FixedAddress:
        """Return an address that no machine has, in a network in which it may be asked for."""
        raise NotImplementedError

    def new_security_group(self) -> str:
        """Make a security group and return its name."""
        raise NotImplementedError

    def security_groups_of(self, ref: str) -> set[str]:
        """Return the names of the groups that a machine is in."""
        raise NotImplementedError

    def new_keypair(self) -> str:
        """Make a key pair and return its name."""
        raise NotImplementedError

    def keypair_of(self, ref: str) -> str | None:
        """Return the name of a machine's key pair."""
        raise NotImplementedError

    def user_data_of(self, ref: str) -> str | None:
        """Return what a machine's guest can read, in base64."""
        raise NotImplementedError

    def restored_to(self, ref: str) -> str | None:
        """Return the reference of the snapshot whose disks a machine has had last, as somebody else sees it."""
        raise NotImplementedError

    def request(
        self,
        name: str,
        *,
        mark: Mark | None = None,
        location: Location | None = None,
        user_data: str | None = None,
        **spec: Any,
    ) -> NativeTask:
        """Ask for a small machine."""
        wanted = MachineSpec(
            **{"name": name, "size": self.small, "image": self.image, "networks": self.networks[:1], **spec}
        )
        return self.hypervisor.request_create(
            CreateRequest(wanted, mark or a_mark(), location or Location(), user_data)
        )

    def create(self, name: str, **spec: Any) -> str:
        """Make a machine that is off and return its reference."""
        ended = self.end(self.request(name, **spec))
        assert ended.error is None, ended.error
        assert ended.machine_ref is not None
        if Capability.CREATES_RUNNING in self.hypervisor.capabilities:
            self.power(ended.machine_ref, PowerAction.STOP)
        return ended.machine_ref

    def error_of_create(self, name: str, **spec: Any) -> VaiError | None:
        """Return the error of a creation."""
        return self.error_of(lambda: self.request(name, **spec))

    def error_of(self, request: Callable[[], NativeTask | None]) -> VaiError | None:
        """Return the error of a request, whether it is raised at once or is the task's."""
        try:
            return self.end(request()).error
        except VaiError as error:
            return error

    def error_of_making_it_run(self, name: str, **spec: Any) -> VaiError | None:
        """Return why a machine cannot be made and started; a provider may notice it at either."""
        mark = a_mark()
        error = self.error_of_create(name, mark=mark, **spec)
        if error is not None:
            return error
        made = self.hypervisor.find_by_token(mark.token)
        assert made is not None
        ref = made.ref
        return self.error_of(lambda: self.hypervisor.request_power(ref, PowerAction.START))

    def another_host(self, ref: str) -> str:
        """Return the reference of a host that is up and does not have the machine."""
        now = self.seen(ref).host
        hosts = self.hypervisor.observe_inventory().hosts
        return next(each.ref for each in hosts if each.state is HostState.UP and now not in (each.ref, each.name))

    def take(self, ref: str, name: str, mark: Mark | None = None) -> str:
        """Take a snapshot and return its reference."""
        mark = mark or a_mark()
        assert self.end(self.hypervisor.request_snapshot(ref, name, mark)).error is None
        [taken] = [each for each in self.hypervisor.list_snapshots(ref) if each.mark == mark]
        return taken.ref

    def delete_snapshot(self, ref: str, snapshot: str) -> None:
        """Remove a snapshot."""
        task = self.hypervisor.request_delete_snapshot(ref, snapshot)
        if task is not None:
            assert self.end(task).error is None

    def measured(self, *refs: str) -> list[Reading]:
        """Read all that is measured of machines."""
        return self.hypervisor.observe_statistics(refs, list(Metric))

    def resize(self, ref: str, size: Size) -> None:
        """Give a machine another size, asking until nothing is left to be asked for."""
        for _ in range(3):
            task = self.hypervisor.request_resize(ref, size)
            if task is None:
                return
            assert self.end(task).error is None
        raise AssertionError(f"{ref} does not get the size {size}")

    def power(self, ref: str, action: PowerAction) -> None:
        """Change a machine's power."""
        task = self.hypervisor.request_power(ref, action)
        if task is not None:
            assert self.end(task).state is TaskState.SUCCEEDED

    def end(self, task: NativeTask | None) -> TaskObservation:
        """Wait for a task's end."""
        assert task is not None
        ended = self.hypervisor.wait_tasks([task.ref], PATIENCE_SECONDS)
        while not ended:  # it may return early and empty
            ended = self.hypervisor.wait_tasks([task.ref], PATIENCE_SECONDS)
        assert [each.ref for each in ended] == [task.ref]
        return ended[0]

    def seen(self, ref: str) -> MachineObservation:
        """Look at a machine."""
        return self.hypervisor.observe_machine(ref)
