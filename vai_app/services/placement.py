"""Placement: chooses datacenter, cluster, host and datastore for a machine, reserves them, and says why.

The choice is made over what the resource manager knows; nothing here calls a hypervisor.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from vai_app.domain.capacity import DatacenterCapacity
from vai_app.domain.datacenters import Datacenter
from vai_app.domain.errors import NotFound, ProviderUnavailable, QuotaExceeded, VaiError
from vai_app.domain.operations import Done, Operation, Outcome, Reject, StepName, Wait
from vai_app.domain.placement.arrays import CapacityArrays
from vai_app.domain.placement.asks import Affinity, Elsewhere, PlacementAsk, PlacementWish, Spot
from vai_app.domain.placement.checks import (
    Check,
    CheckName,
    datacenter_checks,
    judge_datacenter,
    location_of,
)
from vai_app.domain.placement.choice import MOST_CANDIDATES, Chooser, allowed_rows, best_alternative
from vai_app.domain.placement.explanation import (
    MOST_HOSTS,
    Explanation,
    account_of,
    explain,
    refusal,
    smallest_change,
)
from vai_app.domain.ports.capacity import CapacityBook, Permissions
from vai_app.domain.ports.datacenters import DatacenterRepository
from vai_app.domain.ports.machines import MachineRepository
from vai_app.domain.virtual_machines import Location, MachineSpec
from vai_app.services.arguments import owner_of, plain, roles_of, shortages_of, spec_of, wish_of
from vai_app.services.steps import Step, datacenter_of

_LOOKS = 4
_CONTENDED_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Decision:
    """Where a machine may go in one datacenter, best first, and why."""

    datacenter: Datacenter
    locations: tuple[Location, ...]
    explanation: Explanation


@dataclass(frozen=True, slots=True)
class PlacementRequest:
    """A machine that somebody thinks of; ``datacenter`` is an id or a name."""

    datacenter: str
    spec: MachineSpec
    wish: PlacementWish


class Refused(Exception):
    """There is no place. Carries the error that says so and the explanation."""

    def __init__(self, error: VaiError, explanation: Explanation) -> None:
        """Keep both."""
        super().__init__(error.detail)
        self.error = error
        self.explanation = explanation


class Placement:
    """Decides over snapshots of capacity."""

    def __init__(
        self,
        *,
        datacenters: DatacenterRepository,
        machines: MachineRepository,
        capacity: CapacityBook,
        permissions: Permissions,
    ) -> None:
        """``permissions`` judges policy and quota for a tenant in a datacenter."""
        self._datacenters = datacenters
        self._machines = machines
        self._capacity = capacity
        self._permissions = permissions

    def ask_of(self, operation: Operation) -> PlacementAsk:
        """Return what a creation asks of placement, of the datacenter that was asked for."""
        short = shortages_of(operation)
        datacenter_id = datacenter_of(operation)
        if short and operation.explanation is not None:
            datacenter_id = operation.explanation["asked"]  # it may have been sent elsewhere already
        asked = self.ask(spec_of(operation), operation.tenant, datacenter_id, wish_of(operation), seed=operation.id)
        return replace(asked, roles=roles_of(operation), short=short, machine_id=operation.target_id)

    def ask(
        self, spec: MachineSpec, tenant: str, datacenter_id: str, wish: PlacementWish, *, seed: str
    ) -> PlacementAsk:
        """Return a request as placement reads it. Raises NotFound for a machine that is not the tenant's."""
        return PlacementAsk(
            spec=spec,
            tenant=tenant,
            datacenter_id=datacenter_id,
            seed=seed,
            elsewhere=wish.elsewhere,
            affinity=Affinity(
                apart_from=tuple(self._spot(each, tenant) for each in wish.apart_from),
                together_with=tuple(self._spot(each, tenant) for each in wish.together_with),
                scope=wish.scope,
            ),
        )

    def decide(self, ask: PlacementAsk) -> Decision:
        """Return where the machine may go. Raises Refused, NotFound."""
        here = self._capacity.snapshot([ask.datacenter_id])[0]
        # A datacenter that does not answer now is waited for by the steps to come, unless another may do.
        may_wait = ask.elsewhere is not Elsewhere.AUTOMATICALLY
        decision = self._decide_in(here, ask, may_wait=may_wait)
        if decision is not None:
            return decision
        snapshot = self._capacity.snapshot()
        if ask.elsewhere is Elsewhere.AUTOMATICALLY:
            decision = self._decide_elsewhere(snapshot, ask) or self._decide_in(here, ask, may_wait=True)
            if decision is not None:
                return decision
        raise Refused(refusal(judge_datacenter(here, ask, self._permitted(here, ask))), self.explain(ask, snapshot))

    def explain_request(self, tenant: str, asked: PlacementRequest, roles: tuple[str, ...] = ()) -> Mapping[str, Any]:
        """Return the explanation of a machine that is not created. Raises NotFound."""
        datacenter_id = self._datacenters.get(asked.datacenter).id
        ask = self.ask(asked.spec, tenant, datacenter_id, asked.wish, seed=asked.spec.name)
        return self.explain(replace(ask, roles=roles)).as_document()

    def check(self, ask: PlacementAsk) -> None:
        """Raise Refused when the chosen datacenter itself does not take such a machine, whatever its hosts have left.

        Does nothing where the machine may go elsewhere: the placement will tell.
        """
        if ask.elsewhere is Elsewhere.AUTOMATICALLY:
            return
        here = self._capacity.unreserved(ask.datacenter_id)
        checks = self._own_checks(here, ask)
        if not _refuses(checks, may_wait=True, hosts_decide=True):
            return
        verdict = judge_datacenter(here, ask, self._permitted(here, ask))
        own = replace(verdict, checks=tuple(each for each in checks if each.name is not CheckName.REACHABLE))
        raise Refused(refusal(own), self.explain(ask, self._capacity.snapshot()))

    def accepts(self, capacity: DatacenterCapacity, ask: PlacementAsk) -> bool:
        """Whether a datacenter that answers takes such a machine, whatever its hosts have left."""
        return not _refuses(self._own_checks(capacity, ask), may_wait=False, hosts_decide=True)

    def explain(self, ask: PlacementAsk, snapshot: Sequence[DatacenterCapacity] | None = None) -> Explanation:
        """Return the verdict on every datacenter and host, the best alternative, the smallest change that fits."""
        snapshot = self._capacity.snapshot() if snapshot is None else snapshot
        verdicts = [judge_datacenter(each, ask, self._permitted(each, ask)) for each in snapshot]
        here = next((each for each in snapshot if each.datacenter.id == ask.datacenter_id), None)
        fits_here = any(each.fits and each.datacenter_id == ask.datacenter_id for each in verdicts)
        arrays = CapacityArrays(snapshot)
        others = [
            index
            for index, each in enumerate(verdicts)
            if each.fits and each.datacenter_id != ask.datacenter_id and snapshot[index].datacenter.observed_at
        ]
        best = best_alternative(arrays, ask.room, ask.tenant, others)
        chosen = None
        if fits_here and here is not None:
            decision = self._decide_in(here, ask, may_wait=False)
            chosen = (ask.datacenter_id, decision.locations[0].host) if decision else None
        return explain(
            ask,
            [account_of(each) for each in verdicts],
            chosen=chosen,
            alternative=snapshot[best].datacenter.id if best is not None else None,
            smaller=smallest_change(here, ask, self._permitted(here, ask)) if here and not fits_here else None,
        )

    def _decide_in(self, capacity: DatacenterCapacity, ask: PlacementAsk, *, may_wait: bool) -> Decision | None:
        checks = self._own_checks(capacity, ask)
        if _refuses(checks, may_wait=may_wait):
            return None
        arrays = CapacityArrays([capacity])
        among = allowed_rows(arrays, 0, ask)
        rows = Chooser(arrays, ask.tenant).choose(ask.room, ask.seed, among=among, most=MOST_CANDIDATES)
        if not rows:
            return None
        hosts = [arrays.hosts[row] for row in rows]
        shown = [host for host in hosts if host is not None]
        seen = {host.host.ref for host in shown}
        others = [host for host in capacity.hosts if host.host.ref not in seen][: MOST_HOSTS - len(shown)]
        chosen_host = shown[0].host.ref if shown else None
        account = account_of(
            judge_datacenter(replace(capacity, hosts=(*shown, *others)), ask, self._permitted(capacity, ask)),
            chosen_host,
        )
        account = replace(
            account,
            fits=True,
            checks=tuple(checks),
            hosts_total=len(capacity.hosts),
            hosts_fitting=int((arrays.fitting(ask.room) & among).sum()) if capacity.hosts else 0,
        )
        return Decision(
            datacenter=capacity.datacenter,
            locations=tuple(location_of(capacity, host, ask) for host in hosts),
            explanation=explain(ask, [account], chosen=(capacity.datacenter.id, chosen_host)),
        )

    def _decide_elsewhere(self, snapshot: Sequence[DatacenterCapacity], ask: PlacementAsk) -> Decision | None:
        explanation = self.explain(ask, snapshot)
        if explanation.alternative is None:
            return None
        there = next(each for each in snapshot if each.datacenter.id == explanation.alternative)
        decision = self._decide_in(there, ask, may_wait=False)
        if decision is None:
            return None
        host = decision.locations[0].host
        return replace(decision, explanation=replace(explanation, chosen=there.datacenter.id, chosen_host=host))

    def _own_checks(self, capacity: DatacenterCapacity, ask: PlacementAsk) -> list[Check]:
        own = datacenter_checks(capacity, ask.at(capacity.datacenter.id))
        return [*own, *self._permitted(capacity, ask)]

    def _permitted(self, capacity: DatacenterCapacity, ask: PlacementAsk) -> Sequence[Check]:
        return self._permissions.judge(ask, capacity.datacenter)

    def _spot(self, machine_id: str, tenant: str) -> Spot:
        machine = self._machines.get(machine_id, tenant)
        named = machine.observed_host
        host = self._datacenters.get(machine.datacenter_id).inventory.host(named) if named is not None else None
        return Spot(machine.datacenter_id, host.ref if host else named)


class PlaceMachine(Step):
    """``vai.place``: the operation knows where its machine is to be made, and the room there is the machine's."""

    name = StepName.PLACE

    def __init__(self, *, placement: Placement, capacity: CapacityBook, machines: MachineRepository) -> None:
        """Collaborators."""
        self._placement = placement
        self._capacity = capacity
        self._machines = machines

    def do(self, operation: Operation) -> Outcome:
        """Choose and reserve; where another request was quicker, the next candidate. Calls no hypervisor."""
        try:
            ask = self._placement.ask_of(operation)
            if self._seated(operation, ask):
                return Done({"locations": [operation.arguments["seat"]]})
            if operation.attempts > 1:
                # An attempt before may have reserved and died; what it holds must not stand in its own way.
                self._capacity.release(operation.target_id)
            for _ in range(_LOOKS):
                decision = self._placement.decide(ask)
                require_listed(decision.datacenter)
                for number, location in enumerate(decision.locations):
                    if self._reserve(operation, decision.datacenter.id, location, ask):
                        return self._placed(operation, decision, number)
        except Refused as refused:
            return Reject(refused.error, refused.explanation.as_document())
        except (NotFound, QuotaExceeded) as error:
            return Reject(error)
        return Wait(seconds=_CONTENDED_SECONDS)

    def undo(self, operation: Operation) -> Outcome:
        """Give the room back."""
        self._capacity.release(operation.target_id)
        return Done()

    def _seated(self, operation: Operation, ask: PlacementAsk) -> bool:
        """Whether the batch that the machine belongs to chose its place, and the room there is still the machine's."""
        seat = operation.arguments.get("seat")
        if seat is None:
            return False
        return self._reserve(operation, ask.datacenter_id, Location(**seat), ask)

    def _reserve(self, operation: Operation, datacenter_id: str, location: Location, ask: PlacementAsk) -> bool:
        return self._capacity.reserve(operation.target_id, datacenter_id, location, ask.room, owner_of(operation))

    def _placed(self, operation: Operation, decision: Decision, number: int) -> Done:
        if decision.datacenter.id != operation.datacenter_id:
            self._machines.record_datacenter(operation.target_id, decision.datacenter.id)
        host = decision.locations[number].host
        explanation = replace(decision.explanation, chosen_host=host)
        return Done(
            memo={"locations": plain(decision.locations[number:])},
            datacenter_id=decision.datacenter.id,
            explanation=explanation.as_document(),
        )


def require_listed(datacenter: Datacenter) -> None:
    """Raise ProviderUnavailable for a datacenter whose hosts VAI does not know yet: nothing would count there."""
    if datacenter.observed_at is None:
        message = f"Datacenter {datacenter.name} has not been listed yet, so that its room is not known."
        raise ProviderUnavailable(message)


def _refuses(checks: Sequence[Check], *, may_wait: bool, hosts_decide: bool = False) -> bool:
    waited_for = {CheckName.REACHABLE} if may_wait else set()
    of_hosts = {CheckName.DISK, CheckName.FAILOVER} if hosts_decide else set()
    return any(not check.passed and check.name not in waited_for | of_hosts for check in checks)
