"""Which host of its datacenter a machine moves to."""

from dataclasses import replace

import numpy as np

from vai_app.domain.capacity import DatacenterCapacity, Room
from vai_app.domain.datacenters import Host, HostState
from vai_app.domain.errors import CapacityShort, Conflict, HostUnavailable, NotFound
from vai_app.domain.placement.arrays import CapacityArrays
from vai_app.domain.placement.choice import Chooser
from vai_app.domain.virtual_machines import MachineObservation


def target_of_move(
    here: DatacenterCapacity, seen: MachineObservation, asked: str | None, *, is_source_off: bool, seed: str
) -> Host:
    """Return the host that was asked for, by reference or name, or one that placement chooses as for a new machine.

    ``is_source_off`` is what whoever asks says of the host that the machine is on; ``seed`` names the request. Raises
    NotFound (no such host), HostUnavailable (it is not up), CapacityShort (no room there, or anywhere), Conflict (the
    machine is there, the datacenter shows no host, the machine's host does not answer and nobody says that it is off,
    or it answers).
    """
    inventory = here.datacenter.inventory
    now = inventory.host(seen.host) if seen.host is not None else None
    if not inventory.hosts:
        message = f"Datacenter {here.datacenter.name} shows VAI no hosts. Its account needs the right to see them."
        raise Conflict(message)
    _check_source(seen, now, is_source_off=is_source_off)
    if asked is None:
        return _chosen(here, seen, now, seed)
    target = inventory.host(asked)
    if target is None:
        names = ", ".join(sorted(each.name for each in inventory.hosts)[:10])
        message = f"Datacenter {here.datacenter.name} has no host {asked!r}. Some that it has: {names}."
        raise NotFound(message)
    if target == now:
        message = f"Machine {seen.name} is on host {target.name} already."
        raise Conflict(message)
    if target.state is not HostState.UP:
        message = f"Host {target.name} is {target.state}. Choose another, or bring it up."
        raise HostUnavailable(message)
    return target


def _check_source(seen: MachineObservation, now: Host | None, *, is_source_off: bool) -> None:
    name, is_down = (now.name, now.state is HostState.DOWN) if now is not None else ("that it is on", False)
    if is_down and not is_source_off:
        message = (
            f"Host {name} does not answer, and {seen.name} may still run there: made anew elsewhere it would run "
            "twice. Make sure that the host is off, and say so."
        )
        raise Conflict(message)
    if is_source_off and not is_down:
        message = f"Host {name} is not off as far as its datacenter knows. Move {seen.name} without saying that it is."
        raise Conflict(message)


def _chosen(here: DatacenterCapacity, seen: MachineObservation, now: Host | None, seed: str) -> Host:
    """Return a host that may have the machine, of those that have room once it has left its own."""
    room = Room(seen.size.cpus, seen.size.memory_mib)  # its disk stays where it is
    hosts = tuple(replace(each, reserved=each.reserved - room) if each.host == now else each for each in here.hosts)
    arrays = CapacityArrays([replace(here, hosts=hosts, quota=())])
    may_have = np.array([_may_have(each.host, now) for each in hosts], np.bool_)
    rows = Chooser(arrays, tenant="").choose(room, seed, among=may_have)
    if not rows:
        message = (
            f"No other host that is up and shares the machine's cluster and storage has room for {room.cpus} CPUs and "
            f"{room.memory_mib} MiB."
        )
        raise CapacityShort(message)
    return hosts[rows[0]].host


def _may_have(host: Host, now: Host | None) -> bool:
    """Whether a machine of the one host can run on the other as it is."""
    if now is None:
        return True
    return host != now and host.cluster == now.cluster and set(now.datastores) <= set(host.datastores)
