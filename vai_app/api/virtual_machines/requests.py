"""What may be asked of machines and batches."""

from dataclasses import replace
from ipaddress import IPv4Address
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from vai_app.api.requests import Body, Identifier, Moment, ObjectName, PageQuery, Query
from vai_app.domain.lifetimes import LONGEST_HOURS
from vai_app.domain.placement.asks import Elsewhere, PlacementWish, Scope
from vai_app.domain.placement.batches import BatchRules
from vai_app.domain.virtual_machines import FixedAddress, Location, MachineSpec, MachineState, Power, PowerAction, Size
from vai_app.services.arguments import BatchMachine

_LIFETIME = "Hours until it is deleted; none is as long as policies allow, or until somebody deletes it."
MachineName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
LabelName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9]([A-Za-z0-9._/-]{0,62})$")]
LabelValue = Annotated[str, StringConstraints(max_length=255, pattern=r"^[^\x00-\x1f\x7f]*$")]
LifetimeHours = Annotated[int, Field(ge=1, le=LONGEST_HOURS, description=_LIFETIME)]
UserData = Annotated[
    str,
    StringConstraints(
        min_length=4,
        max_length=65_532,
        pattern=r"^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{4})$",
    ),
]
Cpus = Annotated[int, Field(ge=1, le=1024, description="Virtual CPUs.")]
MemoryMib = Annotated[int, Field(ge=64, le=16_777_216, description="Memory in MiB.")]
DiskGib = Annotated[int, Field(ge=0, le=65_536, description="Disk in GiB; 0 takes the image's disks as they are.")]


class LocationBody(Body):
    """Where in the datacenter, by name or reference; what is left out is chosen."""

    cluster: ObjectName | None = None
    host: ObjectName | None = None
    datastore: ObjectName | None = None

    def location(self) -> Location:
        """Return what is asked for."""
        return Location(self.cluster, self.host, self.datastore)


class PlacementBody(Body):
    """What becomes of the machine where the datacenter is short, and which machines it must be apart from or near."""

    elsewhere: Literal[*(each.value for each in Elsewhere)] = Field(  # type: ignore[valid-type]
        default=Elsewhere.ASK.value,
        description="Where the datacenter is short: never another, another if confirmed, or another automatically.",
    )
    apart_from: list[Identifier] = Field(default=[], max_length=100, description="Ids of machines.")
    together_with: list[Identifier] = Field(default=[], max_length=100, description="Ids of machines.")
    scope: Literal[*(each.value for each in Scope)] = Field(  # type: ignore[valid-type]
        default=Scope.HOST.value, description="What the machines are apart or together in."
    )

    def wish(self) -> PlacementWish:
        """Return what is asked for."""
        return PlacementWish(
            elsewhere=Elsewhere(self.elsewhere),
            apart_from=tuple(self.apart_from),
            together_with=tuple(self.together_with),
            scope=Scope(self.scope),
        )


class FixedAddressBody(Body):
    """The address that a machine gets in a network; OpenStack lets only a network's owner choose one."""

    network: ObjectName
    address: IPv4Address


class BatchMachineBody(Body):
    """A machine of a batch."""

    name: MachineName = Field(description="A DNS label, unique in the tenant.")
    cpus: Cpus
    memory_mib: MemoryMib
    disk_gib: DiskGib = 0
    image: ObjectName | None = Field(default=None, description="Template or image; none builds from scratch.")
    networks: list[ObjectName] = Field(default=[], max_length=10)
    power_on: bool = True
    labels: dict[LabelName, LabelValue] = Field(default={}, max_length=64)
    lifetime_hours: LifetimeHours | None = None
    fixed_addresses: list[FixedAddressBody] = Field(
        default=[], max_length=10, description="A network that is not among the networks is added."
    )
    security_groups: list[ObjectName] = Field(default=[], max_length=10, description="Names or ids.")
    keypair: ObjectName | None = Field(default=None, description="Name of a key pair of VAI's account there.")

    def spec(self) -> MachineSpec:
        """Return what is asked for."""
        return MachineSpec(
            name=self.name,
            size=Size(self.cpus, self.memory_mib, self.disk_gib),
            image=self.image,
            networks=tuple(dict.fromkeys([*self.networks, *(each.network for each in self.fixed_addresses)])),
            fixed_addresses=tuple(FixedAddress(each.network, str(each.address)) for each in self.fixed_addresses),
            security_groups=tuple(self.security_groups),
            keypair=self.keypair,
            power_on=self.power_on,
            lifetime_hours=self.lifetime_hours,
        )


class MachineBody(BatchMachineBody):
    """A machine to create."""

    datacenter: Identifier = Field(description="Name or id of the datacenter.")
    location: LocationBody = Field(default_factory=LocationBody)
    user_data: UserData | None = Field(
        default=None, description="What the guest reads at its first start (cloud-init), in base64. Kept encrypted."
    )
    placement: PlacementBody = Field(default_factory=PlacementBody)

    def spec(self) -> MachineSpec:
        """Return what is asked for."""
        location = self.location.location()
        return replace(super().spec(), location=location, user_data=self.user_data is not None)


class BatchBody(Body):
    """Machines to create together."""

    machines: list[BatchMachineBody] = Field(min_length=1, max_length=100)
    datacenters: list[Identifier] = Field(
        default=[], max_length=100, description="Names or ids of those that may be chosen; none means any."
    )
    apart: Literal["nothing", *(each.value for each in Scope)] = Field(  # type: ignore[valid-type]
        default="nothing", description="What no two machines of the batch share."
    )
    largest_share: float = Field(
        default=1.0, gt=0, le=1, strict=False, description="The part of the batch that one datacenter may get."
    )
    all_or_nothing: bool = Field(default=True, description="Whether one missing machine undoes the batch.")

    def batch(self) -> tuple[list[BatchMachine], BatchRules]:
        """Return what is asked for."""
        machines = [BatchMachine(each.spec(), each.labels) for each in self.machines]
        apart = Scope(self.apart) if self.apart != "nothing" else None
        return machines, BatchRules(apart, self.largest_share, self.all_or_nothing)


class PowerBody(Body):
    """A power action."""

    action: Literal[*(action.value for action in PowerAction)]  # type: ignore[valid-type]

    def power_action(self) -> PowerAction:
        """Return the action."""
        return PowerAction(self.action)


class ResizeBody(Body):
    """Another size. ``disk_gib`` 0 leaves the disk; it may grow and never shrinks."""

    cpus: Cpus
    memory_mib: MemoryMib
    disk_gib: DiskGib = 0

    def size(self) -> Size:
        """Return the size."""
        return Size(self.cpus, self.memory_mib, self.disk_gib)


class MigrateBody(Body):
    """Where a machine moves within its datacenter."""

    host: ObjectName | None = Field(
        default=None, description="A host's name or reference; none leaves the choice to VAI."
    )
    host_is_off: bool = Field(
        default=False,
        description="Your word that the machine's host, which does not answer, is off. Otherwise it may run twice.",
    )


class RenewBody(Body):
    """A new lifetime, from now."""

    lifetime_hours: LifetimeHours | None = None


class AdoptBody(Body):
    """Who gets a machine that VAI found."""

    tenant: Identifier | None = Field(default=None, description="The new owner; none is the caller's tenant.")


class MachineQuery(PageQuery):
    """Which machines."""

    datacenter: Identifier | None = Field(default=None, description="Name or id of a datacenter.")
    state: MachineState | None = Field(default=None, description="Recorded state.")
    power: Power | None = Field(default=None, description="Observed power.")
    name: ObjectName | None = Field(default=None, description="Exact name.")
    name_prefix: ObjectName | None = Field(default=None, description="Beginning of the name.")
    managed: bool | None = Field(default=None, description="Made or adopted by VAI, or not.")
    expires_before: Moment | None = Field(default=None, description="With a lifetime that ends before.")
    include_deleted: bool = Field(default=False, description="Deleted machines too.")


class CreationQuery(Query):
    """How a creation is meant."""

    dry_run: bool = Field(default=False, description="Create nothing; explain where the machine would go and why.")
