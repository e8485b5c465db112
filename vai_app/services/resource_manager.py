"""The resource manager: what every datacenter may give, who holds what of it, and nothing promised twice."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime

from vai_app.domain.capacity import DatacenterCapacity, DatastoreCapacity, HostCapacity, QuotaCapacity, Room
from vai_app.domain.consumption import Consumption, Period, consumed
from vai_app.domain.datacenters import Datacenter, Datastore, Host, PlacementSettings
from vai_app.domain.errors import CapacityShort
from vai_app.domain.ports.capacity import ReservationRepository
from vai_app.domain.ports.clock import Clock
from vai_app.domain.ports.datacenters import DatacenterRepository
from vai_app.domain.reservations import (
    Account,
    AccountMissing,
    Amounts,
    Owner,
    Reservation,
    datastore_account,
    host_account,
    quota_account,
    tenant_account,
)
from vai_app.domain.virtual_machines import Location, Size
from vai_app.services.quotas import Quotas


class ResourceManager:
    """Implements the ``CapacityBook`` port over accounts that are changed atomically."""

    def __init__(
        self,
        *,
        datacenters: DatacenterRepository,
        reservations: ReservationRepository,
        clock: Clock,
        quotas: Quotas,
    ) -> None:
        """``quotas`` says what a tenant's machines may hold together."""
        self._datacenters = datacenters
        self._reservations = reservations
        self._clock = clock
        self._quotas = quotas

    def snapshot(self, datacenter_ids: Collection[str] | None = None) -> Sequence[DatacenterCapacity]:
        """Return these datacenters, or all in order of name, as they are known now. Raises NotFound."""
        if datacenter_ids is None:
            return [self._capacity_of(each) for each in self._datacenters.list()]
        return [self._capacity_of(self._datacenters.get(each)) for each in datacenter_ids]

    def unreserved(self, datacenter_id: str) -> DatacenterCapacity:
        """Return a datacenter as if nothing were reserved in it, or used of its quota. Raises NotFound."""
        capacity = _capacity(self._datacenters.get(datacenter_id), {}, {})
        return replace(capacity, quota=tuple(replace(each, used=0) for each in capacity.quota))

    def reserve(self, machine_id: str, datacenter_id: str, location: Location, room: Room, owner: Owner) -> bool:
        """Reserve room at a host and datastore and in the tenant's quota, all or nothing. Raises QuotaExceeded."""
        wanted = Reservation(
            machine_id=machine_id,
            datacenter_id=datacenter_id,
            tenant=owner.tenant,
            room=room,
            since=self._clock(),
            host=location.host,
            datastore=location.datastore,
        )
        return self._take(wanted, owner) is None

    def resize(self, machine_id: str, size: Size, owner: Owner, *, done: bool) -> None:
        """Reserve what a machine takes while it changes to ``size``, or, when ``done``, what it takes from now on.

        While it changes it holds the larger of both in every dimension. A disk of 0 stays as it is. Does nothing
        for a machine without reservation. Raises CapacityShort, QuotaExceeded.
        """
        held = self._reservations.get(machine_id)
        if held is None:
            return
        room = Room(size.cpus, size.memory_mib, size.disk_gib or held.room.disk_gib)
        if done:
            self._reservations.correct(replace(held, room=room, since=self._clock()), held)
            return
        largest = Room(
            max(room.cpus, held.room.cpus),
            max(room.memory_mib, held.room.memory_mib),
            max(room.disk_gib, held.room.disk_gib),
        )
        short = self._take(replace(held, room=largest, since=self._clock()), replace(owner, tenant=held.tenant))
        if short is not None:
            message = f"{short} has no room for {room.cpus} CPUs, {room.memory_mib} MiB, {room.disk_gib} GiB of disk."
            raise CapacityShort(message)

    def move(self, machine_id: str, host: str, owner: Owner, *, done: bool) -> None:
        """Reserve at another host what a machine holds, or, when it is there (``done``), record that it does.

        While it moves it holds nothing at the host that it comes from: there only its hypervisor says what is free.
        Raises CapacityShort.
        """
        held = self._reservations.get(machine_id)
        if held is None or held.host == host:
            return
        wanted = replace(held, host=host, since=self._clock())
        if done:
            with suppress(AccountMissing):  # a host that no listing has shown yet: the next one corrects it
                self._reservations.correct(wanted, held)
        elif self._take(wanted, replace(owner, tenant=held.tenant)) is not None:
            message = f"Host {host} has no room for {held.room.cpus} CPUs and {held.room.memory_mib} MiB."
            raise CapacityShort(message)

    def release(self, machine_id: str) -> None:
        """Give back what is reserved for a machine; does nothing the second time."""
        self._reservations.release(machine_id)

    def consumption(
        self, *, tenant: str | None, datacenter_id: str | None, since: datetime, until: datetime | None, period: Period
    ) -> Sequence[Consumption]:
        """Return what was held, summed by period, tenant and datacenter; nothing of what is to come."""
        now = self._clock()
        until = min(until or now, now)
        held = self._reservations.held_between(since, until, tenant=tenant, datacenter_id=datacenter_id)
        return consumed(held, since, until, period)

    def _take(self, wanted: Reservation, owner: Owner) -> str | None:
        """Return the account that lacks room. An account is opened when it is first needed. Raises QuotaExceeded."""
        found = self._quotas.of(owner)
        quota = found.limits if found.is_counted else None
        try:
            short = self._reservations.take(wanted, quota)
        except AccountMissing:
            datacenter = self._datacenters.get(wanted.datacenter_id)
            known = {each.id for each in self._reservations.accounts(datacenter.id)}
            opened = [each for each in accounts_of(datacenter) if each.id not in known]
            self._reservations.open_accounts(opened)
            if quota is not None and self._reservations.account(tenant_account(owner.tenant)) is None:
                self._reservations.count_tenant(owner.tenant)
            short = self._reservations.take(seen_in(wanted, datacenter), quota)
        if short == tenant_account(owner.tenant):
            raise self._quotas.exceeded(owner, wanted.machine_id, wanted.room)
        return short

    def _capacity_of(self, datacenter: Datacenter) -> DatacenterCapacity:
        known = {each.id: each for each in self._reservations.accounts(datacenter.id)}
        total = self._reservations.total_in(datacenter.id) if datacenter.inventory.quota is not None else {}
        return _capacity(datacenter, known, total)


def allocatable(host: Host, settings: PlacementSettings) -> Room:
    """Return what a host's machines may be given together."""
    if host.own_ratios:
        return Room(cpus=host.cpus, memory_mib=host.memory_mib)
    return Room(cpus=int(host.cpus * settings.cpu_ratio), memory_mib=int(host.memory_mib * settings.memory_ratio))


def allocatable_gib(store: Datastore, settings: PlacementSettings) -> int:
    """Return what may be promised of a datastore."""
    return int(store.capacity_gib * settings.disk_ratio)


def accounts_of(datacenter: Datacenter, used: Mapping[str, Amounts] | None = None) -> list[Account]:
    """Return the accounts of hosts, datastores and quota; without ``used``, all the hypervisor shows is others' use."""
    found = []
    for host in datacenter.inventory.hosts:
        name, most = host_account(datacenter.id, host.ref), allocatable(host, datacenter.placement)
        taken = {"cpus": host.used_cpus, "memory_mib": host.used_memory_mib}
        taken = dict(used.get(name, {"cpus": 0, "memory_mib": 0})) if used is not None else taken
        limit = {"cpus": most.cpus - taken["cpus"], "memory_mib": most.memory_mib - taken["memory_mib"]}
        found.append(Account(name, datacenter.id, limit=limit, used=taken))
    for store in datacenter.inventory.datastores:
        name = datastore_account(datacenter.id, store.ref)
        taken = {"disk_gib": store.capacity_gib - store.free_gib}
        taken = dict(used.get(name, {"disk_gib": 0})) if used is not None else taken
        limit = {"disk_gib": allocatable_gib(store, datacenter.placement) - taken["disk_gib"]}
        found.append(Account(name, datacenter.id, limit=limit, used=taken))
    quota = datacenter.inventory.quota
    if quota is not None:
        name = quota_account(datacenter.id)
        taken = dict(used[name] if used is not None else quota.used)
        limit = {dimension: most - taken[dimension] for dimension, most in quota.limit.items()}
        found.append(Account(name, datacenter.id, limit=limit, used=taken))
    return found


def seen_in(wanted: Reservation, datacenter: Datacenter) -> Reservation:
    """Return the reservation without a host or datastore that the hypervisor does not show."""
    hosts = {each.ref for each in datacenter.inventory.hosts}
    stores = {each.ref for each in datacenter.inventory.datastores}
    return replace(
        wanted,
        host=wanted.host if wanted.host in hosts else None,
        datastore=wanted.datastore if wanted.datastore in stores else None,
    )


def _capacity(datacenter: Datacenter, known: Mapping[str, Account], total: Amounts) -> DatacenterCapacity:
    """Return what the accounts, by id, leave of a datacenter; nothing is reserved where there is none yet.

    ``total`` is the sum of all reservations there, where its hypervisor has a quota.
    """
    fresh = {each.id: each for each in accounts_of(datacenter)}
    hosts = []
    for host in datacenter.inventory.hosts:
        name = host_account(datacenter.id, host.ref)
        account = known.get(name, fresh[name])
        hosts.append(
            HostCapacity(host, allocatable(host, datacenter.placement), _room(account.used), _room(account.reserved))
        )
    datastores = []
    for store in datacenter.inventory.datastores:
        name = datastore_account(datacenter.id, store.ref)
        account = known.get(name, fresh[name])
        used, reserved = account.used.get("disk_gib", 0), account.reserved.get("disk_gib", 0)
        datastores.append(DatastoreCapacity(store, allocatable_gib(store, datacenter.placement), used, reserved))
    quota = []
    if datacenter.inventory.quota is not None:
        name = quota_account(datacenter.id)
        others = known.get(name, fresh[name]).used
        for dimension, most in datacenter.inventory.quota.limit.items():
            quota.append(QuotaCapacity(dimension, most, others.get(dimension, 0), total.get(dimension, 0)))
    return DatacenterCapacity(datacenter, tuple(hosts), tuple(datastores), tuple(quota))


def _room(amounts: Amounts) -> Room:
    return Room(amounts.get("cpus", 0), amounts.get("memory_mib", 0))
