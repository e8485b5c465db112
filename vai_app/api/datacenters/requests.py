"""What may be asked of datacenters."""

from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, StringConstraints

from vai_app.api.requests import Body, Identifier, Query
from vai_app.domain.datacenters import PlacementSettings, PlacementStrategy
from vai_app.domain.statistics import Metric, StatisticsSettings

DatacenterName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,62})$")]
Kind = Annotated[str, StringConstraints(pattern=r"^[a-z]{1,32}$")]


def _address(text: str) -> str:
    """Refuse what the pattern lets pass and no URL is, such as half an IPv6 address or a port beyond all ports."""
    try:
        urlsplit(text).port  # noqa: B018 - read for its error
    except ValueError as error:
        raise ValueError("must be a URL") from error
    return text


Endpoint = Annotated[
    str,
    StringConstraints(min_length=1, max_length=1024, pattern=r"^[a-z][a-z0-9+.-]*:/[^\s\x00]*$"),
    AfterValidator(_address),
]
Secret = Annotated[str, StringConstraints(max_length=4096)]
Credentials = dict[Annotated[str, StringConstraints(pattern=r"^[a-z_]{1,64}$")], Secret]
Ratio = Annotated[float, Field(gt=0, le=1000, strict=False)]
TimeoutSeconds = Annotated[float, Field(gt=0, le=300, strict=False)]
Certificate = Annotated[str, StringConstraints(max_length=65_536)]


class PlacementSettingsBody(Body):
    """How a datacenter's hosts are filled, what is kept free, and what it is like beside others."""

    strategy: Literal[*(each.value for each in PlacementStrategy)] = Field(  # type: ignore[valid-type]
        default=PlacementStrategy.SPREAD.value, description="Even, packed for large machines, or packed to save power."
    )
    failover_hosts: int = Field(default=0, ge=0, le=100, description="So many of its largest hosts may fail.")
    cost: float = Field(default=0.0, ge=0, le=1e9, strict=False, description="Of a machine, in the site's own unit.")
    latency_ms: float = Field(default=0.0, ge=0, le=1e6, strict=False, description="To its users.")
    preferred_by: list[Identifier] = Field(default=[], max_length=100, description="Tenants that would rather be here.")
    cpu_ratio: Ratio = Field(default=16.0, description="Virtual CPUs for one of the hardware.")
    memory_ratio: Ratio = Field(default=1.0, description="MiB given to machines for one of the hardware.")
    disk_ratio: Ratio = Field(default=1.0, description="GiB promised for one of a datastore; above 1 with thin disks.")

    def settings(self) -> PlacementSettings:
        """Return the settings."""
        return PlacementSettings(
            strategy=PlacementStrategy(self.strategy),
            failover_hosts=self.failover_hosts,
            cost=self.cost,
            latency_ms=self.latency_ms,
            preferred_by=tuple(self.preferred_by),
            cpu_ratio=self.cpu_ratio,
            memory_ratio=self.memory_ratio,
            disk_ratio=self.disk_ratio,
        )


class StatisticsSettingsBody(Body):
    """What is measured in a datacenter, how often, and how long it is kept."""

    enabled: bool = True
    interval_seconds: int = Field(default=60, ge=5, le=86_400)
    retention_hours: int = Field(default=24, ge=1, le=8760, description="What was kept before stays as long as then.")
    batch_size: int = Field(default=100, ge=1, le=1000, description="Machines that one call asks about.")
    metrics: list[Literal[*(each.value for each in Metric)]] = Field(  # type: ignore[valid-type]
        default=[each.value for each in Metric], min_length=1, max_length=len(Metric)
    )

    def settings(self) -> StatisticsSettings:
        """Return the settings."""
        return StatisticsSettings(
            enabled=self.enabled,
            interval_seconds=self.interval_seconds,
            retention_hours=self.retention_hours,
            batch_size=self.batch_size,
            metrics=tuple(dict.fromkeys(Metric(each) for each in self.metrics)),
        )


class DatacenterBody(Body):
    """A datacenter to register."""

    name: DatacenterName
    kind: Kind = Field(description="vmware, simulated, ...: a kind that has a driver.")
    endpoint: Endpoint = Field(description="URL of the management interface.")
    credentials: Credentials = Field(default={}, max_length=16, description="Such as username and password.")
    verify_tls: bool = True
    ca_certificate: Certificate | None = Field(default=None, description="PEM of the authority to trust.")
    call_timeout_seconds: TimeoutSeconds = 30.0
    options: dict[str, Any] = Field(default={}, max_length=32, description="Specific to the kind.")
    placement: PlacementSettingsBody = PlacementSettingsBody()
    statistics: StatisticsSettingsBody = StatisticsSettingsBody()
    verify_now: bool = Field(default=True, description="Whether the endpoint must accept the credentials first.")


class DatacenterChangeBody(Body):
    """A change of a datacenter; what is left out stays."""

    name: DatacenterName | None = None
    endpoint: Endpoint | None = None
    enabled: bool | None = None
    credentials: Credentials | None = Field(default=None, max_length=16)
    verify_tls: bool | None = None
    ca_certificate: Certificate | None = None
    call_timeout_seconds: TimeoutSeconds | None = None
    options: dict[str, Any] | None = Field(default=None, max_length=32)
    placement: PlacementSettingsBody | None = None
    statistics: StatisticsSettingsBody | None = None


class InventoryQuery(Query):
    """Which part of the world."""

    datacenter: Identifier | None = Field(default=None, description="Name or id of a datacenter.")
