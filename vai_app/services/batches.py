"""Batches: several machines placed together, each an ordinary creation with its own reservation.

The batch is an operation of its own: it places all machines, reserves their room, opens their creations and waits for
them. Undoing it removes what was made and turns back what is being made.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import numpy as np

from vai_app.domain.capacity import DatacenterCapacity
from vai_app.domain.errors import CapacityShort, Conflict, MachineBusy, NotFound, QuotaExceeded, error_from
from vai_app.domain.identifiers import derived_id
from vai_app.domain.operations import (
    REPUBLISH_SECONDS,
    Done,
    Fail,
    Operation,
    OperationKind,
    OperationState,
    Outcome,
    Reject,
    StepName,
    Wait,
)
from vai_app.domain.placement.arrays import CapacityArrays, Mask
from vai_app.domain.placement.asks import NO_WISH, Elsewhere, PlacementAsk
from vai_app.domain.placement.batches import BatchProblem, BatchSolver, Seat, seat_batch, seated
from vai_app.domain.placement.checks import location_of
from vai_app.domain.ports.capacity import CapacityBook
from vai_app.domain.ports.clock import Clock
from vai_app.domain.ports.operations import OperationRepository
from vai_app.domain.virtual_machines import Location, MachineSpec
from vai_app.services.arguments import BatchMachine, machines_of, owner_of, plain, roles_of, rules_of
from vai_app.services.nudge import Nudge
from vai_app.services.placement import Placement, Refused, require_listed
from vai_app.services.plans import PLANS
from vai_app.services.steps import Step

_LOOK_SECONDS = 1.0
_CONTENDED_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Placed:
    """Where one machine of a batch goes."""

    machine: BatchMachine
    datacenter_id: str
    location: Location


class BatchPlacement:
    """Decides where the machines of a batch go."""

    def __init__(
        self, *, placement: Placement, capacity: CapacityBook, solver: BatchSolver | None, solver_seconds: float
    ) -> None:
        """``solver`` is asked where the greedy answer leaves a machine out, and may take ``solver_seconds``."""
        self._placement = placement
        self._capacity = capacity
        self._solver = solver
        self._solver_seconds = solver_seconds

    def decide(self, operation: Operation) -> list[Placed | None]:
        """Return a place for each machine, ``None`` where there is none. Raises Refused by the batch's own rules."""
        machines, rules = machines_of(operation), rules_of(operation)
        snapshot = self._listed(operation.arguments["datacenters"])
        asks = [self._ask(operation, machine, snapshot) for machine in machines]
        arrays = CapacityArrays(snapshot)
        problem = BatchProblem(
            arrays=arrays,
            rooms=tuple(ask.room for ask in asks),
            among=self._among(arrays, asks),
            rules=rules,
            tenant=operation.tenant,
            seed=operation.id,
        )
        seating = seat_batch(problem, self._solver, seconds=self._solver_seconds)
        missing = [asks[number] for number, seat in enumerate(seating) if seat is None]
        if missing and (rules.all_or_nothing or seated(seating) == 0):
            explanation = self._placement.explain(missing[0], snapshot)
            detail = (
                f"{len(missing)} of {len(asks)} machines have no place together with the others, "
                f"first {missing[0].spec.name}. Nothing was made."
            )
            raise Refused(CapacityShort(detail), explanation)
        return [
            _placed(arrays, machine, ask, seat) if seat is not None else None
            for machine, ask, seat in zip(machines, asks, seating, strict=True)
        ]

    def _listed(self, named: Sequence[str]) -> Sequence[DatacenterCapacity]:
        """Return the datacenters to place in: those that were named, else all whose room is known."""
        found = self._capacity.snapshot(named or None)
        listed = [each for each in found if each.datacenter.observed_at is not None]
        for each in found if named or not listed else ():
            require_listed(each.datacenter)
        return listed

    def _ask(self, operation: Operation, machine: BatchMachine, snapshot: Sequence[DatacenterCapacity]) -> PlacementAsk:
        first = snapshot[0].datacenter.id if snapshot else ""
        ask = self._placement.ask(machine.spec, operation.tenant, first, NO_WISH, seed=operation.id)
        return replace(ask, roles=roles_of(operation))

    def _among(self, arrays: CapacityArrays, asks: Sequence[PlacementAsk]) -> tuple[Mask, ...]:
        """Return the rows of the datacenters that accept each machine; equal machines are judged once."""
        known: dict[Any, Mask] = {}
        for ask in asks:
            kind = _kind(ask.spec)
            if kind not in known:
                accepting = [self._placement.accepts(each, ask) for each in arrays.snapshot]
                known[kind] = np.array(accepting, np.bool_)[arrays.datacenter]
        return tuple(known[_kind(ask.spec)] for ask in asks)


class PlaceBatch(Step):
    """``vai.place_batch``: every machine of the batch has its room and its creation."""

    name = StepName.PLACE_BATCH

    def __init__(
        self,
        *,
        batches: BatchPlacement,
        capacity: CapacityBook,
        operations: OperationRepository,
        nudge: Nudge,
        clock: Clock,
    ) -> None:
        """Collaborators."""
        self._batches = batches
        self._capacity = capacity
        self._operations = operations
        self._nudge = nudge
        self._clock = clock

    def do(self, operation: Operation) -> Outcome:
        """Place, reserve and open the creations; a repeated attempt goes on with those that are open already."""
        if _creations(self._operations, operation):
            # The first creation is stored after every room is reserved: the places are those of the memo.
            return self._open(operation, operation.memo["places"])
        places = operation.memo.get("places")
        try:
            if places is None:
                placed = self._batches.decide(operation)
                # Remembered before anything is reserved, so that a repeated attempt reserves the same.
                return Wait(seconds=0, memo={"places": [_document(each) for each in placed]})
            if not self._reserve(operation, places):
                return Wait(seconds=_CONTENDED_SECONDS, memo={"places": None})
        except Refused as refused:
            return Reject(refused.error, refused.explanation.as_document())
        except (NotFound, QuotaExceeded) as error:
            return Reject(error)
        return self._open(operation, places)

    def undo(self, operation: Operation) -> Outcome:
        """Turn back or remove every machine of the batch, and give back what was reserved for the others."""
        try:
            open_ones, kept = self._take_back(operation)
        except MachineBusy:
            return Wait(seconds=_LOOK_SECONDS)
        if open_ones:
            return Wait(seconds=_LOOK_SECONDS)
        if kept:
            return Fail(Conflict(f"Machines of the batch could not be removed: {', '.join(kept)}."))
        return Done()

    def _take_back(self, operation: Operation) -> tuple[list[str], list[str]]:
        """Return the operations that are still at it, and the machines that could not be removed."""
        open_ones: list[str] = []
        kept: list[str] = []
        for number in range(len(operation.arguments["machines"])):
            creation = _get(self._operations, derived_id("op", operation.id, number))
            if creation is None:
                self._capacity.release(derived_id("vm", operation.id, number))
            elif creation.state.open:
                open_ones.append(self._turn_back(creation).id)
            elif creation.state is OperationState.SUCCEEDED:
                removal = self._removal_of(operation, creation, number)
                open_ones += [removal.id] if removal.state.open else []
                kept += [creation.target_id] if _kept(removal) else []
        return open_ones, kept

    def _reserve(self, operation: Operation, places: Sequence[Any]) -> bool:
        """Reserve every room, or none."""
        for number, place in enumerate(places):
            if place is None:
                continue
            machine_id = derived_id("vm", operation.id, number)
            room = machines_of(operation)[number].room
            location = Location(**place["location"])
            if not self._capacity.reserve(machine_id, place["datacenter_id"], location, room, owner_of(operation)):
                for earlier in range(number):
                    self._capacity.release(derived_id("vm", operation.id, earlier))
                return False
        return True

    def _open(self, operation: Operation, places: Sequence[Any]) -> Done:
        machines = machines_of(operation)
        opened, unplaced = [], []
        for number, place in enumerate(places):
            if place is None:
                unplaced.append(machines[number].spec.name)
                continue
            creation = self._creation(operation, number, machines[number], place)
            if _get(self._operations, creation.id) is None:
                self._operations.insert(creation)
                self._nudge(creation.step, creation.id)
            opened.append(creation.id)
        return Done({"operations": opened, "unplaced": unplaced})

    def _creation(self, operation: Operation, number: int, machine: BatchMachine, place: Any) -> Operation:
        now = self._clock()
        return Operation(
            id=derived_id("op", operation.id, number),
            kind=OperationKind.CREATE_VM,
            tenant=operation.tenant,
            requested_by=operation.requested_by,
            correlation_id=operation.correlation_id,
            target_id=derived_id("vm", operation.id, number),
            datacenter_id=place["datacenter_id"],
            arguments={
                "spec": plain(replace(machine.spec, location=Location(**place["location"]))),
                "labels": dict(machine.labels),
                "placement": plain(replace(NO_WISH, elsewhere=Elsewhere.NEVER)),
                "seat": place["location"],
                "batch": operation.id,
                "lifetime": operation.arguments.get("lifetime", {}),
                "roles": list(roles_of(operation)),
            },
            plan=PLANS[OperationKind.CREATE_VM],
            created_at=now,
            deadline=operation.deadline,
            due_at=now + timedelta(seconds=REPUBLISH_SECONDS),
        )

    def _turn_back(self, creation: Operation) -> Operation:
        if not creation.cancel_requested and creation.state is not OperationState.UNDOING:
            creation = self._operations.request_cancel(creation.id, None)
            self._nudge(creation.step, creation.id)
        return creation

    def _removal_of(self, operation: Operation, creation: Operation, number: int) -> Operation:
        """Return the operation that removes a machine of the batch, opened the first time."""
        known = _get(self._operations, derived_id("op", operation.id, -1 - number))
        if known is not None:
            return known
        now = self._clock()
        removal = replace(
            creation,
            id=derived_id("op", operation.id, -1 - number),
            kind=OperationKind.DELETE_VM,
            arguments={"batch": operation.id},
            plan=PLANS[OperationKind.DELETE_VM],
            state=OperationState.PENDING,
            created_at=now,
            deadline=now + (operation.deadline - operation.created_at),
            due_at=now + timedelta(seconds=REPUBLISH_SECONDS),
            cursor=0,
            attempts=0,
            memo={},
            native_task=None,
            explanation=None,
            history=(),
            version=0,
            finished_at=None,
        )
        stored = self._operations.insert(removal)
        self._nudge(stored.step, stored.id)
        return stored


class AwaitBatch(Step):
    """``vai.await_batch``: every machine of the batch is made, or as many as could be."""

    name = StepName.AWAIT_BATCH

    def __init__(self, *, operations: OperationRepository) -> None:
        """Collaborators."""
        self._operations = operations

    def do(self, operation: Operation) -> Outcome:
        """Wait for the creations; of an all-or-nothing batch the first that fails turns the batch back."""
        creations = [self._operations.get(each, None) for each in operation.memo["operations"]]
        failed = [each for each in creations if not each.state.open and each.state is not OperationState.SUCCEEDED]
        if failed and rules_of(operation).all_or_nothing:
            problem = failed[0].problem
            detail = f"{failed[0].target_id} {failed[0].state}: {problem.detail if problem else 'no reason recorded'}"
            return Fail(error_from(problem.problem if problem else "conflict", detail))
        if any(each.state.open for each in creations):
            return Wait(seconds=_LOOK_SECONDS)
        if len(failed) == len(creations):
            return Fail(Conflict("No machine of the batch could be made. Their operations say why."))
        return Done()


def _creations(operations: OperationRepository, operation: Operation) -> list[Operation]:
    """Return the creations that are stored."""
    total = len(operation.arguments["machines"])
    found = (_get(operations, derived_id("op", operation.id, number)) for number in range(total))
    return [each for each in found if each is not None]


def _get(operations: OperationRepository, operation_id: str) -> Operation | None:
    try:
        return operations.get(operation_id, None)
    except NotFound:
        return None


def _kept(removal: Operation) -> bool:
    """Whether a removal ended and left the machine."""
    return not removal.state.open and removal.state is not OperationState.SUCCEEDED


def _placed(arrays: CapacityArrays, machine: BatchMachine, ask: PlacementAsk, seat: Seat) -> Placed:
    capacity = arrays.snapshot[int(arrays.datacenter[seat.row])]
    location = location_of(capacity, arrays.hosts[seat.row], ask)
    if seat.store is not None:
        location = replace(location, datastore=capacity.datastores[seat.store].datastore.ref)
    return Placed(machine, capacity.datacenter.id, location)


def _kind(spec: MachineSpec) -> MachineSpec:
    """Return what a machine is judged by: all of it but its name."""
    return replace(spec, name="")


def _document(placed: Placed | None) -> dict[str, Any] | None:
    if placed is None:
        return None
    return {"datacenter_id": placed.datacenter_id, "location": plain(placed.location)}
