"""Several machines placed together: the rules between them, and the greedy answer.

The greedy answer places the largest first. Where it leaves a machine out, a solver may find a place for all; its
answer is held to the same rules.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from vai_app.domain.capacity import Room
from vai_app.domain.placement.arrays import CapacityArrays, Mask
from vai_app.domain.placement.asks import Scope
from vai_app.domain.placement.choice import Chooser


@dataclass(frozen=True, slots=True)
class BatchRules:
    """What holds between the machines of a batch.

    ``apart`` lets no two share a host or a datacenter; ``largest_share`` is the part of the batch that one
    datacenter may get, at least one machine; ``all_or_nothing`` makes one missing machine refuse the batch.
    """

    apart: Scope | None = None
    largest_share: float = 1.0
    all_or_nothing: bool = True

    def most_in_one_datacenter(self, total: int) -> int:
        """Return how many machines of a batch of ``total`` one datacenter may get."""
        if self.apart is Scope.DATACENTER:
            return 1
        return max(int(self.largest_share * total + 1e-9), 1)


@dataclass(frozen=True, slots=True)
class BatchProblem:
    """A batch over columns. ``among`` says for each machine which rows its other wishes leave."""

    arrays: CapacityArrays
    rooms: tuple[Room, ...]
    among: tuple[Mask, ...]
    rules: BatchRules
    tenant: str
    seed: str

    def rows(self, machine: int) -> Mask:
        """Return the rows that can take one machine while nothing else is placed."""
        mask = self.arrays.fitting(self.rooms[machine]) & self.among[machine]
        if self.rules.apart is Scope.HOST:
            # Where the hypervisor shows no hosts, nobody can tell two of them apart.
            mask &= self.arrays.shown
        return mask


@dataclass(frozen=True, slots=True)
class Seat:
    """Where one machine of a batch goes: a row, and the position of a datastore among its datacenter's."""

    row: int
    store: int | None = None


Seating = tuple[Seat | None, ...]
"""One seat a machine, ``None`` where there is no place."""


class BatchSolver(Protocol):
    """Finds a seating that the greedy answer misses."""

    def solve(self, problem: BatchProblem, *, seconds: float) -> Seating | None:
        """Return the seating with most machines that was found in time, ``None`` where none was."""
        ...


def seat_batch(problem: BatchProblem, solver: BatchSolver | None, *, seconds: float) -> Seating:
    """Return the greedy seating, or the solver's where that one has place for more machines."""
    greedy = seat_greedily(problem)
    if solver is None or None not in greedy or any(not problem.rows(each).any() for each in range(len(greedy))):
        return greedy
    solved = solver.solve(problem, seconds=seconds)
    return solved if solved is not None and seated(solved) > seated(greedy) else greedy


def seat_greedily(problem: BatchProblem) -> Seating:
    """Return a seating that keeps the rules, the largest machine first."""
    arrays = problem.arrays.copy()
    chooser = Chooser(arrays, problem.tenant)
    most = problem.rules.most_in_one_datacenter(len(problem.rooms))
    open_rows = np.ones(len(arrays.hosts), np.bool_)
    counts: Counter[int] = Counter()
    seats: list[Seat | None] = [None] * len(problem.rooms)
    for machine in sorted(range(len(seats)), key=lambda each: _bulk(problem.rooms[each]), reverse=True):
        rows = chooser.choose(
            problem.rooms[machine], f"{problem.seed}/{machine}", among=problem.rows(machine) & open_rows
        )
        for row in rows:
            seats[machine] = Seat(row, arrays.take(row, problem.rooms[machine]))
            index = int(arrays.datacenter[row])
            counts[index] += 1
            if problem.rules.apart is Scope.HOST:
                open_rows[row] = False
            if counts[index] >= most:
                open_rows[arrays.slices[index]] = False
    return tuple(seats)


def seated(seating: Seating) -> int:
    """Return how many machines have a seat."""
    return sum(seat is not None for seat in seating)


def broken_rules(problem: BatchProblem, seating: Sequence[Seat | None]) -> list[str]:
    """Return a sentence for every rule and every limit that a seating breaks; none for one that may be used."""
    arrays = problem.arrays.copy()
    broken = []
    taken = [(machine, seat) for machine, seat in enumerate(seating) if seat is not None]
    for machine, seat in taken:
        if not problem.rows(machine)[seat.row]:
            broken.append(f"machine {machine} does not fit row {seat.row} by itself")
        if arrays.take(seat.row, problem.rooms[machine], seat.store) != seat.store:
            broken.append(f"machine {machine} names a datastore that its row does not reach")
    used = sorted({(seat.row, seat.store) for _, seat in taken}, key=str)
    broken += [f"row {row} is overdrawn" for row, store in used if arrays.overdrawn(row, store)]
    by_datacenter = Counter(int(arrays.datacenter[seat.row]) for _, seat in taken)
    most = problem.rules.most_in_one_datacenter(len(problem.rooms))
    broken += [f"datacenter {index} has {count} machines" for index, count in by_datacenter.items() if count > most]
    if problem.rules.apart is Scope.HOST and len({seat.row for _, seat in taken}) < len(taken):
        broken.append("two machines share a host")
    return broken


def _bulk(room: Room) -> tuple[float, int]:
    return max(room.cpus, room.memory_mib / 4096), room.disk_gib
