"""Machines placed together: the rules between them, greedy and solved."""

import itertools
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.domain.placement.capacities import a_capacity, a_host, sizes, snapshots
from vai_app.domain.capacity import DatacenterCapacity, QuotaCapacity, Room, room_of
from vai_app.domain.placement.arrays import CapacityArrays
from vai_app.domain.placement.asks import Scope
from vai_app.domain.placement.batches import (
    BatchProblem,
    BatchRules,
    Seat,
    Seating,
    broken_rules,
    seat_batch,
    seat_greedily,
    seated,
)
from vai_app.domain.virtual_machines import Size
from vai_app.solver import LazySolver

SECONDS = 10.0
NO_RULES = BatchRules()


def a_batch(
    snapshot: list[DatacenterCapacity], rooms: list[Room], rules: BatchRules = NO_RULES, seed: str = "op-1"
) -> BatchProblem:
    arrays = CapacityArrays(snapshot)
    everywhere = arrays.cpus == arrays.cpus
    return BatchProblem(arrays, tuple(rooms), (everywhere,) * len(rooms), rules, "acme", seed)


def hosts_of(seating: Seating) -> list[int]:
    return [seat.row for seat in seating if seat is not None]


def two_datacenters(hosts: int = 6) -> list[DatacenterCapacity]:
    return [a_capacity(*(a_host(n) for n in range(hosts)), id=f"dc-{each}", name=f"dc-{each}") for each in (1, 2)]


def test_ten_machines_no_two_on_one_host_at_most_half_in_one_datacenter() -> None:
    problem = a_batch(two_datacenters(), [Room(2, 4096, 10)] * 10, BatchRules(Scope.HOST, largest_share=0.5))
    seating = seat_greedily(problem)
    assert seated(seating) == 10
    assert len(set(hosts_of(seating))) == 10
    assert Counter(int(problem.arrays.datacenter[row]) for row in hosts_of(seating)) == {0: 5, 1: 5}


def test_a_machine_in_each_datacenter() -> None:
    problem = a_batch(two_datacenters(), [Room(2, 4096)] * 3, BatchRules(Scope.DATACENTER))
    assert seated(seat_greedily(problem)) == 2


@pytest.mark.parametrize(("dimension", "left"), [("machines", 3), ("cpus", 7), ("memory_mib", 13000)])
@pytest.mark.parametrize("hosts", [0, 6])
def test_a_batch_leaves_a_hypervisors_quota_whole(dimension: str, left: int, hosts: int) -> None:
    limited, other = two_datacenters(hosts)
    limited = replace(limited, quota=(QuotaCapacity(dimension, 20_000, 20_000 - left),))
    problem = a_batch([limited], [Room(2, 4096)] * 5)
    assert seated(seat_greedily(problem)) == 3
    assert seated(seat_batch(problem, LazySolver(), seconds=SECONDS)) == 3
    both = seat_batch(a_batch([limited, other], [Room(2, 4096)] * 5), None, seconds=SECONDS)
    assert seated(both) == 5


def test_the_solver_finds_a_place_for_all_where_the_greedy_answer_leaves_one_out() -> None:
    # 9 + 7 and 6 + 5 + 5 fill two hosts of 16 GiB; the largest first puts 9 + 6 and 7 + 5 and leaves a 5.
    gib = 1024
    capacity = a_capacity(*(a_host(n, free_mib=16 * gib) for n in range(2)))
    problem = a_batch([capacity], [Room(1, size * gib) for size in (9, 7, 6, 5, 5)])
    assert seated(seat_batch(problem, LazySolver(), seconds=SECONDS)) == 5


def test_a_machine_that_fits_nowhere_is_left_out_without_a_solver() -> None:
    problem = a_batch(two_datacenters(1), [Room(2, 4096), Room(2, 10**6)])
    assert seat_batch(problem, _Never(), seconds=SECONDS)[1] is None


def test_the_greedy_answer_stays_where_the_solver_finds_nothing_in_time() -> None:
    capacity = a_capacity(a_host(1, free_mib=4096))
    problem = a_batch([capacity], [Room(1, 4096), Room(1, 4096)])
    assert seated(seat_batch(problem, _Late(), seconds=SECONDS)) == 1


def test_a_seating_that_overdraws_is_told() -> None:
    capacity = a_capacity(a_host(1, free_mib=4096))
    problem = a_batch([capacity], [Room(1, 4096), Room(1, 4096)])
    assert broken_rules(problem, (Seat(0), Seat(0))) == ["row 0 is overdrawn"]


class _Never:
    def solve(self, problem: BatchProblem, *, seconds: float) -> Seating | None:
        pytest.fail(f"asked for {problem} in {seconds}")


class _Late:
    def solve(self, problem: BatchProblem, *, seconds: float) -> Seating | None:
        del problem, seconds


rules = st.builds(
    BatchRules,
    apart=st.sampled_from([None, Scope.HOST, Scope.DATACENTER]),
    largest_share=st.sampled_from([0.3, 0.5, 1.0]),
)


@given(snapshot=snapshots(), asked=st.lists(sizes, min_size=1, max_size=10), rules=rules, seed=st.text(max_size=6))
def test_a_greedy_seating_breaks_no_rule(
    snapshot: list[DatacenterCapacity], asked: list[Size], rules: BatchRules, seed: str
) -> None:
    problem = a_batch(snapshot, [room_of(size) for size in asked], rules, seed)
    assert broken_rules(problem, seat_greedily(problem)) == []


@settings(max_examples=20, deadline=None)
@given(snapshot=snapshots(), asked=st.lists(sizes, min_size=1, max_size=4), rules=rules)
def test_the_solver_and_trying_everything_agree_on_how_many_can_be_placed_and_the_greedy_places_no_more(
    snapshot: list[DatacenterCapacity], asked: list[Size], rules: BatchRules
) -> None:
    small = [replace(each, hosts=each.hosts[:3]) for each in snapshot[:2]]
    problem = a_batch(small, [room_of(size) for size in asked], rules)
    solved = LazySolver().solve(problem, seconds=SECONDS)
    assert solved is not None
    assert broken_rules(problem, solved) == []
    assert seated(seat_greedily(problem)) <= seated(solved) == _most_by_trying(problem)


def _most_by_trying(problem: BatchProblem) -> int:
    """Return the most machines that any seating has, by trying them all."""
    arrays = problem.arrays
    choices: list[list[Seat | None]] = []
    for machine in range(len(problem.rooms)):
        seats: list[Seat | None] = [None]
        for row in problem.rows(machine).nonzero()[0].tolist():
            stores = arrays.store_free[int(arrays.datacenter[row])].size if problem.rooms[machine].disk_gib else 0
            seats += [Seat(row, store) for store in range(stores)] or [Seat(row)]
        choices.append(seats)
    return max(seated(each) for each in itertools.product(*choices) if not broken_rules(problem, each))
