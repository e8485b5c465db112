"""Batches as a model for OR-Tools' CP-SAT: how many machines of each class go to each row and datastore.

Machines that ask for the same room and may go to the same rows are one class, so that ten equal machines are one
number and not ten permutations.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from ortools.sat.python import cp_model

from vai_app.domain.capacity import Room
from vai_app.domain.placement.arrays import UNKNOWN
from vai_app.domain.placement.asks import Scope
from vai_app.domain.placement.batches import BatchProblem, Seat, Seating, broken_rules

_WORKERS = 2


@dataclass(frozen=True)
class _Class:
    """Machines that may replace each other."""

    room: Room
    rows: tuple[int, ...]
    machines: tuple[int, ...]


Choice = tuple[int, int, int | None]
"""Class, row, datastore."""


class CpSatSolver:
    """Implements the ``BatchSolver`` port."""

    def solve(self, problem: BatchProblem, *, seconds: float) -> Seating | None:
        """Return the seating with most machines found in time."""
        classes = _classes(problem)
        model = cp_model.CpModel()
        counts = {choice: model.new_int_var(0, most, "") for choice, most in _choices(problem, classes)}
        _limit_classes(model, counts, classes)
        _limit_rows(model, counts, classes, problem)
        _limit_datacenters(model, counts, classes, problem)
        model.maximize(sum(counts.values()))
        solver = cp_model.CpSolver()
        solver.parameters.max_time_in_seconds = seconds
        solver.parameters.num_workers = _WORKERS
        if solver.solve(model) not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
            return None
        seating = _seating(problem, classes, {choice: solver.value(count) for choice, count in counts.items()})
        return None if broken_rules(problem, seating) else seating


def _classes(problem: BatchProblem) -> list[_Class]:
    found: dict[tuple[Room, tuple[int, ...]], list[int]] = defaultdict(list)
    for machine, room in enumerate(problem.rooms):
        found[room, tuple(np.flatnonzero(problem.rows(machine)).tolist())].append(machine)
    return [_Class(room, rows, tuple(machines)) for (room, rows), machines in found.items()]


def _choices(problem: BatchProblem, classes: list[_Class]) -> Iterator[tuple[Choice, int]]:
    """Yield every variable of the model with its largest value."""
    arrays = problem.arrays
    for number, each in enumerate(classes):
        most = 1 if problem.rules.apart is Scope.HOST else len(each.machines)
        for row in each.rows:
            index = int(arrays.datacenter[row])
            free = arrays.store_free[index]
            if not each.room.disk_gib or not free.size:
                yield (number, row, None), most
                continue
            reach = arrays.reach[index][row - arrays.slices[index].start]
            for store in np.flatnonzero(reach & (free >= each.room.disk_gib)).tolist():
                yield (number, row, store), most


def _limit_classes(model: Any, counts: dict[Choice, Any], classes: list[_Class]) -> None:
    of_class: dict[int, list[Any]] = defaultdict(list)
    for (number, _, _), count in counts.items():
        of_class[number].append(count)
    for number, found in of_class.items():
        model.add(sum(found) <= len(classes[number].machines))


def _limit_rows(model: Any, counts: dict[Choice, Any], classes: list[_Class], problem: BatchProblem) -> None:
    arrays = problem.arrays
    of_row: dict[int, list[tuple[Room, Any]]] = defaultdict(list)
    for (number, row, _), count in counts.items():
        of_row[row].append((classes[number].room, count))
    for row, found in of_row.items():
        if arrays.free_cpus[row] < UNKNOWN:
            model.add(sum(room.cpus * count for room, count in found) <= int(arrays.free_cpus[row]))
            model.add(sum(room.memory_mib * count for room, count in found) <= int(arrays.free_memory_mib[row]))
        if problem.rules.apart is Scope.HOST:
            model.add(sum(count for _, count in found) <= 1)


def _limit_datacenters(model: Any, counts: dict[Choice, Any], classes: list[_Class], problem: BatchProblem) -> None:
    arrays = problem.arrays
    most = problem.rules.most_in_one_datacenter(len(problem.rooms))
    of_datacenter: dict[int, list[tuple[Room, Any]]] = defaultdict(list)
    of_store: dict[tuple[int, int], list[tuple[Room, Any]]] = defaultdict(list)
    for (number, row, store), count in counts.items():
        index = int(arrays.datacenter[row])
        of_datacenter[index].append((classes[number].room, count))
        if store is not None:
            of_store[index, store].append((classes[number].room, count))
    for index, found in of_datacenter.items():
        model.add(sum(count for _, count in found) <= max(0, min(most, arrays.seats[index])))
        headroom = arrays.headroom[index]
        if headroom is not None:
            model.add(sum(room.cpus * count for room, count in found) <= headroom.cpus)
            model.add(sum(room.memory_mib * count for room, count in found) <= headroom.memory_mib)
    for (index, store), found in of_store.items():
        model.add(sum(room.disk_gib * count for room, count in found) <= int(arrays.store_free[index][store]))


def _seating(problem: BatchProblem, classes: list[_Class], values: dict[Choice, int]) -> Seating:
    seats: list[Seat | None] = [None] * len(problem.rooms)
    waiting = [list(each.machines) for each in classes]
    for (number, row, store), count in values.items():
        for _ in range(count):
            seats[waiting[number].pop(0)] = Seat(row, store)
    return tuple(seats)
