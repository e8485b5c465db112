"""The checks that a machine must pass in a datacenter and on a host, each with its numbers, in Python's own pace.

``arrays`` decides the same for many hosts at once; a property test holds the two together.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from vai_app.domain.capacity import DatacenterCapacity, DatastoreCapacity, HostCapacity, Room
from vai_app.domain.datacenters import HostState, Reachability
from vai_app.domain.hypervisor import needed_by
from vai_app.domain.placement.asks import PlacementAsk, Spot
from vai_app.domain.virtual_machines import Location


class CheckName(StrEnum):
    """What is checked, in the order in which a refusal is told."""

    ENABLED = "enabled"
    REACHABLE = "reachable"
    POLICY = "policy"
    QUOTA = "quota"
    SHORT = "short"  # the datacenter itself said so, when it was asked to make the machine
    CAPABILITY = "capability"
    IMAGE = "image"
    NETWORK = "network"
    LOCATION = "location"
    STATE = "state"
    AFFINITY = "affinity"
    CPU = "cpu"
    MEMORY = "memory"
    DISK = "disk"
    FAILOVER = "failover"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was checked. ``asked`` and ``free`` are its numbers, where it has any."""

    name: CheckName
    passed: bool
    detail: str
    asked: int | None = None
    free: int | None = None


@dataclass(frozen=True, slots=True)
class HostVerdict:
    """All checks of one host."""

    ref: str
    name: str
    checks: tuple[Check, ...]

    @property
    def fits(self) -> bool:
        """Whether every check passed."""
        return all(check.passed for check in self.checks)


@dataclass(frozen=True, slots=True)
class DatacenterVerdict:
    """All checks of one datacenter and its hosts."""

    datacenter_id: str
    name: str
    checks: tuple[Check, ...]
    hosts: tuple[HostVerdict, ...]
    chooses_itself: bool = False  # the hypervisor shows no hosts

    @property
    def accepts(self) -> bool:
        """Whether the datacenter's own checks passed, its hosts aside."""
        return all(check.passed for check in self.checks)

    @property
    def fits(self) -> bool:
        """Whether the machine can be made there."""
        return self.accepts and (self.chooses_itself or any(host.fits for host in self.hosts))


def judge_datacenter(
    capacity: DatacenterCapacity, ask: PlacementAsk, permissions: Iterable[Check] = ()
) -> DatacenterVerdict:
    """Return the verdict on a datacenter and every host; ``permissions`` are the checks of policy and quota."""
    ask = ask.at(capacity.datacenter.id)
    return DatacenterVerdict(
        datacenter_id=capacity.datacenter.id,
        name=capacity.datacenter.name,
        checks=(*datacenter_checks(capacity, ask), *permissions),
        hosts=tuple(judge_host(capacity, host, ask) for host in capacity.hosts),
        chooses_itself=not capacity.hosts,
    )


def datacenter_checks(capacity: DatacenterCapacity, ask: PlacementAsk) -> list[Check]:
    """Return what is checked before any host is looked at."""
    datacenter = capacity.datacenter
    reachable = datacenter.reachability is not Reachability.UNREACHABLE
    checks = [
        Check(CheckName.ENABLED, datacenter.enabled, "enabled" if datacenter.enabled else "disabled by an operator"),
        Check(CheckName.REACHABLE, reachable, datacenter.reachability if reachable else datacenter.problem or "away"),
        *(
            Check(CheckName(each.check), passed=False, detail=each.detail)
            for each in ask.short
            if each.datacenter_id == datacenter.id
        ),
    ]
    # What was never listed is given the benefit of the doubt: its driver will tell.
    if datacenter.observed_at is not None:
        inventory = datacenter.inventory
        needed = needed_by(ask.spec)
        if needed and inventory.capabilities is not None:
            checks.append(_capable(needed, inventory.capabilities))
        checks += _quota(capacity, ask.room)
        if ask.spec.image is not None:
            images = {name for image in inventory.images for name in (image.ref, image.name)}
            checks.append(_named(CheckName.IMAGE, "image", [ask.spec.image], images))
        if ask.spec.networks:
            networks = {name for network in inventory.networks for name in (network.ref, network.name)}
            checks.append(_named(CheckName.NETWORK, "network", ask.spec.networks, networks))
    checks += _location(capacity, ask.spec.location)
    if not capacity.hosts:
        return [*checks, *_checks_without_hosts(capacity, ask)]
    if datacenter.placement.failover_hosts:
        checks.append(_failover(capacity, ask.room))
    return checks


def _capable(needed: Collection[str], able: Collection[str]) -> Check:
    lacking = sorted({*needed} - {*able})
    detail = f"it cannot give a machine: {', '.join(lacking)}" if lacking else f"it can: {', '.join(sorted(needed))}"
    return Check(CheckName.CAPABILITY, not lacking, detail)


def _quota(capacity: DatacenterCapacity, room: Room) -> Iterator[Check]:
    """Yield whether the hypervisor's own quota leaves room; it has the last word when it is asked."""
    asked = {"machines": (1, "machines"), "cpus": (room.cpus, "CPUs"), "memory_mib": (room.memory_mib, "MiB")}
    for each in capacity.quota:
        wanted, unit = asked[each.dimension]
        free = max(each.free, 0)
        detail = f"{wanted} {unit} asked, {free} of the {each.allocatable} {unit} of its own quota free"
        yield Check(CheckName.QUOTA, wanted <= free, detail, wanted, free)


def judge_host(capacity: DatacenterCapacity, host: HostCapacity, ask: PlacementAsk) -> HostVerdict:
    """Return the verdict on one host."""
    seen, room, location = host.host, ask.room, ask.spec.location
    cluster = cluster_ref(capacity, location.cluster)
    checks = []
    if location.host is not None or cluster is not None:
        asked_for = location.host in (None, seen.ref, seen.name) and cluster in (None, seen.cluster)
        another = "host" if location.host not in (None, seen.ref, seen.name) else "cluster"
        checks.append(Check(CheckName.LOCATION, asked_for, "asked for" if asked_for else f"another {another} is asked"))
    checks.append(Check(CheckName.STATE, seen.state is HostState.UP, f"the host is {seen.state}"))
    if ask.affinity.apart_from or ask.affinity.together_with:
        allowed = ask.affinity.allows(Spot(capacity.datacenter.id, seen.ref))
        detail = "as the other machines allow" if allowed else "other machines forbid it (apart, or together)"
        checks.append(Check(CheckName.AFFINITY, allowed, detail))
    checks += [
        _number(CheckName.CPU, room.cpus, min(host.free.cpus, seen.cpus), "CPUs"),
        _number(CheckName.MEMORY, room.memory_mib, host.free.memory_mib, "MiB"),
    ]
    if capacity.datastores:
        checks.append(_disk(reachable_datastores(capacity, host), location.datastore, room.disk_gib))
    return HostVerdict(seen.ref, seen.name, tuple(checks))


def reachable_datastores(capacity: DatacenterCapacity, host: HostCapacity | None) -> list[DatastoreCapacity]:
    """Return the datastores of a host; a hypervisor that tells none lets every host reach every one."""
    if host is None or not host.host.datastores:
        return list(capacity.datastores)
    local = [store for store in capacity.datastores if store.datastore.ref in host.host.datastores]
    return local or list(capacity.datastores)


def choose_datastore(stores: Sequence[DatastoreCapacity], wanted: str | None, disk_gib: int) -> str | None:
    """Return the asked datastore's reference, or the one with most room; ``None`` where none fits or is known."""
    fitting = [
        store
        for store in stores
        if store.datastore.accessible
        and wanted in (None, store.datastore.ref, store.datastore.name)
        and max(store.free_gib, 0) >= disk_gib
    ]
    return max(fitting, key=lambda store: store.free_gib).datastore.ref if fitting else None


def cluster_ref(capacity: DatacenterCapacity, wanted: str | None) -> str | None:
    """Return the reference of a cluster that was asked for by name or reference."""
    for cluster in capacity.datacenter.inventory.clusters:
        if wanted in (cluster.ref, cluster.name):
            return cluster.ref
    return wanted


def failover_headroom(capacity: DatacenterCapacity) -> Room:
    """Return what may still be given so that what is given fits into the rest when the largest N hosts fail.

    The sums decide, per dimension: the N largest of the hosts that are up are left out, and everything that
    machines take on any host is counted. It does not prove that each machine finds one host for itself.
    """
    up = [host.allocatable for host in capacity.hosts if host.host.state is HostState.UP]
    kept = max(len(up) - capacity.datacenter.placement.failover_hosts, 0)
    taken = sum((host.used + host.reserved for host in capacity.hosts), Room())
    return Room(
        cpus=sum(sorted(each.cpus for each in up)[:kept]) - taken.cpus,
        memory_mib=sum(sorted(each.memory_mib for each in up)[:kept]) - taken.memory_mib,
    )


def _checks_without_hosts(capacity: DatacenterCapacity, ask: PlacementAsk) -> list[Check]:
    """Return what can be checked where the hypervisor chooses hosts itself."""
    checks = []
    if capacity.datastores:
        checks.append(_disk(capacity.datastores, ask.spec.location.datastore, ask.room.disk_gib))
    if ask.affinity.apart_from or ask.affinity.together_with:
        allowed = ask.affinity.allows(Spot(capacity.datacenter.id))
        checks.append(Check(CheckName.AFFINITY, allowed, "its hosts are not shown"))
    return checks


def _location(capacity: DatacenterCapacity, wanted: Location) -> list[Check]:
    """Return whether what the location names is there at all; what the hypervisor does not show, it may have."""
    hosts, clusters = [each.host for each in capacity.hosts], capacity.datacenter.inventory.clusters
    stores = [each.datastore for each in capacity.datastores]
    return [
        _named(CheckName.LOCATION, what, [named], {name for each in known for name in (each.ref, each.name)})
        for what, named, known in (
            ("cluster", wanted.cluster, clusters),
            ("host", wanted.host, hosts),
            ("datastore", wanted.datastore, stores),
        )
        if named is not None and known
    ]


def _failover(capacity: DatacenterCapacity, room: Room) -> Check:
    headroom = failover_headroom(capacity)
    passed = headroom.cpus >= room.cpus and headroom.memory_mib >= room.memory_mib
    count = capacity.datacenter.placement.failover_hosts
    detail = (
        f"room is kept for {count} hosts to fail; beyond it {max(headroom.cpus, 0)} CPUs "
        f"and {max(headroom.memory_mib, 0)} MiB are free"
    )
    return Check(CheckName.FAILOVER, passed, detail, room.memory_mib, max(headroom.memory_mib, 0))


def _named(name: CheckName, what: str, wanted: Sequence[str], known: set[str]) -> Check:
    missing = [each for each in wanted if each not in known]
    detail = f"it has no {what} {missing[0]!r}" if missing else f"it has {', '.join(repr(each) for each in wanted)}"
    return Check(name, not missing, detail)


def _number(name: CheckName, asked: int, free: int, unit: str) -> Check:
    free = max(free, 0)
    return Check(name, asked <= free, f"{asked} {unit} asked, {free} {unit} free", asked, free)


def _disk(stores: Sequence[DatastoreCapacity], wanted: str | None, asked: int) -> Check:
    named = [store for store in stores if wanted in (None, store.datastore.ref, store.datastore.name)]
    if not named:
        return Check(CheckName.DISK, passed=False, detail=f"no datastore {wanted!r} is reached", asked=asked, free=0)
    free = max((max(store.free_gib, 0) for store in named if store.datastore.accessible), default=-1)
    if free < 0:
        return Check(CheckName.DISK, passed=False, detail="no datastore is accessible", asked=asked, free=0)
    return _number(CheckName.DISK, asked, free, "GiB")


def location_of(capacity: DatacenterCapacity, host: HostCapacity | None, ask: PlacementAsk) -> Location:
    """Return the complete location of a machine on a host that fits."""
    wanted = ask.at(capacity.datacenter.id).spec.location
    store = choose_datastore(reachable_datastores(capacity, host), wanted.datastore, ask.room.disk_gib)
    if host is None:
        return Location(cluster=wanted.cluster, host=wanted.host, datastore=store or wanted.datastore)
    return Location(cluster=host.host.cluster, host=host.host.ref, datastore=store or wanted.datastore)
