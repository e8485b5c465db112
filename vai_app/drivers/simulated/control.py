"""The control of a simulated world, from any process: injected faults, hosts that fail, changes behind VAI's back."""

from pathlib import Path

from vai_app.domain.datacenters import HostState
from vai_app.domain.errors import VaiError
from vai_app.domain.virtual_machines import Power
from vai_app.drivers.simulated.options import Options
from vai_app.drivers.simulated.world import World, next_number

FOR_EVER = -1


class Control:
    """What an operator of the simulation may do to it."""

    def __init__(self, path: Path, options: Options | None = None) -> None:
        """``options`` count only where the world file is new."""
        self._world = World(path, options or Options())

    def inject(
        self,
        method: str,
        error: VaiError | None = None,
        *,
        times: int = FOR_EVER,
        latency_seconds: float = 0,
        as_task: bool = False,
    ) -> None:
        """Let calls of a driver method (``*``: all), or tasks of an effect, be late and then fail with ``error``.

        Effects are create, delete, power, resize and mark.
        """
        with self._world.change() as connection:
            connection.execute(
                "INSERT INTO faults (method, problem, detail, latency_seconds, as_task, remaining) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                (
                    method,
                    error.problem if error else None,
                    error.detail if error else None,
                    latency_seconds,
                    int(as_task),
                    times,
                ),
            )

    def clear(self) -> None:
        """Take back every injected fault."""
        with self._world.change() as connection:
            connection.execute("DELETE FROM faults")

    def set_host_state(self, name: str, state: HostState) -> None:
        """Change a host's state; machines of a host that goes down stop."""
        with self._world.change() as connection:
            connection.execute("UPDATE hosts SET state = ? WHERE name = ?", (state.value, name))
            if state is HostState.DOWN:
                connection.execute(
                    "UPDATE machines SET power = 'off' WHERE host = (SELECT ref FROM hosts WHERE name = ?)", (name,)
                )

    def add_stranger(self, name: str, *, memory_mib: int = 1024) -> str:
        """Make a machine behind VAI's back and return its reference."""
        with self._world.change() as connection:
            ref = f"m-{next_number(connection, 'machine')}"
            connection.execute(
                "INSERT INTO machines SELECT ?, ?, 'off', 1, 1, ?, 8, "
                "(SELECT min(ref) FROM hosts), (SELECT min(ref) FROM datastores), '[]', NULL, NULL, NULL",
                (ref, name, memory_mib),
            )
            return ref

    def remove(self, ref: str) -> None:
        """Remove a machine behind VAI's back."""
        with self._world.change() as connection:
            connection.execute("DELETE FROM machines WHERE ref = ?", (ref,))
            connection.execute("DELETE FROM snapshots WHERE machine = ?", (ref,))

    def set_power(self, ref: str, power: Power) -> None:
        """Change a machine's power behind VAI's back."""
        with self._world.change() as connection:
            connection.execute("UPDATE machines SET power = ? WHERE ref = ?", (power.value, ref))

    def user_data(self, ref: str) -> str | None:
        """Return what a machine reads at its first start."""
        rows = self._world.read("SELECT user_data FROM user_data WHERE machine = ?", ref)
        return rows[0]["user_data"] if rows else None

    def restored_to(self, ref: str) -> str | None:
        """Return the snapshot to which a machine was restored last."""
        rows = self._world.read("SELECT ref FROM snapshots WHERE machine = ? AND restored = 1", ref)
        return rows[0]["ref"] if rows else None

    def snapshots(self) -> list[str]:
        """Return the name of every snapshot there is, being taken or taken."""
        return [row["name"] for row in self._world.read("SELECT name FROM snapshots ORDER BY name")]

    def remove_snapshots(self) -> None:
        """Remove all snapshots behind VAI's back."""
        with self._world.change() as connection:
            connection.execute("DELETE FROM snapshots")

    def names(self) -> list[str]:
        """Return the name of every machine there is, being made or made."""
        return [row["name"] for row in self._world.read("SELECT name FROM machines ORDER BY name")]
