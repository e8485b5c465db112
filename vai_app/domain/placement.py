"""Placement inside a datacenter, pure: which hosts and datastores fit a machine, best first, and why others do not."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

from vai_app.domain.datacenters import Datastore, Host, HostState, Inventory
from vai_app.domain.errors import CapacityShort, HostUnavailable, NotFound
from vai_app.domain.virtual_machines import Location, MachineSpec

MOST_CANDIDATES = 3


@dataclass(frozen=True, slots=True)
class HostVerdict:
    """Whether a host fits, with the first reason why not."""

    host: Host
    refused_because: str | None


def choose_locations(inventory: Inventory, spec: MachineSpec, seed: str) -> list[Location]:
    """Return up to three locations that fit, best first.

    Among the hosts that fit, one is drawn with a weight of its free memory by weighted rendezvous hashing of
    ``seed`` (Thaler and Ravishankar 1998): many requests at once spread without knowing of each other, and one
    request asked twice gets the same answer. Raises NotFound, HostUnavailable, CapacityShort.
    """
    wanted = spec.location
    datastore = _choose_datastore(inventory.datastores, spec)
    if not inventory.hosts:
        return [Location(cluster=wanted.cluster, host=wanted.host, datastore=datastore)]
    cluster = _cluster_ref(inventory, wanted.cluster)
    verdicts = [judge_host(host, spec, cluster) for host in inventory.hosts]
    fitting = [verdict.host for verdict in verdicts if verdict.refused_because is None]
    if not fitting:
        raise _refusal(verdicts, wanted)
    ranked = sorted(fitting, key=lambda host: _score(host, seed), reverse=True)
    return [
        Location(cluster=host.cluster, host=host.ref, datastore=_reachable(inventory, host, datastore, spec))
        for host in ranked[:MOST_CANDIDATES]
    ]


def judge_host(host: Host, spec: MachineSpec, cluster: str | None) -> HostVerdict:
    """Return the verdict on one host; ``cluster`` is a reference."""
    return HostVerdict(host, _reason_against(host, spec, cluster))


def _reason_against(host: Host, spec: MachineSpec, cluster: str | None) -> str | None:
    if spec.location.host not in (None, host.ref, host.name):
        return "another host was asked for"
    if cluster not in (None, host.cluster):
        return "another cluster was asked for"
    if host.state is not HostState.UP:
        return f"the host is {host.state}"
    if spec.size.cpus > host.cpus:
        return f"{spec.size.cpus} CPUs asked, the host has {host.cpus}"
    free_mib = host.memory_mib - host.used_memory_mib
    if spec.size.memory_mib > free_mib:
        return f"{spec.size.memory_mib} MiB asked, {max(free_mib, 0)} MiB free"
    return None


def _refusal(verdicts: Sequence[HostVerdict], wanted: Location) -> CapacityShort | HostUnavailable | NotFound:
    asked = [verdict for verdict in verdicts if "asked for" not in (verdict.refused_because or "")]
    if not asked:
        what = f"host {wanted.host!r}" if wanted.host else f"cluster {wanted.cluster!r}"
        return NotFound(f"The datacenter has no {what}. 'vai datacenter inventory' lists what it has.")
    reasons = "; ".join(f"{verdict.host.name}: {verdict.refused_because}" for verdict in asked[:10])
    if all(verdict.host.state is not HostState.UP for verdict in asked):
        return HostUnavailable(f"No host can take the machine. {reasons}.")
    return CapacityShort(f"No host has room for the machine. {reasons}.")


def _cluster_ref(inventory: Inventory, wanted: str | None) -> str | None:
    for cluster in inventory.clusters:
        if wanted in (cluster.ref, cluster.name):
            return cluster.ref
    return wanted


def _choose_datastore(datastores: Sequence[Datastore], spec: MachineSpec) -> str | None:
    """Return the asked datastore's reference, or the one with most room; ``None`` where none is known."""
    wanted = spec.location.datastore
    if not datastores:
        return wanted
    named = [store for store in datastores if wanted in (None, store.ref, store.name)]
    if not named:
        message = f"The datacenter has no datastore {wanted!r}. 'vai datacenter inventory' lists what it has."
        raise NotFound(message)
    fitting = [store for store in named if store.accessible and store.free_gib >= spec.size.disk_gib]
    if not fitting:
        reasons = "; ".join(f"{store.name}: {store.free_gib} GiB free" for store in named[:10])
        message = f"No datastore has {spec.size.disk_gib} GiB free. {reasons}."
        raise CapacityShort(message)
    return max(fitting, key=lambda store: store.free_gib).ref


def _reachable(inventory: Inventory, host: Host, datastore: str | None, spec: MachineSpec) -> str | None:
    """Return a datastore that the host can reach: the chosen one, or the host's roomiest."""
    if not host.datastores or datastore in host.datastores:
        return datastore
    local = [store for store in inventory.datastores if store.ref in host.datastores]
    return _choose_datastore(local, spec) if local else datastore


def _score(host: Host, seed: str) -> float:
    """Return the rendezvous score; the chance to be first is the host's share of all free memory."""
    free_mib = max(host.memory_mib - host.used_memory_mib, 1)
    digest = hashlib.blake2b(f"{seed}/{host.ref}".encode(), digest_size=8).digest()
    uniform = (int.from_bytes(digest) + 1) / (2**64 + 2)
    return -free_mib / math.log(uniform)
