"""Between what OpenStack's services answer and VAI's domain, pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from vai_app.domain.datacenters import Host, HostState, Image, Network, ProviderQuota
from vai_app.domain.errors import InvalidRequest
from vai_app.domain.virtual_machines import MachineObservation, Making, Mark, Power, Size

Row = dict[str, Any]

MACHINE_KEY, TOKEN_KEY = "vai.machine", "vai.token"
HOST = "OS-EXT-SRV-ATTR:hypervisor_hostname"  # shown to administrators
RESIZED = "VERIFY_RESIZE"  # the copy is made, and the old one kept until somebody confirms
ERROR, DELETED = "ERROR", ("DELETED", "SOFT_DELETED")
_POWER = {
    "ACTIVE": Power.ON,
    "REBOOT": Power.ON,
    "HARD_REBOOT": Power.ON,
    "PASSWORD": Power.ON,
    "SHUTOFF": Power.OFF,
    "SHELVED": Power.OFF,
    "SHELVED_OFFLOADED": Power.OFF,
    "SUSPENDED": Power.SUSPENDED,
    "PAUSED": Power.SUSPENDED,
    ERROR: Power.OFF,
}
_RUNNING = 1


@dataclass(frozen=True, slots=True)
class Flavor:
    """A flavor and the size that it gives."""

    ref: str
    name: str
    size: Size


def flavor_of(row: Row) -> Flavor:
    """Return a flavor as Nova lists it."""
    return Flavor(row["id"], row["name"], Size(row["vcpus"], row["ram"], row["disk"]))


def choose_flavor(flavors: Iterable[Flavor], size: Size) -> Flavor:
    """Return the flavor of exactly this size; disk 0 takes the smallest. Raises InvalidRequest with the nearest."""
    known = sorted(flavors, key=lambda each: (each.size.memory_mib, each.size.cpus, each.size.disk_gib))
    for each in known:
        same = (each.size.cpus, each.size.memory_mib) == (size.cpus, size.memory_mib)
        if same and size.disk_gib in (0, each.size.disk_gib):
            return each
    holding = [each for each in known if _holds(each.size, size)] or known[-3:]
    nearest = "; ".join(f"{each.name}: {_told(each.size)}" for each in holding[:3]) or "there is none"
    message = f"No flavor has {_told(size)}. Ask for the size of one. The nearest: {nearest}."
    raise InvalidRequest(message, [{"field": "size", "message": message}])


def observation_of(server: Row, on_volumes: Mapping[str, int]) -> MachineObservation:
    """Return a machine as one row of Nova's detailed list shows it.

    ``on_volumes`` are the GiB of what servers boot from, where that is a volume, by the server's id.
    """
    flavor = server["flavor"]
    addresses: Mapping[str, list[Row]] = server["addresses"]
    return MachineObservation(
        ref=server["id"],
        name=server["name"],
        power=power_of(server),
        size=Size(flavor["vcpus"], flavor["ram"], on_volumes.get(server["id"], flavor["disk"])),
        host=server.get(HOST),
        networks=tuple(sorted(addresses)),
        addresses=tuple(each["addr"] for name in sorted(addresses) for each in addresses[name]),
        mark=mark_in(server["metadata"]),
        making=_making(server),
    )


def marking(mark: Mark) -> dict[str, str]:
    """Return the mark as metadata."""
    return {MACHINE_KEY: mark.machine_id, TOKEN_KEY: mark.token}


def mark_in(metadata: Row) -> Mark | None:
    """Return the mark that metadata hold."""
    if MACHINE_KEY not in metadata or TOKEN_KEY not in metadata:
        return None
    return Mark(metadata[MACHINE_KEY], metadata[TOKEN_KEY])


def power_of(server: Row) -> Power:
    """Return the power; what Nova is unsure of is unknown."""
    if server["status"] == RESIZED:
        return Power.ON if server.get("OS-EXT-STS:power_state") == _RUNNING else Power.OFF
    return _POWER.get(server["status"], Power.UNKNOWN)


def is_busy(server: Row) -> bool:
    """Whether Nova is still working on the server."""
    return server.get("OS-EXT-STS:task_state") is not None


def image_of(row: Row) -> Image:
    """Return an image as Glance lists it."""
    return Image(ref=row["id"], name=row["name"] or row["id"], size_gib=int(row.get("min_disk") or 0))


def network_of(row: Row) -> Network:
    """Return a network as Neutron lists it."""
    return Network(ref=row["id"], name=row["name"] or row["id"])


def host_of(hypervisor: Row, inventories: Mapping[str, Row], usages: Mapping[str, int]) -> Host:
    """Return a host: its state is Nova's, its capacity and use are Placement's, with allocation ratios."""
    enabled = hypervisor["status"] == "enabled"
    up = HostState.UP if hypervisor["state"] == "up" else HostState.DOWN
    return Host(
        ref=hypervisor["hypervisor_hostname"],
        name=hypervisor["hypervisor_hostname"],
        cluster=None,
        state=up if enabled or up is HostState.DOWN else HostState.MAINTENANCE,
        power=Power.ON if up is HostState.UP else Power.UNKNOWN,
        cpus=_capacity(inventories.get("VCPU")),
        memory_mib=_capacity(inventories.get("MEMORY_MB")),
        used_cpus=int(usages.get("VCPU", 0)),
        used_memory_mib=int(usages.get("MEMORY_MB", 0)),
        own_ratios=True,
    )


def quota_of(limits: Row) -> ProviderQuota | None:
    """Return the project's quota as Nova's limits show it: -1 is no limit; ``None`` where nothing is limited."""
    names = {
        "machines": ("maxTotalInstances", "totalInstancesUsed"),
        "cpus": ("maxTotalCores", "totalCoresUsed"),
        "memory_mib": ("maxTotalRAMSize", "totalRAMUsed"),
    }
    limited = {dimension: each for dimension, each in names.items() if limits.get(each[0], -1) >= 0}
    if not limited:
        return None
    return ProviderQuota(
        limit={dimension: limits[most] for dimension, (most, _) in limited.items()},
        used={dimension: limits[used] for dimension, (_, used) in limited.items()},
    )


def _making(server: Row) -> Making:
    if server["status"] == "BUILD":
        return Making.UNDER_WAY
    failed = server["status"] == ERROR and not server.get("OS-SRV-USG:launched_at")
    return Making.FAILED if failed else Making.MADE


def _capacity(inventory: Row | None) -> int:
    """Return what may be allocated: Placement's own formula, (total - reserved) * allocation_ratio."""
    if inventory is None:
        return 0
    return int((inventory["total"] - inventory["reserved"]) * inventory["allocation_ratio"])


def _holds(size: Size, wanted: Size) -> bool:
    return size.cpus >= wanted.cpus and size.memory_mib >= wanted.memory_mib and size.disk_gib >= wanted.disk_gib


def _told(size: Size) -> str:
    disk = f", {size.disk_gib} GiB of disk" if size.disk_gib else ""
    return f"{size.cpus} CPUs, {size.memory_mib} MiB{disk}"
