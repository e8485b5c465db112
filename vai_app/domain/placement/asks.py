"""What a placement is asked for: the machine, the datacenter, and what the tenant allows beyond it."""

from dataclasses import dataclass, replace
from enum import StrEnum

from vai_app.domain.capacity import Room, room_of
from vai_app.domain.virtual_machines import Location, MachineSpec


class Elsewhere(StrEnum):
    """What becomes of a request that the chosen datacenter has no room for."""

    NEVER = "never"  # refused
    ASK = "ask"  # refused with a recommendation that one call confirms
    AUTOMATICALLY = "automatically"  # placed in the best other datacenter


class Scope(StrEnum):
    """What machines are kept apart from, or together in."""

    HOST = "host"
    DATACENTER = "datacenter"


@dataclass(frozen=True, slots=True)
class Spot:
    """Where a machine is. ``host`` is a reference, ``None`` while it is unknown."""

    datacenter_id: str
    host: str | None = None


@dataclass(frozen=True, slots=True)
class Affinity:
    """Where other machines are that this one must be apart from, or together with."""

    apart_from: tuple[Spot, ...] = ()
    together_with: tuple[Spot, ...] = ()
    scope: Scope = Scope.HOST

    def allows(self, spot: Spot) -> bool:
        """Whether a machine may be there. A host that is not known is no host apart from others, nor together."""
        near = [self._same(spot, other) for other in self.together_with]
        far = [self._same(spot, other) for other in self.apart_from]
        return all(near) and not any(far)

    def _same(self, spot: Spot, other: Spot) -> bool:
        if spot.datacenter_id != other.datacenter_id:
            return False
        return self.scope is Scope.DATACENTER or spot.host == other.host


@dataclass(frozen=True, slots=True)
class Shortage:
    """What a datacenter answered when it was asked to make the machine; ``check`` names what it lacks."""

    datacenter_id: str
    check: str
    detail: str


@dataclass(frozen=True, slots=True)
class PlacementWish:
    """What a tenant says about placement beyond the location; machines are named by their ids."""

    elsewhere: Elsewhere = Elsewhere.ASK
    apart_from: tuple[str, ...] = ()
    together_with: tuple[str, ...] = ()
    scope: Scope = Scope.HOST


NO_WISH = PlacementWish()


@dataclass(frozen=True, slots=True)
class PlacementAsk:
    """One machine to place. ``seed`` decides among equals: the same one gets the same answer."""

    spec: MachineSpec
    tenant: str
    datacenter_id: str
    seed: str
    elsewhere: Elsewhere = Elsewhere.ASK
    affinity: Affinity = Affinity()
    roles: tuple[str, ...] = ()  # of who asks, for policies
    short: tuple[Shortage, ...] = ()  # where it cannot be made, whatever is known of the room there
    machine_id: str | None = None  # what is reserved for it already does not stand in its way

    @property
    def room(self) -> Room:
        """What the machine takes."""
        return room_of(self.spec.size)

    def at(self, datacenter_id: str) -> "PlacementAsk":
        """Return the ask as it stands in a datacenter: host, cluster and datastore were meant for the chosen one."""
        if datacenter_id == self.datacenter_id:
            return self
        return replace(self, spec=replace(self.spec, location=Location()))
