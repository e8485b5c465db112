"""Virtual machines: what was asked for, what VAI has recorded and what the hypervisor showed last.

A machine keeps three things apart: its recorded ``state`` (VAI's own knowledge), the operation that runs on
it (found among the operations, never copied here) and the power that the hypervisor was seen to report.
"""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from vai_app.domain.lifetimes import Lifetime


class Power(StrEnum):
    """Power as a hypervisor reports it."""

    ON = "on"
    OFF = "off"
    SUSPENDED = "suspended"
    UNKNOWN = "unknown"


class PowerAction(StrEnum):
    """What may be asked of a machine's power."""

    START = "start"
    STOP = "stop"
    SHUTDOWN = "shutdown"
    REBOOT = "reboot"
    RESET = "reset"
    SUSPEND = "suspend"

    @property
    def target(self) -> Power:
        """The power that the machine shows when the action has succeeded."""
        return _POWER_AFTER[self]


_POWER_AFTER = {
    PowerAction.START: Power.ON,
    PowerAction.STOP: Power.OFF,
    PowerAction.SHUTDOWN: Power.OFF,
    PowerAction.REBOOT: Power.ON,
    PowerAction.RESET: Power.ON,
    PowerAction.SUSPEND: Power.SUSPENDED,
}


class MachineState(StrEnum):
    """What VAI has recorded of a machine."""

    REQUESTED = "requested"  # accepted; nothing is known to exist at the provider
    ACTIVE = "active"  # exists at the provider
    MISSING = "missing"  # existed, and was removed behind VAI's back
    FAILED = "failed"  # the creation failed; nothing was left, or the operation names the residue
    DELETED = "deleted"


@dataclass(frozen=True, slots=True)
class Size:
    """The size of a machine. ``disk_gib`` 0 takes the image's own disks as they are."""

    cpus: int
    memory_mib: int
    disk_gib: int = 0


@dataclass(frozen=True, slots=True)
class Location:
    """Where in a datacenter a machine goes; names or provider references, ``None`` leaves the choice to VAI."""

    cluster: str | None = None
    host: str | None = None
    datastore: str | None = None


@dataclass(frozen=True, slots=True)
class FixedAddress:
    """The IPv4 address that a machine gets in one of its networks."""

    network: str
    address: str


@dataclass(frozen=True, slots=True)
class MachineSpec:
    """What a user asks for. ``image`` is a template's or image's name or reference; ``None`` builds from scratch.

    ``keypair`` and ``security_groups`` are names of what the datacenter knows. ``lifetime_hours`` ``None`` keeps the
    machine as long as policies allow. ``user_data`` is whether there is any: it may hold secrets, and is kept apart.
    """

    name: str
    size: Size
    image: str | None = None
    networks: tuple[str, ...] = ()
    location: Location = Location()
    power_on: bool = True
    lifetime_hours: int | None = None
    fixed_addresses: tuple[FixedAddress, ...] = ()
    security_groups: tuple[str, ...] = ()
    keypair: str | None = None
    user_data: bool = False


@dataclass(frozen=True, slots=True)
class Mark:
    """What VAI writes into a native object as it makes it, and the only proof that the object is VAI's.

    ``token`` is the id of the operation that asked, and finds the object again after a lost answer.
    """

    machine_id: str
    token: str


class Making(StrEnum):
    """How far a hypervisor is with making a machine."""

    MADE = "made"
    UNDER_WAY = "under way"
    FAILED = "failed"  # given up: there is an object, which can only be removed


@dataclass(frozen=True, slots=True)
class MachineObservation:
    """What a hypervisor shows of one machine at one moment."""

    ref: str
    name: str
    power: Power
    size: Size
    host: str | None = None
    networks: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    mark: Mark | None = None
    making: Making = Making.MADE


@dataclass(frozen=True, slots=True)
class VirtualMachine:
    """A machine that VAI knows. ``tenant`` is ``None`` for one that VAI found and nobody adopted."""

    id: str
    name: str
    tenant: str | None
    datacenter_id: str
    state: MachineState
    spec: MachineSpec
    created_at: datetime
    provider_ref: str | None = None
    mark: Mark | None = None
    observed_power: Power = Power.UNKNOWN
    observed_host: str | None = None
    observed_size: Size | None = None
    observed_at: datetime | None = None
    networks: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    drift: tuple[str, ...] = ()
    problem: str | None = None
    labels: dict[str, str] = field(default_factory=dict)
    lifetime: Lifetime | None = None

    @property
    def managed(self) -> bool:
        """Whether VAI makes, made or adopted the machine; only such a machine is ever changed or deleted."""
        return self.tenant is not None


def drift_of(spec: MachineSpec, seen: MachineObservation) -> tuple[str, ...]:
    """Return a sentence for every property in which the hypervisor shows something else than was recorded."""
    differences = []
    if seen.name != spec.name:
        differences.append(f"name is {seen.name!r}, recorded {spec.name!r}")
    if seen.size.cpus != spec.size.cpus:
        differences.append(f"cpus is {seen.size.cpus}, recorded {spec.size.cpus}")
    if seen.size.memory_mib != spec.size.memory_mib:
        differences.append(f"memory_mib is {seen.size.memory_mib}, recorded {spec.size.memory_mib}")
    return tuple(differences)
