"""The datacenter registry: registers, verifies, changes and forgets datacenters."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from vai_app.domain.datacenters import About, Connection, Datacenter, PlacementSettings
from vai_app.domain.errors import ProviderError
from vai_app.domain.events import Event
from vai_app.domain.identifiers import new_id
from vai_app.domain.ports.clock import Clock
from vai_app.domain.ports.datacenters import DatacenterChange, DatacenterRepository, Hypervisors
from vai_app.domain.ports.events import EventRepository
from vai_app.domain.statistics import StatisticsSettings
from vai_app.services.acceptance import RequestContext


@dataclass(frozen=True, slots=True)
class Registration:
    """What a user gives to register a datacenter. ``credentials`` are kept encrypted and never returned."""

    name: str
    kind: str
    endpoint: str
    credentials: Mapping[str, str] = field(repr=False)
    verify_tls: bool = True
    ca_certificate: str | None = None
    call_timeout_seconds: float = 30.0
    options: Mapping[str, Any] = field(default_factory=dict)
    placement: PlacementSettings = field(default_factory=PlacementSettings)
    statistics: StatisticsSettings = field(default_factory=StatisticsSettings)


class DatacenterRegistry:
    """Use cases on datacenters. The only service that calls a hypervisor while a user waits: to verify."""

    def __init__(
        self,
        *,
        datacenters: DatacenterRepository,
        hypervisors: Hypervisors,
        events: EventRepository,
        clock: Clock,
    ) -> None:
        """Collaborators."""
        self._datacenters = datacenters
        self._hypervisors = hypervisors
        self._events = events
        self._clock = clock

    def register(self, context: RequestContext, wanted: Registration, *, verify: bool = True) -> Datacenter:
        """Store a datacenter, after its endpoint accepted the credentials unless ``verify`` is off.

        Raises NameTaken, InvalidRequest (unknown kind or options), and every ProviderError of a failed check.
        """
        now = self._clock()
        datacenter = Datacenter(
            id=new_id("dc", now),
            name=wanted.name,
            kind=wanted.kind,
            endpoint=wanted.endpoint,
            enabled=True,
            revision=1,
            created_at=now,
            verify_tls=wanted.verify_tls,
            ca_certificate=wanted.ca_certificate,
            call_timeout_seconds=wanted.call_timeout_seconds,
            options=dict(wanted.options),
            placement=wanted.placement,
            statistics=wanted.statistics,
        )
        connection = _connection(datacenter, wanted.credentials)
        self._hypervisors.check_connection(connection)
        if verify:
            datacenter = replace(datacenter, about=self._hypervisors.try_connection(connection))
        self._datacenters.insert(datacenter, wanted.credentials)
        self._tell(context, datacenter, "registered")
        return datacenter

    def verify(self, context: RequestContext, datacenter_id: str) -> Datacenter:
        """Try the stored connection now and store the result. Raises NotFound and the ProviderError met."""
        datacenter = self._datacenters.get(datacenter_id)
        try:
            about: About = self._hypervisors.try_connection(self._datacenters.connection(datacenter.id))
        except ProviderError as error:
            self._datacenters.record_unreachable(datacenter.id, error.detail)
            self._tell(context, datacenter, "refused verification")
            raise
        self._datacenters.record_reachable(datacenter.id, about, None)
        return self._datacenters.get(datacenter.id)

    def change(
        self, context: RequestContext, datacenter_id: str, change: DatacenterChange, revision: int
    ) -> Datacenter:
        """Store a change that is based on ``revision``.

        Raises NotFound, PreconditionFailed, NameTaken, InvalidRequest (settings that the driver cannot use).
        """
        datacenter = self._datacenters.get(datacenter_id)
        self._hypervisors.check_connection(_changed(self._datacenters.connection(datacenter.id), change))
        changed = self._datacenters.change(datacenter.id, change, revision)
        self._tell(context, changed, "changed")
        return changed

    def forget(self, context: RequestContext, datacenter_id: str, revision: int) -> None:
        """Forget a datacenter that holds no machine of ours. Raises NotFound, PreconditionFailed, Conflict."""
        datacenter = self._datacenters.get(datacenter_id)
        self._datacenters.delete(datacenter.id, revision)
        self._tell(context, datacenter, "forgotten")

    def _tell(self, context: RequestContext, datacenter: Datacenter, done: str) -> None:
        now = self._clock()
        self._events.append(
            Event(
                id=new_id("ev", now),
                at=now,
                kind=f"datacenter.{done.replace(' ', '-')}",
                outcome="succeeded",
                message=f"{context.principal.name}: datacenter {datacenter.name} {done}.",
                actor=context.principal.name,
                correlation_id=context.correlation_id,
                datacenter_id=datacenter.id,
            )
        )


def _changed(connection: Connection, change: DatacenterChange) -> Connection:
    shared = {each.name for each in fields(Connection)} & {each.name for each in fields(DatacenterChange)}
    given = {name: getattr(change, name) for name in shared}
    return replace(connection, **{name: value for name, value in given.items() if value is not None})


def _connection(datacenter: Datacenter, credentials: Mapping[str, str]) -> Connection:
    return Connection(
        datacenter_id=datacenter.id,
        kind=datacenter.kind,
        endpoint=datacenter.endpoint,
        credentials=dict(credentials),
        verify_tls=datacenter.verify_tls,
        ca_certificate=datacenter.ca_certificate,
        call_timeout_seconds=datacenter.call_timeout_seconds,
        options=datacenter.options,
    )
