"""How much a policy allows: as it is asked for, and as it is shown."""

from dataclasses import asdict, dataclass
from typing import Annotated, Any

from pydantic import Field

from vai_app.api.configuration.resource import Names
from vai_app.api.requests import Body, ObjectName
from vai_app.domain.policies import LIMIT_NAMES, Limits

Count = Annotated[int, Field(ge=0, le=2_000_000_000)]
ObjectNames = Annotated[list[ObjectName], Field(max_length=1024)]


class LimitsBody(Body):
    """How much may be asked; what is left out is not limited."""

    machine_cpus: Count | None = Field(default=None, description="Virtual CPUs of one machine.")
    machine_memory_mib: Count | None = Field(default=None, description="Memory of one machine, MiB.")
    machine_disk_gib: Count | None = Field(default=None, description="Disk of one machine, GiB.")
    machines: Count | None = Field(default=None, description="Machines of the tenant.")
    total_cpus: Count | None = Field(default=None, description="Virtual CPUs of the tenant.")
    total_memory_mib: Count | None = Field(default=None, description="Memory of the tenant, MiB.")
    total_disk_gib: Count | None = Field(default=None, description="Disk of the tenant, GiB.")
    datacenters: ObjectNames | None = Field(default=None, description="Names or ids of the only datacenters.")
    hypervisors: Names | None = Field(default=None, description="The only kinds of hypervisor.")
    networks: ObjectNames | None = Field(default=None, description="The only networks.")
    images: ObjectNames | None = Field(default=None, description="The only images.")
    lifetime_hours: Count | None = Field(default=None, description="After so long a machine is deleted.")
    lifetime_warning_hours: Count | None = Field(default=None, description="So long before, a warning is given.")
    snapshots: Count | None = Field(default=None, description="Snapshots kept of a machine.")
    auto_recovery: bool | None = Field(default=None, description="Whether machines may be recovered by themselves.")

    def limits(self) -> Limits:
        """Return the limits."""
        given: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in self.model_dump().items()
        }
        return Limits(**given)


@dataclass(slots=True)
class LimitsView:
    """Limits; ``null`` limits nothing."""

    machine_cpus: int | None
    machine_memory_mib: int | None
    machine_disk_gib: int | None
    machines: int | None
    total_cpus: int | None
    total_memory_mib: int | None
    total_disk_gib: int | None
    datacenters: list[str] | None
    hypervisors: list[str] | None
    networks: list[str] | None
    images: list[str] | None
    lifetime_hours: int | None
    lifetime_warning_hours: int | None
    snapshots: int | None
    auto_recovery: bool | None


def limits_view(limits: Limits) -> LimitsView:
    """Return limits as they are shown."""
    given = asdict(limits)
    return LimitsView(**{name: given[name] for name in LIMIT_NAMES})
