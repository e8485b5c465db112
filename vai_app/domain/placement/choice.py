"""The choice among the hosts that fit: the weighers, over columns.

A datacenter's strategy weighs its hosts. ``spread`` draws one, each with a chance of its share of all the memory that
is left, by the request's seed: many requests at once spread without knowing of each other, and one request asked
twice of the same capacity gets the same answer. ``pack`` leaves the least behind, and what it leaves in the fleet's
own proportion of CPUs to memory. ``power`` packs as well and wakes an empty host only when no other will do. Between
datacenters the most appealing wins: preferred by the tenant, cheaper, nearer.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vai_app.domain.capacity import Room
from vai_app.domain.datacenters import Datacenter, PlacementStrategy
from vai_app.domain.placement.arrays import CapacityArrays, Mask
from vai_app.domain.placement.asks import PlacementAsk
from vai_app.domain.placement.checks import judge_host

MOST_CANDIDATES = 3
_PREFERRED = 4.0
_MILLISECONDS = 100.0


class Chooser:
    """Chooses rows of columns, for one tenant; what does not change between two choices is worked out once."""

    def __init__(self, arrays: CapacityArrays, tenant: str, strategy: PlacementStrategy | None = None) -> None:
        """``strategy`` replaces the datacenters' own."""
        self._arrays = arrays
        appeal = np.array([appeal_of(each.datacenter, tenant) for each in arrays.snapshot])
        self._appeal = appeal[arrays.datacenter] if np.ptp(appeal) > 0 else None
        strategies = [strategy or each.datacenter.placement.strategy for each in arrays.snapshot]
        self._strategies = strategies
        self._common = strategies[0] if len(set(strategies)) == 1 else None

    def choose(self, room: Room, seed: str, *, among: Mask | None = None, most: int = 1) -> list[int]:
        """Return up to ``most`` rows that can take the room, best first; none where none can."""
        mask = self._arrays.fitting(room)
        if among is not None:
            mask &= among
        if self._appeal is not None:
            mask = _most_appealing(mask, self._appeal)
        draws = _draws(seed, most)
        chosen = []
        for draw in draws:
            row = self._one(mask, room, draw)
            if row is None:
                break
            chosen.append(row)
            mask[row] = False
        return chosen

    def _one(self, mask: Mask, room: Room, draw: float) -> int | None:
        strategy = self._common
        if strategy is PlacementStrategy.SPREAD or strategy is None:
            row = self._drawn(mask, draw)
            if row is None or strategy is not None:
                return row
            index = int(self._arrays.datacenter[row])
            strategy = self._strategies[index]
            if strategy is PlacementStrategy.SPREAD:
                return row
            inside = np.zeros_like(mask)
            inside[self._arrays.slices[index]] = True
            mask = mask & inside
        return self._tightest(mask, room, wake_last=strategy is PlacementStrategy.POWER)

    def _drawn(self, mask: Mask, draw: float) -> int | None:
        shares = np.cumsum(self._arrays.memory_mib * mask)
        total = int(shares[-1]) if shares.size else 0
        if total <= 0:
            return None
        return int(shares.searchsorted(int(draw * total), side="right"))

    def _tightest(self, mask: Mask, room: Room, *, wake_last: bool) -> int | None:
        """Return the row with least left, and what is left in the fleet's proportion rather than before.

        Of a and b left, of A and B before: (a + b) / 2 - 1.5 |A - B| + 2 |a - b|; the machine's own share of the sum
        is the same for every row. The factors are those that placed most in a scan of seeded streams.
        """
        arrays = self._arrays
        if wake_last and (mask & arrays.busy).any():
            mask = mask & arrays.busy
        score = arrays.skew - (room.cpus - room.memory_mib * arrays.cpus_per_mib)
        np.abs(score, out=score)
        score *= 2.0
        score += arrays.slack / 2.0 - np.abs(arrays.skew) * 1.5
        score[~mask] = np.inf
        row = int(score.argmin())
        return row if mask[row] else None


def appeal_of(datacenter: Datacenter, tenant: str) -> float:
    """Return how much a tenant would rather be in this datacenter: by its preference, cost and latency."""
    settings = datacenter.placement
    preferred = _PREFERRED if tenant in settings.preferred_by else 1.0
    return preferred / ((1.0 + settings.cost) * (1.0 + settings.latency_ms / _MILLISECONDS))


def allowed_rows(arrays: CapacityArrays, index: int, ask: PlacementAsk) -> Mask:
    """Return the rows of one datacenter of the snapshot that the ask's wishes leave: host, cluster, affinity."""
    capacity = arrays.snapshot[index]
    ask = ask.at(capacity.datacenter.id)
    rows = arrays.slices[index]
    mask: Mask = np.zeros(len(arrays.hosts), np.bool_)
    if _has_wishes(ask) and capacity.hosts:
        mask[rows] = [judge_host(capacity, host, ask).fits for host in capacity.hosts]
    else:
        mask[rows] = True
    return mask


def best_alternative(arrays: CapacityArrays, room: Room, tenant: str, accepting: Sequence[int]) -> int | None:
    """Return which of the accepting datacenters (positions in the snapshot) a recommendation names.

    The most appealing in which the machine fits; among equals the one with most memory on hosts that can take it.
    """
    mask = arrays.fitting(room)
    best: tuple[float, int, int] | None = None
    for index in accepting:
        rows = arrays.slices[index]
        memory_mib = int((arrays.memory_mib[rows] * mask[rows]).sum())
        found = (appeal_of(arrays.snapshot[index].datacenter, tenant), memory_mib, -index)
        if memory_mib > 0 and (best is None or found > best):
            best = found
    return -best[2] if best else None


def _most_appealing(mask: Mask, appeal: NDArray[np.float64]) -> Mask:
    shown = np.where(mask, appeal, -1.0)
    kept: Mask = mask & (shown == shown.max(initial=-1.0))
    return kept


def _has_wishes(ask: PlacementAsk) -> bool:
    location, affinity = ask.spec.location, ask.affinity
    named = location.host or location.cluster or location.datastore
    return bool(named or affinity.apart_from or affinity.together_with)


def _draws(seed: str, count: int) -> list[float]:
    """Return numbers in [0, 1) that the seed decides."""
    digest = hashlib.blake2b(seed.encode(), digest_size=8 * count).digest()
    return [int.from_bytes(digest[8 * each : 8 * each + 7], "big") / 2**56 for each in range(count)]
