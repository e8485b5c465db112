"""Rows of the world to domain values, pure."""

import json
import sqlite3
from datetime import UTC, datetime
from math import cos, pi
from zlib import crc32

from vai_app.domain.datacenters import Datastore, Host, HostState
from vai_app.domain.errors import NotFound, error_from
from vai_app.domain.hypervisor import TaskObservation, TaskState
from vai_app.domain.snapshots import SnapshotObservation
from vai_app.domain.statistics import Metric, Reading
from vai_app.domain.virtual_machines import MachineObservation, Mark, Power, Size


def machine_of(row: sqlite3.Row) -> MachineObservation:
    """Return a machine as it is shown."""
    return MachineObservation(
        ref=row["ref"],
        name=row["name"],
        power=Power(row["power"]),
        size=Size(row["cpus"], row["memory_mib"], row["disk_gib"]),
        host=row["host"],
        networks=tuple(json.loads(row["networks"])),
        addresses=(row["address"],) if row["address"] and row["power"] == Power.ON else (),
        mark=_mark_of(row),
    )


def snapshot_of(row: sqlite3.Row) -> SnapshotObservation:
    """Return a snapshot as it is shown."""
    taken_at = datetime.fromtimestamp(row["taken_at"], UTC)
    return SnapshotObservation(row["ref"], row["name"], taken_at, _mark_of(row))


def reading_of(row: sqlite3.Row, at: datetime) -> Reading:
    """Return what a machine uses: more by day than by night, each at an hour of its own; what it moves grows."""
    seconds = at.timestamp()
    hour_of_its_own = crc32(row["ref"].encode()) % 24
    busy = 0.5 - 0.4 * cos(2 * pi * (seconds / 3600 - hour_of_its_own) / 24)
    values = {
        Metric.CPU_PERCENT: 100 * busy,
        Metric.MEMORY_MIB: row["memory_mib"] * 0.6,
        Metric.POWER_WATTS: row["cpus"] * (4 + 8 * busy),
    }
    totals = {
        Metric.NETWORK_RECEIVED_KIB_S: seconds * 96,
        Metric.NETWORK_SENT_KIB_S: seconds * 32,
        Metric.DISK_READ_KIB_S: seconds * 48,
        Metric.DISK_WRITTEN_KIB_S: seconds * 16,
    }
    return Reading(row["ref"], at, values, totals)


def task_of(row: sqlite3.Row) -> TaskObservation:
    """Return a task that has ended."""
    failed = row["state"] == TaskState.FAILED
    return TaskObservation(
        ref=row["ref"],
        state=TaskState(row["state"]),
        machine_ref=None if failed else row["machine"],
        error=error_from(row["problem"], row["detail"]) if failed else None,
    )


def forgotten_task(ref: str) -> TaskObservation:
    """Return what is said of a task that the world does not know."""
    return TaskObservation(ref=ref, state=TaskState.FAILED, error=NotFound(f"There is no task {ref}."))


def host_of(row: sqlite3.Row, datastores: tuple[str, ...]) -> Host:
    """Return a host with what its machines were given."""
    state = HostState(row["state"])
    return Host(
        ref=row["ref"],
        name=row["name"],
        cluster=row["cluster"],
        state=state,
        power=Power.OFF if state is HostState.DOWN else Power.ON,
        cpus=row["cpus"],
        memory_mib=row["memory_mib"],
        used_cpus=row["used_cpus"],
        used_memory_mib=row["used_memory_mib"],
        datastores=datastores,
    )


def datastore_of(row: sqlite3.Row) -> Datastore:
    """Return a datastore."""
    return Datastore(row["ref"], row["name"], row["capacity_gib"], row["capacity_gib"] - row["used_gib"])


def _mark_of(row: sqlite3.Row) -> Mark | None:
    marked = row["machine_id"] is not None and row["token"] is not None
    return Mark(row["machine_id"], row["token"]) if marked else None
