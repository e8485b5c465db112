"""VMware vSphere behind the driver contract: which native calls a promise takes, and in what order."""

from collections.abc import Collection, Iterator
from dataclasses import replace

from pyVmomi import vim, vmodl

from vai_app.domain.datacenters import About, Connection, Inventory
from vai_app.domain.errors import Conflict, NotFound
from vai_app.domain.hypervisor import Capability, CreateRequest, Hypervisor, NativeTask, TaskObservation
from vai_app.domain.snapshots import SnapshotObservation
from vai_app.domain.statistics import Metric, Reading
from vai_app.domain.virtual_machines import Location, MachineObservation, Mark, Power, PowerAction, Size
from vai_app.drivers.vmware import reads
from vai_app.drivers.vmware.catalog import Catalog
from vai_app.drivers.vmware.faults import is_done_already
from vai_app.drivers.vmware.inventory import DatacenterReader
from vai_app.drivers.vmware.mapping import first_disk_gib, mark_of, power_of
from vai_app.drivers.vmware.options import parse_endpoint, parse_options
from vai_app.drivers.vmware.session import Session
from vai_app.drivers.vmware.snapshots import description_of, snapshots_of
from vai_app.drivers.vmware.specs import (
    clone_spec,
    create_spec,
    disk_growth,
    extra_config_of,
    instance_uuid_of,
    resize_spec,
)
from vai_app.drivers.vmware.statistics import counters_of, queries_of, readings_in
from vai_app.drivers.vmware.tasks import TaskWatch, guest_shutdown_task

_STARTS_ANEW = (PowerAction.REBOOT, PowerAction.RESET)
_NEEDS_RUNNING = (*_STARTS_ANEW, PowerAction.SHUTDOWN, PowerAction.SUSPEND)
_GONE = (vmodl.fault.ManagedObjectNotFound,)


def connect(connection: Connection) -> Hypervisor:
    """Return the hypervisor; the first call logs in. Raises InvalidRequest for settings that cannot be used."""
    return VmwareHypervisor(connection)


class VmwareHypervisor(Hypervisor):
    """One vSphere datacenter of one vCenter."""

    capabilities = frozenset(
        {
            Capability.CREATE_FROM_IMAGE,
            Capability.CREATE_FROM_SCRATCH,
            Capability.UNIQUE_NAMES,
            Capability.CHOOSE_HOST,
            Capability.CHOOSE_DATASTORE,
            Capability.CHOOSE_DISK,
            Capability.RESIZE_STOPPED,
            Capability.RESIZE_RUNNING,
            Capability.MIGRATE_RUNNING,
            Capability.MIGRATE_STOPPED,
            Capability.SNAPSHOT,
            Capability.RESTORES_SIZE,
            Capability.STATISTICS,
            Capability.GUEST_SHUTDOWN,
            Capability.SUSPEND,
            Capability.ADOPT,
            Capability.USER_DATA,
            Capability.HOST_STATES,
        }
    )

    def __init__(self, connection: Connection) -> None:
        """Check the settings; send nothing."""
        self._session = Session(parse_endpoint(connection))
        self._reader = DatacenterReader(self._session, parse_options(connection.options))
        self._tasks = TaskWatch(self._session)
        self._counters: dict[Metric, int] = {}

    def verify(self) -> About:
        """Log in, and find the vSphere datacenter."""
        with self._session.calling():
            self._reader.datacenter()
            about = self._session.content.about
            return About(product=about.name, version=about.version, account=self._session.account)

    def close(self) -> None:
        """Log out."""
        self._tasks.close()
        self._session.close()

    def request_create(self, request: CreateRequest) -> NativeTask:
        """Clone the template, or create from scratch; one native call when the names are known."""
        with self._session.calling():
            try:
                return self._request_create(request)
            except _GONE:
                self._reader.forget_names()  # something that was remembered is gone: look, then ask once more
                return self._request_create(request)

    def find_by_token(self, token: str) -> MachineObservation | None:
        """Ask vCenter's index for the UUID that the token became; search all machines only when that fails."""
        with self._session.calling():
            index = self._session.content.searchIndex
            found = index.FindByUuid(self._reader.datacenter(), instance_uuid_of(token), True, True)  # noqa: FBT003
            seen = self._observed(found._GetMoId()) if found is not None else None  # noqa: SLF001 - pyVmomi's name
            if seen is not None and seen.mark is not None and seen.mark.token == token:
                return seen
            # vCenter changes a UUID that another machine has, and an adopted machine keeps its own.
            ref = self._reader.find_marked(token)
            return self._observed(ref) if ref is not None else None

    def request_delete(self, ref: str) -> NativeTask | None:
        """Destroy it; vCenter refuses when it runs."""
        with self._session.calling():
            try:
                return _brief(self._reader.machine_object(ref).Destroy_Task(), ref)
            except _GONE:
                return None

    def request_power(self, ref: str, action: PowerAction) -> NativeTask | None:
        """Ask vCenter, or the guest for SHUTDOWN and REBOOT; the guest's reboot has no end that can be seen."""
        with self._session.calling():
            if action in _NEEDS_RUNNING:
                power = power_of(self._reader.read(ref, reads.POWER))
                if power is action.target and action not in _STARTS_ANEW:
                    return None
                if power is not Power.ON:
                    message = f"The machine is {power}; only one that runs can be asked to {action}. Start it first."
                    raise Conflict(message)
            try:
                return self._ask_power(ref, action)
            except vim.fault.InvalidPowerState as fault:
                if is_done_already(fault):
                    return None
                raise

    def request_resize(self, ref: str, size: Size) -> NativeTask | None:
        """Reconfigure CPUs, memory and the first disk, as one task."""
        with self._session.calling():
            row = self._reader.read(ref, (*reads.CONFIG, reads.DEVICES_PATH))
            now = Size(
                row.number("config.hardware.numCPU"), row.number("config.hardware.memoryMB"), first_disk_gib(row)
            )
            machine = self._reader.machine_object(ref)
            growth = None
            if size.disk_gib not in (0, now.disk_gib):
                growth = disk_growth(machine.config.hardware.device, size.disk_gib)
            config = resize_spec(now, size, growth)
            if config is None:
                return None
            if power_of(row) is not Power.OFF:
                _check_growth("CPUs", now.cpus, size.cpus, allowed=row.flag("config.cpuHotAddEnabled"))
                _check_growth("memory", now.memory_mib, size.memory_mib, allowed=row.flag("config.memoryHotAddEnabled"))
            return _brief(machine.ReconfigVM_Task(config), ref)

    def request_migrate(self, ref: str, host: str) -> NativeTask | None:
        """Relocate it to the host and its cluster's pool; its disks stay where they are, which both hosts must see."""
        with self._session.calling():
            now = self._reader.read(ref, reads.HOST).text("runtime.host")
            target = self._reader.catalog().target(Location(host=host), needs_datastore=False)
            if target.host == now:
                return None
            where = vim.vm.RelocateSpec(
                host=vim.HostSystem(target.host, None), pool=vim.ResourcePool(target.pool, None)
            )
            return _task(self._reader.machine_object(ref).RelocateVM_Task(where), ref)

    def request_snapshot(self, ref: str, name: str, mark: Mark) -> NativeTask:
        """Take it without the memory, so that a machine that runs does not stand still while that is written."""
        with self._session.calling():
            machine = self._reader.machine_object(ref)
            return _task(machine.CreateSnapshot_Task(name, description_of(mark), memory=False, quiesce=False), ref)

    def list_snapshots(self, ref: str) -> list[SnapshotObservation]:
        """Read the machine's tree of snapshots."""
        with self._session.calling():
            try:
                return snapshots_of(self._reader.machine_object(ref).snapshot)
            except _GONE:
                return []

    def request_restore(self, ref: str, snapshot_ref: str) -> NativeTask:
        """Revert to it; without its memory the machine is off then."""
        with self._session.calling():
            known = {each.ref for each in snapshots_of(self._reader.machine_object(ref).snapshot)}
            if snapshot_ref not in known:
                raise NotFound(f"The machine has no snapshot {snapshot_ref} in vCenter.")
            snapshot = self._reader.snapshot_object(snapshot_ref)
            return _task(snapshot.RevertToSnapshot_Task(suppressPowerOn=True), ref)

    def request_delete_snapshot(self, ref: str, snapshot_ref: str) -> NativeTask | None:
        """Remove it; what was taken later stays."""
        with self._session.calling():
            try:
                snapshot = self._reader.snapshot_object(snapshot_ref)
                return _task(snapshot.RemoveSnapshot_Task(removeChildren=False), ref)
            except _GONE:
                return None

    def observe_statistics(self, refs: Collection[str], metrics: Collection[Metric]) -> list[Reading]:
        """Ask for the newest sample of each machine, in one call."""
        with self._session.calling():
            manager = self._session.content.perfManager
            if not self._counters:
                self._counters = counters_of(manager.perfCounter)
            counters = {metric: key for metric, key in self._counters.items() if metric in metrics}
            asked = {ref: self._reader.machine_object(ref) for ref in refs}
            while asked and counters:
                try:
                    # As pyVmomi calls QueryPerf.
                    answer = self._session.ask(manager, "QueryStats", queries_of(asked.values(), counters.values()))
                except _GONE as gone:
                    if gone.obj is None or asked.pop(gone.obj._GetMoId(), None) is None:  # noqa: SLF001
                        raise
                    continue  # one machine that is gone must not hide the others
                return list(readings_in(answer, counters))
            return []

    def request_mark(self, ref: str, mark: Mark) -> NativeTask | None:
        """Write the mark into the extra configuration; the machine keeps its UUIDs, which others may know it by."""
        with self._session.calling():
            if mark_of(self._reader.read(ref, (reads.MARK_PATH,))) == mark:
                return None
            config = vim.vm.ConfigSpec(extraConfig=extra_config_of(mark))
            return _brief(self._reader.machine_object(ref).ReconfigVM_Task(config), ref)

    def observe_machine(self, ref: str) -> MachineObservation:
        """Read the machine."""
        with self._session.calling():
            return self._reader.machine(ref)

    def list_machines(self) -> Iterator[MachineObservation]:
        """Read all machines in one bulk read."""
        with self._session.calling():
            return iter(self._reader.machines())

    def wait_tasks(self, refs: Collection[str], timeout_seconds: float) -> list[TaskObservation]:
        """Look, or follow the long poll."""
        with self._session.calling(besides_seconds=timeout_seconds):
            if timeout_seconds <= 0:
                return self._tasks.look(refs)
            return self._tasks.wait(refs, timeout_seconds)

    def observe_inventory(self) -> Inventory:
        """Read all but machines in one bulk read."""
        with self._session.calling():
            return self._reader.inventory()

    def _request_create(self, request: CreateRequest) -> NativeTask:
        catalog = self._reader.catalog()
        try:
            return self._ask_create(request, catalog)
        except NotFound:
            return self._ask_create(request, self._reader.catalog(newer_than=catalog))

    def _ask_create(self, request: CreateRequest, catalog: Catalog) -> NativeTask:
        spec = request.spec
        folder = self._reader.folder(catalog)
        target = catalog.target(request.location, needs_datastore=spec.image is None)
        if spec.image is None:
            pool, host = vim.ResourcePool(target.pool, None), vim.HostSystem(target.host, None) if target.host else None
            return _brief(folder.CreateVM_Task(create_spec(request, target, catalog), pool, host))
        image = self._reader.image(spec.image)
        config = clone_spec(request, target, catalog, self._reader.template(image))
        return _task(self._reader.machine_object(image).CloneVM_Task(folder, spec.name, config))

    def _ask_power(self, ref: str, action: PowerAction) -> NativeTask | None:
        machine = self._reader.machine_object(ref)
        match action:
            case PowerAction.START:
                return _brief(machine.PowerOnVM_Task(), ref)
            case PowerAction.STOP:
                return _brief(machine.PowerOffVM_Task(), ref)
            case PowerAction.RESET:
                return _brief(machine.ResetVM_Task(), ref)
            case PowerAction.SUSPEND:
                return _task(machine.SuspendVM_Task(), ref)
            case PowerAction.SHUTDOWN:
                machine.ShutdownGuest()
                return guest_shutdown_task(ref)
            case PowerAction.REBOOT:
                machine.RebootGuest()
                return None

    def _observed(self, ref: str) -> MachineObservation | None:
        try:
            return self._reader.machine(ref)
        except _GONE:
            return None


def _task(task: vim.Task, machine_ref: str | None = None) -> NativeTask:
    return NativeTask(task._GetMoId(), machine_ref=machine_ref)  # noqa: SLF001 - pyVmomi's name for a reference


def _brief(task: vim.Task, machine_ref: str | None = None) -> NativeTask:
    """Return a task that copies no disk: on a vCenter at rest it has ended before anybody could begin to wait."""
    return replace(_task(task, machine_ref), brief=True)


def _check_growth(what: str, has: int, wanted: int, *, allowed: bool) -> None:
    """Refuse what vSphere cannot do to a machine that runs. Raises Conflict."""
    if wanted < has:
        raise Conflict(f"The machine runs, and its {what} can only grow. Stop it first.")
    if wanted > has and not allowed:
        raise Conflict(f"The machine runs, and adding {what} to it is not enabled. Stop it first.")
