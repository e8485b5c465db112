"""The explanation of a placement: every datacenter and host with its checks, what would do instead, bounded in size."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from vai_app.domain.capacity import DatacenterCapacity, room_of
from vai_app.domain.errors import (
    CapacityShort,
    Conflict,
    Forbidden,
    HostUnavailable,
    InvalidRequest,
    NotFound,
    ProviderUnavailable,
    QuotaExceeded,
    VaiError,
)
from vai_app.domain.placement.asks import PlacementAsk
from vai_app.domain.placement.checks import Check, CheckName, DatacenterVerdict, HostVerdict, judge_datacenter
from vai_app.domain.virtual_machines import Size

MOST_DATACENTERS = 20
MOST_HOSTS = 8

_ERRORS: Mapping[CheckName, type[VaiError]] = {
    CheckName.ENABLED: Conflict,
    CheckName.REACHABLE: ProviderUnavailable,
    CheckName.POLICY: Forbidden,
    CheckName.QUOTA: QuotaExceeded,
    CheckName.CAPABILITY: InvalidRequest,
    CheckName.IMAGE: NotFound,
    CheckName.NETWORK: NotFound,
    CheckName.LOCATION: NotFound,
    CheckName.STATE: HostUnavailable,
}
_MOST_REASONS = 10


@dataclass(frozen=True, slots=True)
class DatacenterAccount:
    """One datacenter in an explanation. ``hosts`` are some of ``hosts_total``, those that fit first."""

    datacenter_id: str
    name: str
    fits: bool
    checks: tuple[Check, ...]
    hosts: tuple[HostVerdict, ...]
    hosts_total: int
    hosts_fitting: int


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a machine goes where it goes, or goes nowhere. ``chosen`` and ``alternative`` are ids of datacenters."""

    asked: str
    chosen: str | None
    chosen_host: str | None
    alternative: str | None
    smaller: Size | None  # what would fit in the datacenter that was asked for, the nearest below
    datacenters: tuple[DatacenterAccount, ...]
    datacenters_total: int

    def as_document(self) -> dict[str, Any]:
        """Return it as it is stored with the operation."""
        document = asdict(self)
        for account, kept in zip(document["datacenters"], self.datacenters, strict=True):
            for stored, host in zip(account["hosts"], kept.hosts, strict=True):
                stored["fits"] = host.fits
        return document


def explain(
    ask: PlacementAsk,
    accounts: Sequence[DatacenterAccount],
    *,
    chosen: tuple[str, str | None] | None = None,
    alternative: str | None = None,
    smaller: Size | None = None,
) -> Explanation:
    """Return the explanation; ``chosen`` is datacenter and host. The datacenter asked for comes first."""
    first = {ask.datacenter_id: 0, chosen[0] if chosen else None: 1, alternative: 2}
    ordered = sorted(accounts, key=lambda each: (first.get(each.datacenter_id, 3), not each.fits, each.name))
    return Explanation(
        asked=ask.datacenter_id,
        chosen=chosen[0] if chosen else None,
        chosen_host=chosen[1] if chosen else None,
        alternative=alternative,
        smaller=smaller,
        datacenters=tuple(ordered[:MOST_DATACENTERS]),
        datacenters_total=len(ordered),
    )


def account_of(verdict: DatacenterVerdict, chosen_host: str | None = None) -> DatacenterAccount:
    """Return a verdict as it is explained: the chosen host first, then what fits, then what nearly does."""
    ordered = sorted(verdict.hosts, key=lambda each: (each.ref != chosen_host, not each.fits, _short(each), each.name))
    return DatacenterAccount(
        datacenter_id=verdict.datacenter_id,
        name=verdict.name,
        fits=verdict.fits,
        checks=verdict.checks,
        hosts=tuple(ordered[:MOST_HOSTS]),
        hosts_total=len(verdict.hosts),
        hosts_fitting=sum(each.fits for each in verdict.hosts),
    )


def refusal(verdict: DatacenterVerdict) -> VaiError:
    """Return the error that says why a datacenter does not take the machine: its own reason, or its hosts' reasons."""
    refused = [check for check in verdict.checks if not check.passed]
    if refused:
        first = min(refused, key=lambda check: _ORDER[check.name])
        kind = _ERRORS.get(first.name, CapacityShort)
        return kind(f"Datacenter {verdict.name}: {first.detail}.{_ADVICE.get(first.name, '')}")
    asked = [host for host in verdict.hosts if _passed(host, CheckName.LOCATION)]
    if not asked:
        return NotFound(f"Datacenter {verdict.name} has no such host in that cluster.{_SEE_INVENTORY}")
    reasons = "; ".join(
        f"{host.name}: {next(check.detail for check in host.checks if not check.passed)}"
        for host in asked[:_MOST_REASONS]
    )
    if not any(_passed(host, CheckName.STATE) for host in asked):
        return HostUnavailable(f"No host of {verdict.name} can take the machine. {reasons}.")
    return CapacityShort(f"No host of {verdict.name} has room for the machine. {reasons}.")


def smallest_change(capacity: DatacenterCapacity, ask: PlacementAsk, permissions: Sequence[Check] = ()) -> Size | None:
    """Return the size nearest below the asked one that would fit, where only CPUs, memory or disk are short.

    Each host that is short in as few dimensions as can be is a proposal: what is short there shrinks to what is
    free, memory to whole GiB where at least one is left. The one that keeps most of what was asked wins.
    """
    asked = ask.spec.size
    verdict = judge_datacenter(capacity, ask, permissions)
    if verdict.fits or any(not check.passed and check.name is not CheckName.FAILOVER for check in verdict.checks):
        return None
    proposals = {_shrunk(asked, verdict.checks + host.checks) for host in verdict.hosts if _only_short(host)}
    fitting = [
        size
        for size in proposals
        if size is not None
        and judge_datacenter(capacity, replace(ask, spec=replace(ask.spec, size=size)), permissions).fits
    ]
    return max(fitting, key=lambda size: _kept(size, asked), default=None)


def _passed(host: HostVerdict, name: CheckName) -> bool:
    return all(check.passed for check in host.checks if check.name is name)


def _short(host: HostVerdict) -> int:
    return sum(not check.passed for check in host.checks)


def _only_short(host: HostVerdict) -> bool:
    return all(check.passed or check.name in _SHRINKABLE for check in host.checks)


def _shrunk(asked: Size, checks: Sequence[Check]) -> Size | None:
    """Return the size with every refused number lowered to what is free; ``None`` where nothing is left."""
    free = {check.name: check.free or 0 for check in checks if not check.passed}
    cpus = free.get(CheckName.CPU, asked.cpus)
    memory_mib = min(free.get(CheckName.MEMORY, asked.memory_mib), free.get(CheckName.FAILOVER, asked.memory_mib))
    if memory_mib < asked.memory_mib and memory_mib >= _GIB:
        memory_mib -= memory_mib % _GIB
    disk_gib = free.get(CheckName.DISK, asked.disk_gib)
    if cpus < 1 or memory_mib < _LEAST_MEMORY_MIB or (asked.disk_gib and disk_gib < 1):
        return None
    return Size(cpus=cpus, memory_mib=memory_mib, disk_gib=disk_gib)


def _kept(size: Size, asked: Size) -> tuple[float, int, int, int]:
    """Return how much of what was asked is kept, the least kept dimension first, and the size for equals."""
    room, whole = room_of(size), room_of(asked)
    shares = [room.cpus / whole.cpus, room.memory_mib / whole.memory_mib]
    if whole.disk_gib:
        shares.append(room.disk_gib / whole.disk_gib)
    return min(shares) + sum(shares) / 100, size.cpus, size.memory_mib, size.disk_gib


_GIB = 1024
_LEAST_MEMORY_MIB = 64
_SHRINKABLE = frozenset({CheckName.CPU, CheckName.MEMORY, CheckName.DISK})
_ORDER = {name: number for number, name in enumerate(CheckName)}
_SEE_INVENTORY = " 'vai datacenter inventory' lists what it has."
_ADVICE: Mapping[CheckName, str] = {
    CheckName.ENABLED: " Choose another, or ask an operator to enable it.",
    CheckName.IMAGE: _SEE_INVENTORY,
    CheckName.NETWORK: _SEE_INVENTORY,
    CheckName.LOCATION: _SEE_INVENTORY,
}
