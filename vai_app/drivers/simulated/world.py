"""The world: one SQLite file that all processes share, with the rules that keep it consistent.

Every change is one transaction, so a process killed at any moment leaves it whole. A native task is a row with
the moment it ends; whoever looks first after that moment carries out its effect, once.
"""

import json
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vai_app.domain.errors import ProviderUnavailable
from vai_app.drivers.simulated.options import Options

_SCHEMA = """
CREATE TABLE about (options TEXT NOT NULL);
CREATE TABLE hosts (ref TEXT PRIMARY KEY, name TEXT UNIQUE, cluster TEXT, state TEXT NOT NULL,
    cpus INTEGER, memory_mib INTEGER);
CREATE TABLE datastores (ref TEXT PRIMARY KEY, name TEXT UNIQUE, capacity_gib INTEGER);
CREATE TABLE networks (ref TEXT PRIMARY KEY, name TEXT UNIQUE);
CREATE TABLE images (ref TEXT PRIMARY KEY, name TEXT UNIQUE);
CREATE TABLE machines (ref TEXT PRIMARY KEY, name TEXT UNIQUE, power TEXT NOT NULL, born INTEGER NOT NULL,
    cpus INTEGER, memory_mib INTEGER, disk_gib INTEGER, host TEXT, datastore TEXT, networks TEXT,
    address TEXT, machine_id TEXT, token TEXT);
CREATE INDEX machines_by_token ON machines (token) WHERE token IS NOT NULL;
CREATE INDEX machines_by_host ON machines (host, memory_mib);
CREATE INDEX machines_by_datastore ON machines (datastore, disk_gib);
CREATE TABLE tasks (ref TEXT PRIMARY KEY, effect TEXT NOT NULL, machine TEXT NOT NULL, arguments TEXT NOT NULL,
    finishes_at REAL NOT NULL, state TEXT NOT NULL, problem TEXT, detail TEXT);
CREATE INDEX running_tasks ON tasks (finishes_at) WHERE state = 'running';
CREATE TABLE faults (id INTEGER PRIMARY KEY, method TEXT NOT NULL, problem TEXT, detail TEXT,
    latency_seconds REAL NOT NULL, as_task INTEGER NOT NULL, remaining INTEGER NOT NULL);
CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
INSERT INTO counters VALUES ('machine', 0), ('task', 0);
"""
# Worlds that were made by an earlier release lack them.
_LATER = """
CREATE TABLE IF NOT EXISTS user_data (machine TEXT PRIMARY KEY, user_data TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS snapshots (ref TEXT PRIMARY KEY, machine TEXT NOT NULL, name TEXT NOT NULL,
    taken_at REAL NOT NULL, born INTEGER NOT NULL, cpus INTEGER, memory_mib INTEGER, disk_gib INTEGER,
    machine_id TEXT, token TEXT, restored INTEGER NOT NULL DEFAULT 0);
CREATE INDEX IF NOT EXISTS snapshots_by_machine ON snapshots (machine);
INSERT OR IGNORE INTO counters VALUES ('snapshot', 0);
"""
_BUSY_SECONDS = 20.0


class World:
    """Connections to one world file, one a thread."""

    def __init__(self, path: Path, options: Options) -> None:
        """Make the world where there is none. Raises ProviderUnavailable when the file cannot be used."""
        self._path = path
        self._local = threading.local()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with self.change() as connection:
                if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'about'").fetchone():
                    _populate(connection, options)
                for statement in _LATER.split(";"):
                    connection.execute(statement)
        except (OSError, sqlite3.Error) as error:
            message = f"The simulated datacenter's file {path} cannot be used: {error}."
            raise ProviderUnavailable(message) from error

    @contextmanager
    def change(self) -> Iterator[sqlite3.Connection]:
        """Lend a connection within a transaction that nobody else writes beside."""
        connection = self._connection()
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")

    def read(self, query: str, *values: object) -> list[sqlite3.Row]:
        """Return the rows of a query, after every task that is due has had its effect."""
        self.settle()
        return self._connection().execute(query, values).fetchall()

    def settle(self) -> None:
        """Carry out what is due."""
        due = "SELECT * FROM tasks WHERE state = 'running' AND finishes_at <= ?"
        if self._connection().execute(due, (time.time(),)).fetchone() is None:
            return
        with self.change() as connection:
            for task in connection.execute(due + " ORDER BY finishes_at", (time.time(),)).fetchall():
                _carry_out(connection, task)

    def close(self) -> None:
        """Close this thread's connection; the others close with their threads."""
        connection = getattr(self._local, "connection", None)
        if connection is not None:
            self._local.connection = None
            connection.close()

    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = sqlite3.connect(self._path, timeout=_BUSY_SECONDS, isolation_level=None)
            connection.row_factory = sqlite3.Row
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            self._local.connection = connection
        return connection


def next_number(connection: sqlite3.Connection, counter: str) -> int:
    """Return the counter's next value."""
    connection.execute("UPDATE counters SET value = value + 1 WHERE name = ?", (counter,))
    return int(connection.execute("SELECT value FROM counters WHERE name = ?", (counter,)).fetchone()[0])


def begin_task(
    connection: sqlite3.Connection, effect: str, machine: str, delay_seconds: float, **arguments: Any
) -> str:
    """Add a task that has its effect on the machine after the delay, or the fault that was injected for it."""
    ref = f"task-{next_number(connection, 'task')}"
    fault = take_fault(connection, effect, as_task=True)
    connection.execute(
        "INSERT INTO tasks VALUES (?, ?, ?, ?, ?, 'running', ?, ?)",
        (
            ref,
            effect,
            machine,
            json.dumps(arguments),
            time.time() + delay_seconds + (fault["latency_seconds"] if fault else 0),
            fault["problem"] if fault else None,
            fault["detail"] if fault else None,
        ),
    )
    return ref


def take_fault(connection: sqlite3.Connection, method: str, *, as_task: bool) -> sqlite3.Row | None:
    """Return the oldest fault injected for the method, one use of it spent."""
    found = connection.execute(
        "SELECT * FROM faults WHERE method IN (?, '*') AND as_task = ? AND remaining != 0 ORDER BY id LIMIT 1",
        (method, int(as_task)),
    ).fetchone()
    if found is not None and found["remaining"] > 0:
        connection.execute("UPDATE faults SET remaining = remaining - 1 WHERE id = ?", (found["id"],))
    return found  # type: ignore[no-any-return] # a row


def _carry_out(connection: sqlite3.Connection, task: sqlite3.Row) -> None:
    failed = task["problem"] is not None
    connection.execute("UPDATE tasks SET state = ? WHERE ref = ?", ("failed" if failed else "succeeded", task["ref"]))
    if failed:
        if task["effect"] == "create":
            connection.execute("DELETE FROM machines WHERE ref = ?", (task["machine"],))
        if task["effect"] == "snapshot":
            connection.execute("DELETE FROM snapshots WHERE ref = ?", (json.loads(task["arguments"])["snapshot"],))
        return
    arguments = json.loads(task["arguments"])
    if task["effect"] == "delete":
        connection.execute("DELETE FROM machines WHERE ref = ?", (task["machine"],))
        connection.execute("DELETE FROM user_data WHERE machine = ?", (task["machine"],))
        connection.execute("DELETE FROM snapshots WHERE machine = ?", (task["machine"],))
        return
    if "snapshot" in arguments:
        _carry_out_on_snapshot(connection, task["effect"], task["machine"], arguments["snapshot"])
        return
    assignments = ", ".join(f"{name} = ?" for name in arguments)  # names are this module's callers' own
    connection.execute(
        f"UPDATE machines SET {assignments} WHERE ref = ?",  # noqa: S608 - as above
        (*arguments.values(), task["machine"]),
    )


def _carry_out_on_snapshot(connection: sqlite3.Connection, effect: str, machine: str, snapshot: str) -> None:
    if effect == "snapshot":
        connection.execute("UPDATE snapshots SET born = 1 WHERE ref = ?", (snapshot,))
    if effect == "delete_snapshot":
        connection.execute("DELETE FROM snapshots WHERE ref = ?", (snapshot,))
    if effect == "restore":
        connection.execute("UPDATE snapshots SET restored = (ref = ?) WHERE machine = ?", (snapshot, machine))
        connection.execute(
            "UPDATE machines SET power = 'off', (cpus, memory_mib, disk_gib) = "
            "(SELECT cpus, memory_mib, disk_gib FROM snapshots WHERE ref = ?) WHERE ref = ?",
            (snapshot, machine),
        )


def _populate(connection: sqlite3.Connection, options: Options) -> None:
    for statement in _SCHEMA.split(";"):
        connection.execute(statement)
    connection.execute("INSERT INTO about VALUES (?)", (options.model_dump_json(),))
    hosts = [
        (f"host-{c}-{h}", f"sim{c:02}{h:03}", f"cluster-{c}", "up", options.host_cpus, options.host_memory_mib)
        for c in range(1, options.clusters + 1)
        for h in range(1, options.hosts_per_cluster + 1)
    ]
    connection.executemany("INSERT INTO hosts VALUES (?, ?, ?, ?, ?, ?)", hosts)
    stores = [(f"ds-{n}", f"store{n}", options.datastore_gib) for n in range(1, options.datastores + 1)]
    connection.executemany("INSERT INTO datastores VALUES (?, ?, ?)", stores)
    connection.executemany("INSERT INTO networks VALUES (?, ?)", [(f"net-{n}", n) for n in options.networks])
    connection.executemany("INSERT INTO images VALUES (?, ?)", [(f"img-{n}", n) for n in options.images])
    strangers = [
        (
            f"m-{n}",
            f"stranger{n:06}",
            "on",
            1,
            1,
            512,
            4,
            hosts[n % len(hosts)][0],
            stores[n % len(stores)][0],
            '["net"]',
        )
        for n in range(1, options.machines + 1)
    ]
    connection.executemany("INSERT INTO machines VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL, NULL, NULL)", strangers)
    connection.execute("UPDATE counters SET value = ? WHERE name = 'machine'", (options.machines,))
