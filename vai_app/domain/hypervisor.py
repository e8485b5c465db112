"""THE driver contract: what a hypervisor's driver promises, in one sentence per method and per capability.

Names promise: ``request_*`` asks and returns at once, ``observe_*`` and ``find_*`` tell the truth of this
moment, ``list_*`` is one bulk call paged inside, ``wait_*`` blocks up to its timeout and no longer.

Values are domain objects. Every failure is one of ``vai_app.domain.errors``; a missing object is ``NotFound``,
deleting it is success. Every call ends within the connection's ``call_timeout_seconds`` (a ``wait_*`` within its
own timeout besides). A driver is used by many threads at once. Nothing here sleeps between calls, retries or
keeps state that another process would need.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from enum import StrEnum

from vai_app.domain.datacenters import About, Connection, Inventory
from vai_app.domain.errors import Conflict, VaiError
from vai_app.domain.snapshots import SnapshotObservation
from vai_app.domain.statistics import Metric, Reading
from vai_app.domain.virtual_machines import Location, MachineObservation, MachineSpec, Mark, PowerAction, Size


class Capability(StrEnum):
    """What a driver can do beyond creating, deleting, observing, starting and stopping machines."""

    CREATE_FROM_IMAGE = "create-from-image"  # request_create accepts spec.image
    CREATE_FROM_SCRATCH = "create-from-scratch"  # request_create accepts no image
    CREATES_RUNNING = "creates-running"  # request_create makes a machine that runs at once
    DELETES_RUNNING = "deletes-running"  # request_delete removes a machine whether it runs or not
    UNIQUE_NAMES = "unique-names"  # request_create refuses a name that is taken
    CHOOSE_HOST = "choose-host"  # request_create honours location.host
    CHOOSE_DATASTORE = "choose-datastore"  # request_create honours location.datastore
    CHOOSE_DISK = "choose-disk"  # request_create gives the disk any size that holds the image (OpenStack: on volumes)
    RESIZE_STOPPED = "resize-stopped"  # request_resize of a machine that is off
    RESIZE_RUNNING = "resize-running"  # request_resize of a machine that is on
    MIGRATE_RUNNING = "migrate-running"  # request_migrate of one that is on, and goes on running (OpenStack: as admin)
    MIGRATE_STOPPED = "migrate-stopped"  # request_migrate of one that is off (OpenStack: as admin)
    EVACUATE = "evacuate"  # request_evacuate of a machine whose host is dead (OpenStack: as admin)
    SNAPSHOT = "snapshot"  # request_snapshot, request_restore and request_delete_snapshot
    RESTORES_SIZE = "restores-size"  # request_restore gives the machine the size that it had, and not its disks alone
    STATISTICS = "statistics"  # observe_statistics (OpenStack: as admin)
    GUEST_SHUTDOWN = "guest-shutdown"  # SHUTDOWN and REBOOT ask the guest to do it
    SUSPEND = "suspend"  # SUSPEND, and START of a suspended machine
    ADOPT = "adopt"  # request_mark on a machine that someone else made
    FIXED_ADDRESSES = "fixed-addresses"  # request_create honours spec.fixed_addresses
    SECURITY_GROUPS = "security-groups"  # request_create puts the machine into spec.security_groups
    KEYPAIR = "keypair"  # request_create lets spec.keypair into the guest
    USER_DATA = "user-data"  # request_create gives request.user_data to the guest
    HOST_STATES = "host-states"  # hosts are listed, with states that can be trusted


def needed_by(spec: MachineSpec) -> frozenset[Capability]:
    """Return what a driver must be able to do for what a user asks for beyond a plain machine."""
    asked = {
        Capability.FIXED_ADDRESSES: spec.fixed_addresses,
        Capability.SECURITY_GROUPS: spec.security_groups,
        Capability.KEYPAIR: spec.keypair,
        Capability.USER_DATA: spec.user_data,
    }
    return frozenset(capability for capability, wanted in asked.items() if wanted)


class TaskState(StrEnum):
    """The state of a native task."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class NativeTask:
    """What a ``request_*`` returns: the provider's own work in progress.

    ``ref`` is enough to observe it from any process, also after a restart. ``machine_ref`` is set where the
    provider names the machine before the task ends. ``brief`` says that such a task often ends at once, so that
    one look is worth its call before anybody waits for it.
    """

    ref: str
    machine_ref: str | None = None
    brief: bool = False


@dataclass(frozen=True, slots=True)
class TaskObservation:
    """A native task as it was seen. ``error`` is set on FAILED; ``machine_ref`` on a SUCCEEDED creation."""

    ref: str
    state: TaskState
    machine_ref: str | None = None
    error: VaiError | None = None


@dataclass(frozen=True, slots=True)
class CreateRequest:
    """One machine to make. ``location`` is complete: placement chose what the user left open.

    ``user_data`` is what the guest reads at its first start, in base64 (cloud-init and its like). ``tenant`` is whose
    machine it is, for drivers that keep tenants apart.
    """

    spec: MachineSpec
    mark: Mark
    location: Location
    user_data: str | None = None
    tenant: str | None = None


class Machines(ABC):
    """Machines, their power and size."""

    @abstractmethod
    def request_create(self, request: CreateRequest) -> NativeTask:
        """Ask for a machine, powered off unless CREATES_RUNNING, that bears ``request.mark`` from its first moment.

        Raises NameTaken where names are unique and a machine of that name exists (also when it is the asked one: see
        ``find_by_token``), NotFound for a missing image, network, host or datastore, CapacityShort,
        HostUnavailable. The same errors may come as the task's ``error``.
        """

    @abstractmethod
    def find_by_token(self, token: str) -> MachineObservation | None:
        """Return the machine whose mark bears the token, or ``None``; cheap, for it is asked before a second create."""

    @abstractmethod
    def request_delete(self, ref: str) -> NativeTask | None:
        """Ask for a stopped machine and its disks to be removed; ``None`` when there is no such machine.

        Raises Conflict, or the task fails with it, when the machine is powered on, unless the driver declares
        DELETES_RUNNING.
        """

    @abstractmethod
    def request_power(self, ref: str, action: PowerAction) -> NativeTask | None:
        """Ask for a change of power; ``None``, or a task that succeeds, when the machine already has the asked power.

        Raises NotFound, CapacityShort (no room to start), Conflict (e.g. no guest tools to shut down).
        """

    @abstractmethod
    def request_resize(self, ref: str, size: Size) -> NativeTask | None:
        """Ask for another size, or for a part of the change; ``None`` when it has that size.

        Whoever asks does so again when the task has ended, until nothing is left to be asked for. ``disk_gib`` may
        grow, never shrink (Conflict).
        """

    def request_migrate(self, ref: str, host: str) -> NativeTask | None:
        """Ask for the machine to be moved to another host, by reference or name; ``None`` when it is there.

        Raises NotFound (no such machine or host), Conflict (not as it is now), CapacityShort, HostUnavailable. A task
        that SUCCEEDED has moved it there; after one that FAILED it is where it was, with the power that it had.
        """
        message = f"Machines cannot be moved between hosts here: {ref} stays where it is, and not on {host}."
        raise Conflict(message)

    def request_evacuate(self, ref: str, host: str) -> NativeTask | None:
        """Ask for a machine of a dead host to be made anew on another, with its disks, by reference or name.

        ``None`` when it is there. Whoever asks knows that its host is off: a machine that still runs there would run
        twice. It has the power that the hypervisor last knew of it. Raises NotFound, Conflict (the hypervisor sees that
        the host lives), CapacityShort, HostUnavailable.
        """
        message = f"Machines of dead hosts cannot be evacuated here: {ref} stays where it is, and not on {host}."
        raise Conflict(message)

    @abstractmethod
    def request_mark(self, ref: str, mark: Mark) -> NativeTask | None:
        """Write VAI's mark into an existing machine; ``None`` when it bears this very mark."""

    @abstractmethod
    def observe_machine(self, ref: str) -> MachineObservation:
        """Return the machine as it is now. Raises NotFound."""

    @abstractmethod
    def list_machines(self) -> Iterator[MachineObservation]:
        """Return every machine of the datacenter, VAI's and strangers', in one bulk read; no templates."""


class Snapshots:
    """Snapshots of machines' disks, for drivers that declare SNAPSHOT."""

    def request_snapshot(self, ref: str, name: str, mark: Mark) -> NativeTask:
        """Ask for a snapshot that bears ``mark`` from its first moment; a machine that runs goes on running.

        What the guest has not written to its disks is not in it. Raises NotFound, Conflict, QuotaExceeded.
        """
        message = f"There are no snapshots here: {name!r} of {ref} is not taken for {mark.machine_id}."
        raise Conflict(message)

    def list_snapshots(self, ref: str) -> list[SnapshotObservation]:  # noqa: ARG002 - the default knows none
        """Return a machine's snapshots, VAI's and strangers', oldest first; none of a machine that is not there.

        Where snapshots outlive their machine, they are returned also then.
        """
        return []

    def request_restore(self, ref: str, snapshot_ref: str) -> NativeTask:
        """Ask for the machine's disks to be as they were in one of its snapshots; what came later is lost.

        Afterwards it is off or it runs, as the hypervisor likes. Its mark, name and networks stay, and so do its
        other snapshots. Raises NotFound (no such machine or snapshot), Conflict (not as it is now).
        """
        message = f"There are no snapshots here: {ref} is not restored to {snapshot_ref}."
        raise Conflict(message)

    def request_delete_snapshot(self, ref: str, snapshot_ref: str) -> NativeTask | None:
        """Ask for one snapshot to be removed, and no other; ``None`` when it is not there, or not any more.

        Raises Conflict.
        """
        message = f"There are no snapshots here: {snapshot_ref} of {ref} is not removed."
        raise Conflict(message)


class Statistics:
    """What machines use, for drivers that declare STATISTICS."""

    def observe_statistics(self, refs: Collection[str], metrics: Collection[Metric]) -> list[Reading]:  # noqa: ARG002
        """Return what the hypervisor measured last of machines that run, in one call where it has such a call.

        What it does not measure, or not yet, is left out, and so are machines that are off or not there.
        """
        return []


class Tasks(ABC):
    """Native tasks."""

    @abstractmethod
    def wait_tasks(self, refs: Collection[str], timeout_seconds: float) -> list[TaskObservation]:
        """Return those of ``refs`` that have ended, as soon as one has; after the timeout, an empty list.

        One batched call or long poll, whatever the number of refs. A timeout of 0 only looks. May return
        early and empty when the provider ended a task that is not among ``refs``. A ref that the provider
        has forgotten is reported as FAILED with NotFound.
        """


class Hypervisor(Machines, Snapshots, Statistics, Tasks):
    """A datacenter's hypervisor as VAI sees it."""

    capabilities: frozenset[Capability]
    """What the driver can do with an account that has every right."""

    def observe_capabilities(self) -> frozenset[Capability]:
        """Return those for which this account has the rights; all of them, unless the driver knows better."""
        return self.capabilities

    @abstractmethod
    def verify(self) -> About:
        """Prove that the endpoint answers and accepts the credentials."""

    @abstractmethod
    def observe_inventory(self) -> Inventory:
        """Return clusters, hosts, datastores, networks, images and quota, in one bulk read per kind at most."""

    @abstractmethod
    def close(self) -> None:
        """End the session at the provider; may be called twice, never raises."""


Connect = Callable[[Connection], Hypervisor]
"""What a driver package exports as ``connect``: lazy, the first call opens the session."""
