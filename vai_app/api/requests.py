"""What may be asked: one model a body or query, with its limits. They validate, and they are the documentation."""

import re
from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import IPv4Address
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import urlsplit

from flask import request
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
)

from vai_app.api.json_depth import is_deeper
from vai_app.domain.datacenters import PlacementSettings, PlacementStrategy
from vai_app.domain.errors import InvalidRequest
from vai_app.domain.lifetimes import LONGEST_HOURS
from vai_app.domain.operations import OperationKind, OperationState
from vai_app.domain.placement.asks import Elsewhere, PlacementWish, Scope
from vai_app.domain.placement.batches import BatchRules
from vai_app.domain.ports import LARGEST_PAGE, PAGE_SIZE
from vai_app.domain.statistics import Metric, StatisticsSettings
from vai_app.domain.virtual_machines import (
    FixedAddress,
    Location,
    MachineSpec,
    MachineState,
    Power,
    PowerAction,
    Size,
)
from vai_app.services.arguments import BatchMachine

M = TypeVar("M", bound=BaseModel)

_LIFETIME = "Hours until it is deleted; none is as long as policies allow, or until somebody deletes it."
DEEPEST_BODY = 32
"""Levels of objects and lists in a body; more are refused before they are read."""

MachineName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
DatacenterName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,62})$")]
ObjectName = Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=r"^[^\x00-\x1f\x7f]+$")]
Identifier = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,128}$")]
SnapshotName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,79}$")]
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


class Body(BaseModel):
    """A JSON object without unknown fields."""

    model_config = ConfigDict(extra="forbid", strict=True)


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


class SnapshotBody(Body):
    """A snapshot to take."""

    name: SnapshotName | None = Field(default=None, description="Unique among the machine's; none is its time.")


class RenewBody(Body):
    """A new lifetime, from now."""

    lifetime_hours: LifetimeHours | None = None


class AdoptBody(Body):
    """Who gets a machine that VAI found."""

    tenant: Identifier | None = Field(default=None, description="The new owner; none is the caller's tenant.")


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


def _rfc_3339(text: Any) -> Any:
    """Let no number of seconds pass for a time."""
    if not _RFC_3339.fullmatch(str(text)):
        raise ValueError("must be a time such as 2026-01-31T12:00:00Z")
    return text


def _in_utc(moment: datetime) -> datetime:
    """Refuse what lies beyond the calendar once its zone is taken away."""
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("must lie in the years 1 to 9999 of UTC") from error


_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")
Moment = Annotated[AwareDatetime, BeforeValidator(_rfc_3339), AfterValidator(_in_utc)]


class Query(BaseModel):
    """Query parameters; unknown ones are refused."""

    model_config = ConfigDict(extra="forbid")


class PageQuery(Query):
    """Which page."""

    page_size: int = Field(default=PAGE_SIZE, ge=1, le=LARGEST_PAGE, description="Items in one page.")
    page_token: Annotated[str, StringConstraints(max_length=512)] | None = Field(
        default=None, description="next_page_token of the page before."
    )


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


class OperationQuery(PageQuery):
    """Which operations."""

    state: OperationState | None = None
    kind: OperationKind | None = None
    machine: Identifier | None = Field(default=None, description="Id of the machine.")
    datacenter: Identifier | None = Field(default=None, description="Name or id of a datacenter.")
    open: bool | None = Field(default=None, description="Not ended yet, or ended.")


class IntervalQuery(PageQuery):
    """Of which time."""

    since: Moment | None = Field(default=None, description="With time zone, inclusive.")
    until: Moment | None = Field(default=None, description="With time zone, exclusive.")


class EventQuery(IntervalQuery):
    """Which events."""

    kind: Annotated[str, StringConstraints(pattern=r"^[a-z.-]{1,64}$")] | None = None
    operation: Identifier | None = None
    machine: Identifier | None = None
    datacenter: Identifier | None = Field(default=None, description="Name or id of a datacenter.")


class InventoryQuery(Query):
    """Which part of the world."""

    datacenter: Identifier | None = Field(default=None, description="Name or id of a datacenter.")


def read_body(model: type[M]) -> M:
    """Return the request's body. Raises InvalidRequest; Malformed where it is no JSON at all."""
    if request.mimetype != "application/json":
        raise UnsupportedMediaType("Send JSON with 'Content-Type: application/json'.")
    body = request.get_data()
    if is_deeper(body, DEEPEST_BODY):
        raise Malformed(f"The body is nested deeper than {DEEPEST_BODY} levels.")
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        if any(each["type"] == "json_invalid" for each in error.errors()):
            detail = str(error.errors()[0].get("ctx", {}).get("error", ""))
            raise Malformed(f"The body is no valid JSON: {detail}.") from error
        raise _invalid("body", error) from error


def read_query(model: type[M]) -> M:
    """Return the request's query parameters. Raises InvalidRequest."""
    repeated = [name for name, values in request.args.lists() if len(values) > 1]
    if repeated:
        raise InvalidRequest("A query parameter was given twice.", [{"field": repeated[0], "message": "given twice"}])
    try:
        return model.model_validate(request.args.to_dict())
    except ValidationError as error:
        raise _invalid("query", error) from error


class Malformed(InvalidRequest):
    """The body cannot be read as JSON."""

    problem = "malformed-body"
    title = "The body is not JSON"


class UnsupportedMediaType(InvalidRequest):
    """The body is of another type than JSON."""

    problem = "unsupported-media-type"
    title = "The body must be JSON"


class NotAcceptable(InvalidRequest):
    """The client accepts no JSON."""

    problem = "not-acceptable"
    title = "Only JSON is served"


class BodyTooLarge(InvalidRequest):
    """The body is larger than the installation takes."""

    problem = "body-too-large"
    title = "The body is too large"


class HeadersTooLarge(InvalidRequest):
    """Request line and headers are larger than any request needs."""

    problem = "headers-too-large"
    title = "The headers are too large"


class LengthRequired(InvalidRequest):
    """The body comes in pieces whose sum is not told."""

    problem = "length-required"
    title = "Content-Length is needed"


class RequestTooSlow(InvalidRequest):
    """The request did not arrive whole in time (VAI_REQUEST_SECONDS)."""

    problem = "request-too-slow"
    title = "The request came too slowly"


class MethodNotAllowed(InvalidRequest):
    """The resource has no such method."""

    problem = "method-not-allowed"
    title = "The resource has no such method"


def _invalid(what: str, error: ValidationError) -> InvalidRequest:
    errors = [
        {"field": ".".join(map(str, each["loc"])) or what, "message": each["msg"]}
        for each in error.errors(include_url=False, include_input=False)
    ]
    return InvalidRequest(f"The {what} is not valid: {errors[0]['field']}: {errors[0]['message']}.", errors)
