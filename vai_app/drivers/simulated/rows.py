"""What is looked for in a world: its row, or the error that says why there is none."""

import sqlite3

from vai_app.domain.datacenters import HostState
from vai_app.domain.errors import CapacityShort, HostUnavailable, NotFound
from vai_app.domain.virtual_machines import Size


def first_row(connection: sqlite3.Connection, query: str, *values: object) -> sqlite3.Row | None:
    """Return the first row of a query."""
    row: sqlite3.Row | None = connection.execute(query, values).fetchone()
    return row


def machine_row(connection: sqlite3.Connection, ref: str) -> sqlite3.Row:
    """Return a machine's row. Raises NotFound."""
    row = first_row(connection, "SELECT * FROM machines WHERE ref = ? AND born = 1", ref)
    if row is None:
        raise no_machine(ref)
    return row


def snapshot_row(connection: sqlite3.Connection, ref: str, snapshot_ref: str) -> sqlite3.Row | None:
    """Return a snapshot's row, ``None`` where the machine has no such."""
    return first_row(
        connection, "SELECT * FROM snapshots WHERE ref = ? AND machine = ? AND born = 1", snapshot_ref, ref
    )


def no_machine(ref: str) -> NotFound:
    """Return the error that there is no such machine."""
    return NotFound(f"There is no machine {ref} in this datacenter.")


def name_of(connection: sqlite3.Connection, table: str, wanted: str, what: str) -> str:
    """Return the name of an image or network by name or reference. Raises NotFound."""
    row = first_row(connection, f"SELECT name FROM {table} WHERE name = ? OR ref = ?", wanted, wanted)  # noqa: S608 - ours
    if row is None:
        message = f"There is no {what} {wanted!r} in this datacenter."
        raise NotFound(message)
    return str(row["name"])


def datastore_with_room(connection: sqlite3.Connection, wanted: str | None, disk_gib: int) -> str:
    """Return the datastore that is wanted, or the one with the most room. Raises NotFound, CapacityShort."""
    rows = connection.execute(
        "SELECT d.ref, d.capacity_gib - coalesce((SELECT sum(disk_gib) FROM machines WHERE datastore = d.ref), 0) "
        "AS free_gib FROM datastores d WHERE ? IS NULL OR d.ref = ? OR d.name = ? ORDER BY free_gib DESC",
        (wanted, wanted, wanted),
    ).fetchall()
    if not rows:
        message = f"There is no datastore {wanted!r} in this datacenter."
        raise NotFound(message)
    if rows[0]["free_gib"] < disk_gib:
        message = f"{disk_gib} GiB asked, {rows[0]['free_gib']} GiB free."
        raise CapacityShort(message)
    return str(rows[0]["ref"])


def require_host_up(connection: sqlite3.Connection, ref: str) -> None:
    """Raise HostUnavailable for a host that cannot run machines."""
    row = first_row(connection, "SELECT name, state FROM hosts WHERE ref = ?", ref)
    if row is None or row["state"] != HostState.UP:
        message = f"The machine's host is {row['state'] if row else 'gone'}. Bring it up."
        raise HostUnavailable(message)


def host_with_room(connection: sqlite3.Connection, wanted: str | None, size: Size) -> str:
    """Return the host wanted, or the one with the most memory. Raises NotFound, HostUnavailable, CapacityShort."""
    rows = connection.execute(
        "SELECT h.*, h.memory_mib - coalesce((SELECT sum(memory_mib) FROM machines WHERE host = h.ref), 0) "
        "AS free_mib FROM hosts h WHERE ? IS NULL OR h.ref = ? OR h.name = ? ORDER BY free_mib DESC",
        (wanted, wanted, wanted),
    ).fetchall()
    if not rows:
        message = f"There is no host {wanted!r} in this datacenter."
        raise NotFound(message)
    up = [row for row in rows if row["state"] == HostState.UP]
    if not up:
        message = f"The host is {rows[0]['state']}. Choose another, or bring it up."
        raise HostUnavailable(message)
    if up[0]["free_mib"] < size.memory_mib:
        message = f"{size.memory_mib} MiB asked, {max(up[0]['free_mib'], 0)} MiB free on {up[0]['name']}."
        raise CapacityShort(message)
    return str(up[0]["ref"])
