"""The simulated hypervisor behind the driver contract."""

import json
import sqlite3
import threading
import time
from collections.abc import Callable, Collection, Iterator
from datetime import UTC, datetime
from typing import TypeVar

from vai_app.domain.datacenters import About, Cluster, Connection, HostState, Image, Inventory, Network
from vai_app.domain.errors import (
    Conflict,
    NameTaken,
    NotFound,
    ProviderAuthenticationFailed,
    ProviderTimeout,
    error_from,
)
from vai_app.domain.hypervisor import Capability, CreateRequest, Hypervisor, NativeTask, TaskObservation
from vai_app.domain.snapshots import SnapshotObservation
from vai_app.domain.statistics import Metric, Reading
from vai_app.domain.virtual_machines import MachineObservation, Mark, Power, PowerAction, Size
from vai_app.drivers.simulated.mapping import (
    datastore_of,
    forgotten_task,
    host_of,
    machine_of,
    reading_of,
    snapshot_of,
    task_of,
)
from vai_app.drivers.simulated.options import parse_options, world_path
from vai_app.drivers.simulated.rows import (
    datastore_with_room,
    first_row,
    host_with_room,
    machine_row,
    name_of,
    no_machine,
    require_host_up,
    snapshot_row,
)
from vai_app.drivers.simulated.world import World, begin_task, next_number, take_fault

T = TypeVar("T")

_SHORTEST_LOOK_SECONDS = 0.01
_LONGEST_LOOK_SECONDS = 0.1


def connect(connection: Connection) -> Hypervisor:
    """Return the hypervisor; its world is opened by the first call. Raises InvalidRequest for wrong options."""
    return SimulatedHypervisor(connection)


class SimulatedHypervisor(Hypervisor):
    """Machines that are rows."""

    capabilities = frozenset(
        {
            Capability.CREATE_FROM_IMAGE,
            Capability.CREATE_FROM_SCRATCH,
            Capability.UNIQUE_NAMES,
            Capability.CHOOSE_HOST,
            Capability.CHOOSE_DATASTORE,
            Capability.CHOOSE_DISK,
            Capability.RESIZE_STOPPED,
            Capability.MIGRATE_RUNNING,
            Capability.MIGRATE_STOPPED,
            Capability.EVACUATE,
            Capability.SNAPSHOT,
            Capability.RESTORES_SIZE,
            Capability.RESIZE_RUNNING,
            Capability.STATISTICS,
            Capability.GUEST_SHUTDOWN,
            Capability.SUSPEND,
            Capability.ADOPT,
            Capability.FIXED_ADDRESSES,
            Capability.USER_DATA,
            Capability.HOST_STATES,
        }
    )

    def __init__(self, connection: Connection) -> None:
        """Check the options; open nothing."""
        self._connection = connection
        self._options = parse_options(connection.options)
        self._path = world_path(connection.endpoint)
        self._lock = threading.Lock()
        self._opened: World | None = None

    def verify(self) -> About:
        """Open the world with the credentials."""
        self._begin("verify")
        return About(product="VAI simulated hypervisor", version="1", account=self._options.username or "anyone")

    def close(self) -> None:
        """Close this thread's connection to the world."""
        if self._opened is not None:
            self._opened.close()

    def request_create(self, request: CreateRequest) -> NativeTask:
        """Add the machine, invisible until its task ends; its name and room are taken at once."""
        spec, mark = request.spec, request.mark

        def create(connection: sqlite3.Connection) -> NativeTask:
            if first_row(connection, "SELECT 1 FROM machines WHERE name = ?", spec.name):
                message = f"A machine named {spec.name!r} exists in this datacenter. Choose another name."
                raise NameTaken(message)
            if spec.image is not None:
                name_of(connection, "images", spec.image, "image")
            networks = [name_of(connection, "networks", name, "network") for name in spec.networks]
            host = host_with_room(connection, request.location.host, spec.size)
            datastore = datastore_with_room(connection, request.location.datastore, spec.size.disk_gib)
            number = next_number(connection, "machine")
            ref = f"m-{number}"
            asked = [each.address for each in spec.fixed_addresses]
            address = asked[0] if asked else f"192.0.2.{number % 254 + 1}"
            connection.execute(
                "INSERT INTO machines VALUES (?, ?, 'off', 0, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    ref,
                    spec.name,
                    spec.size.cpus,
                    spec.size.memory_mib,
                    spec.size.disk_gib,
                    host,
                    datastore,
                    json.dumps(networks),
                    address,
                    mark.machine_id,
                    mark.token,
                ),
            )
            if request.user_data is not None:
                connection.execute("INSERT INTO user_data VALUES (?, ?)", (ref, request.user_data))
            return NativeTask(self._task(connection, "create", ref, born=1), machine_ref=ref)

        return self._change("request_create", create)

    def find_by_token(self, token: str) -> MachineObservation | None:
        """Look the token up in its index."""
        world = self._begin("find_by_token")
        rows = world.read("SELECT * FROM machines WHERE token = ? AND born = 1", token)
        return machine_of(rows[0]) if rows else None

    def request_delete(self, ref: str) -> NativeTask | None:
        """Remove the row when the task ends."""

        def delete(connection: sqlite3.Connection) -> NativeTask | None:
            row = first_row(connection, "SELECT power FROM machines WHERE ref = ? AND born = 1", ref)
            if row is None:
                return None
            if row["power"] == Power.ON:
                message = "The machine is powered on. Stop it before it is deleted."
                raise Conflict(message)
            return NativeTask(self._task(connection, "delete", ref), machine_ref=ref)

        return self._change("request_delete", delete)

    def request_power(self, ref: str, action: PowerAction) -> NativeTask | None:
        """Set the power when the task ends."""

        def power(connection: sqlite3.Connection) -> NativeTask | None:
            row = machine_row(connection, ref)
            needs_running = action in (PowerAction.REBOOT, PowerAction.RESET, PowerAction.SUSPEND)
            if row["power"] == action.target and action not in (PowerAction.REBOOT, PowerAction.RESET):
                return None
            if needs_running and row["power"] != Power.ON:
                message = f"The machine is {row['power']}; only one that runs can be asked to {action}."
                raise Conflict(message)
            if action.target is Power.ON:
                require_host_up(connection, row["host"])
            return NativeTask(self._task(connection, "power", ref, power=action.target.value), machine_ref=ref)

        return self._change("request_power", power)

    def request_resize(self, ref: str, size: Size) -> NativeTask | None:
        """Change the row when the task ends."""

        def resize(connection: sqlite3.Connection) -> NativeTask | None:
            row = machine_row(connection, ref)
            disk_gib = size.disk_gib or row["disk_gib"]
            if (row["cpus"], row["memory_mib"], row["disk_gib"]) == (size.cpus, size.memory_mib, disk_gib):
                return None
            if disk_gib < row["disk_gib"]:
                message = f"The disk has {row['disk_gib']} GiB and cannot shrink to {disk_gib}."
                raise Conflict(message)
            growth = Size(size.cpus, max(size.memory_mib - row["memory_mib"], 0))
            host_with_room(connection, row["host"], growth)
            task = self._task(connection, "resize", ref, cpus=size.cpus, memory_mib=size.memory_mib, disk_gib=disk_gib)
            return NativeTask(task, machine_ref=ref)

        return self._change("request_resize", resize)

    def request_migrate(self, ref: str, host: str) -> NativeTask | None:
        """Change the host when the task ends; its room is looked at now."""

        def migrate(connection: sqlite3.Connection) -> NativeTask | None:
            require_host_up(connection, machine_row(connection, ref)["host"])
            return self._move(connection, ref, host)

        return self._change("request_migrate", migrate)

    def request_evacuate(self, ref: str, host: str) -> NativeTask | None:
        """Change the host when the task ends; the machine's own must be down."""

        def evacuate(connection: sqlite3.Connection) -> NativeTask | None:
            own = first_row(connection, "SELECT * FROM hosts WHERE ref = ?", machine_row(connection, ref)["host"])
            if own is not None and own["state"] != HostState.DOWN and host not in (own["ref"], own["name"]):
                message = f"Host {own['name']} is {own['state']}: move the machine, it need not be evacuated."
                raise Conflict(message)
            return self._move(connection, ref, host)

        return self._change("request_evacuate", evacuate)

    def request_snapshot(self, ref: str, name: str, mark: Mark) -> NativeTask:
        """Add the snapshot, invisible until its task ends."""

        def snapshot(connection: sqlite3.Connection) -> NativeTask:
            row = machine_row(connection, ref)
            taken = f"snapshot-{next_number(connection, 'snapshot')}"
            connection.execute(
                "INSERT INTO snapshots VALUES (?, ?, ?, ?, 0, ?, ?, ?, ?, ?, 0)",
                (taken, ref, name, time.time(), row["cpus"], row["memory_mib"], row["disk_gib"], *_spelled(mark)),
            )
            return NativeTask(self._task(connection, "snapshot", ref, snapshot=taken), machine_ref=ref)

        return self._change("request_snapshot", snapshot)

    def list_snapshots(self, ref: str) -> list[SnapshotObservation]:
        """Return the machine's rows."""
        world = self._begin("list_snapshots")
        rows = world.read("SELECT * FROM snapshots WHERE machine = ? AND born = 1 ORDER BY taken_at, ref", ref)
        return [snapshot_of(row) for row in rows]

    def request_restore(self, ref: str, snapshot_ref: str) -> NativeTask:
        """Give the machine the size that it had, when the task ends, and stop it."""

        def restore(connection: sqlite3.Connection) -> NativeTask:
            row, found = machine_row(connection, ref), snapshot_row(connection, ref, snapshot_ref)
            if found is None:
                message = f"Machine {ref} has no snapshot {snapshot_ref}."
                raise NotFound(message)
            growth = Size(found["cpus"], max(found["memory_mib"] - row["memory_mib"], 0))
            host_with_room(connection, row["host"], growth)
            return NativeTask(self._task(connection, "restore", ref, snapshot=snapshot_ref), machine_ref=ref)

        return self._change("request_restore", restore)

    def request_delete_snapshot(self, ref: str, snapshot_ref: str) -> NativeTask | None:
        """Remove the row when the task ends."""

        def delete(connection: sqlite3.Connection) -> NativeTask | None:
            if snapshot_row(connection, ref, snapshot_ref) is None:
                return None
            return NativeTask(self._task(connection, "delete_snapshot", ref, snapshot=snapshot_ref), machine_ref=ref)

        return self._change("request_delete_snapshot", delete)

    def request_mark(self, ref: str, mark: Mark) -> NativeTask | None:
        """Write the mark when the task ends."""

        def write_mark(connection: sqlite3.Connection) -> NativeTask | None:
            row = machine_row(connection, ref)
            if (row["machine_id"], row["token"]) == (mark.machine_id, mark.token):
                return None
            task = self._task(connection, "mark", ref, machine_id=mark.machine_id, token=mark.token)
            return NativeTask(task, machine_ref=ref)

        return self._change("request_mark", write_mark)

    def observe_statistics(self, refs: Collection[str], metrics: Collection[Metric]) -> list[Reading]:
        """Return what machines that run would use, by the time of day."""
        world = self._begin("observe_statistics")
        now, marks = datetime.now(UTC), ",".join("?" * len(refs))
        rows = world.read(f"SELECT * FROM machines WHERE power = 'on' AND ref IN ({marks})", *refs)  # noqa: S608
        return [reading_of(row, now).only(metrics) for row in rows]

    def observe_machine(self, ref: str) -> MachineObservation:
        """Return the row."""
        rows = self._begin("observe_machine").read("SELECT * FROM machines WHERE ref = ? AND born = 1", ref)
        if not rows:
            raise no_machine(ref)
        return machine_of(rows[0])

    def list_machines(self) -> Iterator[MachineObservation]:
        """Return every row, in one query."""
        world = self._begin("list_machines")
        return iter([machine_of(row) for row in world.read("SELECT * FROM machines WHERE born = 1")])

    def wait_tasks(self, refs: Collection[str], timeout_seconds: float) -> list[TaskObservation]:
        """Look again as soon as the next task is due."""
        world = self._begin("wait_tasks")
        deadline = time.monotonic() + timeout_seconds
        wanted = list(refs)
        marks = ",".join("?" * len(wanted))
        while True:
            rows = world.read(f"SELECT * FROM tasks WHERE ref IN ({marks})", *wanted)  # noqa: S608 - only marks
            ended = [task_of(row) for row in rows if row["state"] != "running"]
            known = {row["ref"] for row in rows}
            ended += [forgotten_task(ref) for ref in wanted if ref not in known]
            remaining = deadline - time.monotonic()
            if ended or remaining <= 0:
                return ended
            due_in = min((row["finishes_at"] for row in rows), default=0.0) - time.time()
            pause = min(max(due_in, _SHORTEST_LOOK_SECONDS), _LONGEST_LOOK_SECONDS, remaining)
            threading.Event().wait(pause)

    def observe_inventory(self) -> Inventory:
        """Return hosts with what their machines were given, and all else by name."""
        world = self._begin("observe_inventory")
        hosts = world.read(
            "SELECT h.*, coalesce(sum(m.cpus), 0) AS used_cpus, coalesce(sum(m.memory_mib), 0) AS used_memory_mib "
            "FROM hosts h LEFT JOIN machines m ON m.host = h.ref GROUP BY h.ref ORDER BY h.ref"
        )
        datastores = world.read(
            "SELECT d.*, coalesce(sum(m.disk_gib), 0) AS used_gib "
            "FROM datastores d LEFT JOIN machines m ON m.datastore = d.ref GROUP BY d.ref ORDER BY d.ref"
        )
        stores = tuple(row["ref"] for row in datastores)
        return Inventory(
            clusters=tuple(Cluster(ref, ref) for ref in sorted({row["cluster"] for row in hosts})),
            hosts=tuple(host_of(row, stores) for row in hosts),
            datastores=tuple(datastore_of(row) for row in datastores),
            networks=tuple(Network(row["ref"], row["name"]) for row in world.read("SELECT * FROM networks")),
            images=tuple(Image(row["ref"], row["name"]) for row in world.read("SELECT * FROM images")),
        )

    def _begin(self, method: str) -> World:
        """Open the world, check the credentials and suffer what was injected for the method."""
        with self._lock:
            if self._opened is None:
                self._opened = World(self._path, self._options)
            world = self._opened
        self._check_credentials()
        if not world.read("SELECT 1 FROM faults LIMIT 1"):
            return world
        with world.change() as connection:
            fault = take_fault(connection, method, as_task=False)
        if fault is not None:
            limit = self._connection.call_timeout_seconds
            threading.Event().wait(min(fault["latency_seconds"], limit))
            if fault["latency_seconds"] >= limit:
                message = f"The simulated datacenter did not answer within {limit:g} s."
                raise ProviderTimeout(message)
            if fault["problem"] is not None:
                raise error_from(fault["problem"], fault["detail"])
        return world

    def _change(self, method: str, work: Callable[[sqlite3.Connection], T]) -> T:
        world = self._begin(method)
        world.settle()
        with world.change() as connection:
            return work(connection)

    def _move(self, connection: sqlite3.Connection, ref: str, host: str) -> NativeTask | None:
        row = machine_row(connection, ref)
        found = first_row(connection, "SELECT ref FROM hosts WHERE ref = ? OR name = ?", host, host)
        if found is not None and found["ref"] == row["host"]:
            return None
        target = host_with_room(connection, host, Size(row["cpus"], row["memory_mib"]))
        return NativeTask(self._task(connection, "migrate", ref, host=target), machine_ref=ref)

    def _task(self, connection: sqlite3.Connection, effect: str, ref: str, **arguments: object) -> str:
        return begin_task(connection, effect, ref, self._options.task_delay_seconds, **arguments)

    def _check_credentials(self) -> None:
        given = (self._connection.credentials.get("username"), self._connection.credentials.get("password"))
        if self._options.username is not None and given != (self._options.username, self._options.password):
            message = "The simulated datacenter refused the user name or password. Register the right ones."
            raise ProviderAuthenticationFailed(message)


def _spelled(mark: Mark) -> tuple[str, str]:
    return mark.machine_id, mark.token
