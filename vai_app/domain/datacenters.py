"""Datacenters: how one is reached, and what its hypervisor shows of clusters, hosts, storage, networks, images."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from vai_app.domain.statistics import StatisticsSettings
from vai_app.domain.virtual_machines import Power


class HostState(StrEnum):
    """Whether a host can take work."""

    UP = "up"
    DOWN = "down"
    MAINTENANCE = "maintenance"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Host:
    """A host and its capacity; ``used_*`` is what the machines that run on it were given."""

    ref: str
    name: str
    cluster: str | None
    state: HostState
    power: Power
    cpus: int
    memory_mib: int
    used_cpus: int = 0
    used_memory_mib: int = 0
    datastores: tuple[str, ...] = ()
    own_ratios: bool = False  # cpus and memory_mib are what the hypervisor gives out, by allocation ratios of its own


@dataclass(frozen=True, slots=True)
class Cluster:
    """A group of hosts that the hypervisor manages together."""

    ref: str
    name: str


@dataclass(frozen=True, slots=True)
class Datastore:
    """Storage for disks."""

    ref: str
    name: str
    capacity_gib: int
    free_gib: int
    accessible: bool = True


@dataclass(frozen=True, slots=True)
class Network:
    """A network that a machine can be attached to."""

    ref: str
    name: str


@dataclass(frozen=True, slots=True)
class Image:
    """Something a machine is created from: a template, an image."""

    ref: str
    name: str
    size_gib: int = 0


@dataclass(frozen=True, slots=True)
class ProviderQuota:
    """What the hypervisor lets VAI's account have in all, and what is used of it, by VAI's machines and by others.

    By dimension: ``machines``, ``cpus``, ``memory_mib``. One that is not limited is in neither.
    """

    limit: dict[str, int]
    used: dict[str, int]


@dataclass(frozen=True, slots=True)
class Inventory:
    """Everything of a datacenter but its machines, read in one bulk request."""

    clusters: tuple[Cluster, ...] = ()
    hosts: tuple[Host, ...] = ()
    datastores: tuple[Datastore, ...] = ()
    networks: tuple[Network, ...] = ()
    images: tuple[Image, ...] = ()
    quota: ProviderQuota | None = None  # where the hypervisor limits VAI's account
    capabilities: tuple[str, ...] | None = None  # of its driver with this account; unknown before the first listing

    def host(self, named: str) -> Host | None:
        """Return a host by reference or name."""
        return next((each for each in self.hosts if named in (each.ref, each.name)), None)


@dataclass(frozen=True, slots=True)
class About:
    """What answers at the other end: product name and version, and the account that VAI is there."""

    product: str
    version: str
    account: str


@dataclass(frozen=True, slots=True)
class Connection:
    """How to reach a datacenter's management interface. ``credentials`` never leave the process unencrypted.

    ``options`` are specific to the kind of hypervisor; every driver documents and validates its own.
    """

    datacenter_id: str
    kind: str
    endpoint: str
    credentials: dict[str, str] = field(default_factory=dict, repr=False)
    verify_tls: bool = True
    ca_certificate: str | None = None
    call_timeout_seconds: float = 30.0
    options: dict[str, Any] = field(default_factory=dict)


class PlacementStrategy(StrEnum):
    """How a datacenter's hosts are filled."""

    SPREAD = "spread"  # evenly, by the memory that is left
    PACK = "pack"  # so that large machines still find room
    POWER = "power"  # so that empty hosts can stay asleep


@dataclass(frozen=True, slots=True)
class PlacementSettings:
    """What an operator says about placement in a datacenter.

    ``failover_hosts`` is how many of its largest hosts may fail and leave room for all machines. ``cost`` (per
    machine, in the site's own unit) and ``latency_ms`` (to its users) compare datacenters; ``preferred_by`` are
    the tenants that would rather be here. A ``*_ratio`` is how much of each thing is given out for one that is there:
    16 virtual CPUs for one of the hardware, unless somebody says otherwise, as OpenStack has it.
    """

    strategy: PlacementStrategy = PlacementStrategy.SPREAD
    failover_hosts: int = 0
    cost: float = 0.0
    latency_ms: float = 0.0
    preferred_by: tuple[str, ...] = ()
    cpu_ratio: float = 16.0
    memory_ratio: float = 1.0
    disk_ratio: float = 1.0


class Reachability(StrEnum):
    """What VAI last found when it asked the datacenter."""

    UNKNOWN = "unknown"
    REACHABLE = "reachable"
    UNREACHABLE = "unreachable"


@dataclass(frozen=True, slots=True)
class Datacenter:
    """A registered datacenter, without its credentials. ``revision`` grows with each change of configuration."""

    id: str
    name: str
    kind: str
    endpoint: str
    enabled: bool
    revision: int
    created_at: datetime
    verify_tls: bool = True
    ca_certificate: str | None = None
    call_timeout_seconds: float = 30.0
    options: dict[str, Any] = field(default_factory=dict)
    placement: PlacementSettings = PlacementSettings()
    statistics: StatisticsSettings = field(default_factory=StatisticsSettings)
    reachability: Reachability = Reachability.UNKNOWN
    problem: str | None = None
    about: About | None = None
    inventory: Inventory = Inventory()
    observed_at: datetime | None = None
    collected_at: datetime | None = None  # when statistics were last read, all of them
    collection_problem: str | None = None  # why the last try did not get them
