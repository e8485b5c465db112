"""What was read of vSphere's objects, to domain values; pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from vai_app.domain.datacenters import Cluster, Datastore, Host, HostState, Image, Inventory, Network
from vai_app.domain.errors import NotFound
from vai_app.domain.hypervisor import TaskObservation, TaskState
from vai_app.domain.virtual_machines import MachineObservation, Mark, Power, Size
from vai_app.drivers.vmware.faults import error_of_fault, is_done_already
from vai_app.drivers.vmware.reads import DEVICES_PATH, MARK_PATH
from vai_app.drivers.vmware.rows import Row, fault_in, wsdl_type

MACHINE_KEY = "vai.machine"
TOKEN_KEY = "vai.token"  # noqa: S105 - the name of a key, no secret
_UPLINKS = "SYSTEM/DVS.UPLINKPG"
_KIB_PER_GIB = 1 << 20
_BYTES_PER_MIB = 1 << 20
_BYTES_PER_GIB = 1 << 30

_POWER = {"poweredOn": Power.ON, "poweredOff": Power.OFF, "suspended": Power.SUSPENDED}
_HOST_POWER = {"poweredOn": Power.ON, "poweredOff": Power.OFF, "standBy": Power.OFF}
_HOST_STATE = {"connected": HostState.UP, "disconnected": HostState.DOWN, "notResponding": HostState.DOWN}
_MACHINE_RESULT = ("ManagedObjectReference", "VirtualMachine")
_TASK_ENDED = {"success": TaskState.SUCCEEDED, "error": TaskState.FAILED}


@dataclass(frozen=True, slots=True)
class Details:
    """What lies in the large parts of a machine's configuration: its mark, and the size of its first disk."""

    mark: Mark | None = None
    disk_gib: int = 0


def details_of(row: Row) -> Details:
    """Return the details of a row that was read with ``reads.DETAILS``."""
    return Details(mark_of(row), first_disk_gib(row))


def mark_of(row: Row) -> Mark | None:
    """Return VAI's mark, from the machine's extra configuration."""
    found = row.options(MARK_PATH, (MACHINE_KEY, TOKEN_KEY))
    if MACHINE_KEY not in found or TOKEN_KEY not in found:
        return None
    return Mark(machine_id=found[MACHINE_KEY], token=found[TOKEN_KEY])


def first_disk_gib(row: Row) -> int:
    """Return the size of the first disk, rounded up; 0 when there is none."""
    disks = [members for kind, members in row.items(DEVICES_PATH) if kind == "VirtualDisk"]
    first = min(disks, key=lambda members: int(members["key"]), default=None)
    return 0 if first is None else -(-int(first.get("capacityInKB", 0)) // _KIB_PER_GIB)


def machine_of(row: Row, details: Details, networks: Mapping[str, str]) -> MachineObservation:
    """Return a machine as it is shown; ``networks`` are names by reference.

    The disk of a machine that does not bear VAI's mark is what its files may come to take.
    """
    address = row.text("guest.ipAddress")
    return MachineObservation(
        ref=row.ref,
        name=row.text("name") or row.ref,
        power=power_of(row),
        size=Size(
            cpus=row.number("summary.config.numCpu"),
            memory_mib=row.number("summary.config.memorySizeMB"),
            disk_gib=details.disk_gib if details.mark else _storage_gib(row),
        ),
        host=row.text("runtime.host"),
        networks=tuple(dict.fromkeys(networks.get(ref, ref) for ref in row.texts("network"))),
        addresses=(address,) if address else (),
        mark=details.mark,
    )


def power_of(row: Row) -> Power:
    """Return a machine's power; what a host that is not connected was last seen to run is unknown."""
    if row.text("runtime.connectionState") not in (None, "connected"):
        return Power.UNKNOWN
    return _POWER.get(row.text("runtime.powerState") or "", Power.UNKNOWN)


def inventory_of(rows: Iterable[Row]) -> Inventory:
    """Return everything but machines; machines count as what their hosts are used for, templates as images."""
    by_kind: dict[str, list[Row]] = {}
    for row in rows:
        by_kind.setdefault(row.kind, []).append(row)
    machines = by_kind.get("VirtualMachine", [])
    clusters = {row.ref: row for row in by_kind.get("ClusterComputeResource", [])}
    networks = [
        row for kind in ("Network", "DistributedVirtualPortgroup", "OpaqueNetwork") for row in by_kind.get(kind, [])
    ]
    used = _used_by_host(machines)
    return Inventory(
        clusters=tuple(Cluster(row.ref, row.text("name") or row.ref) for row in clusters.values()),
        hosts=tuple(
            host_of(row, row.text("parent") if row.text("parent") in clusters else None, used.get(row.ref, (0, 0)))
            for row in by_kind.get("HostSystem", [])
        ),
        datastores=tuple(datastore_of(row) for row in by_kind.get("Datastore", [])),
        networks=tuple(Network(row.ref, row.text("name") or row.ref) for row in networks if not is_uplink(row)),
        images=tuple(
            Image(row.ref, row.text("name") or row.ref, _storage_gib(row))
            for row in machines
            if row.flag("summary.config.template")
        ),
    )


def host_of(row: Row, cluster: str | None, used: tuple[int, int]) -> Host:
    """Return a host; ``used`` are CPUs and MiB of the machines that run on it."""
    return Host(
        ref=row.ref,
        name=row.text("name") or row.ref,
        cluster=cluster,
        state=_host_state(row),
        power=_HOST_POWER.get(row.text("runtime.powerState") or "", Power.UNKNOWN),
        cpus=row.number("summary.hardware.numCpuThreads"),
        memory_mib=row.number("summary.hardware.memorySize") // _BYTES_PER_MIB,
        used_cpus=used[0],
        used_memory_mib=used[1],
        datastores=row.texts("datastore"),
    )


def datastore_of(row: Row) -> Datastore:
    """Return a datastore."""
    return Datastore(
        ref=row.ref,
        name=row.text("name") or row.ref,
        capacity_gib=row.number("summary.capacity") // _BYTES_PER_GIB,
        free_gib=row.number("summary.freeSpace") // _BYTES_PER_GIB,
        accessible=row.flag("summary.accessible"),
    )


def is_uplink(row: Row) -> bool:
    """Whether a port group is a distributed switch's way to its physical NICs, and no machine's network."""
    return any(members.get("key") == _UPLINKS for _, members in row.items("tag"))


def ended_task_of(row: Row) -> TaskObservation | None:
    """Return a task that has ended; ``None`` when it is under way.

    A change of power that is refused because the machine has that power has reached its goal.
    """
    state = _TASK_ENDED.get(row.text("info.state") or "")
    if state is None:
        return None
    if state is TaskState.FAILED:
        localized = row.values.get("info.error")
        fault = fault_in(localized) if localized is not None else None
        if fault is None or not is_done_already(fault):
            error = error_of_fault(fault) if fault is not None else None
            return TaskObservation(row.ref, TaskState.FAILED, error=error)
    result = row.values.get("info.result")
    named = result is not None and (wsdl_type(result), result.get("type")) == _MACHINE_RESULT
    machine = result.text if result is not None and named else None
    return TaskObservation(row.ref, TaskState.SUCCEEDED, machine_ref=machine)


def forgotten_task(ref: str) -> TaskObservation:
    """Return what is said of a task that vCenter no longer has."""
    return TaskObservation(ref, TaskState.FAILED, error=NotFound(f"vCenter no longer knows the task {ref}."))


def _host_state(row: Row) -> HostState:
    state = _HOST_STATE.get(row.text("runtime.connectionState") or "", HostState.UNKNOWN)
    if state is not HostState.UP:
        return state
    if row.flag("runtime.inMaintenanceMode"):
        return HostState.MAINTENANCE
    return HostState.DOWN if row.text("runtime.powerState") in ("poweredOff", "standBy") else HostState.UP


def _used_by_host(machines: Iterable[Row]) -> dict[str, tuple[int, int]]:
    used: dict[str, tuple[int, int]] = {}
    for row in machines:
        host = row.text("runtime.host")
        if host is not None and row.text("runtime.powerState") == "poweredOn":
            cpus, memory_mib = used.get(host, (0, 0))
            used[host] = (
                cpus + row.number("summary.config.numCpu"),
                memory_mib + row.number("summary.config.memorySizeMB"),
            )
    return used


def _storage_gib(row: Row) -> int:
    return -(-(row.number("summary.storage.committed") + row.number("summary.storage.uncommitted")) // _BYTES_PER_GIB)
