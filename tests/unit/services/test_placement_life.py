"""A life of policies, capacity and placement, drawn at random and held against the plain reading of the rules.

Policies come, change and go; hosts fail and return; machines are asked for, resized and deleted. After each step every
machine is where its tenant allowed it, nothing is oversold, no tenant was given more than its quota, and whoever was
refused is one whom no place would have fitted.
"""

from collections import Counter
from dataclasses import asdict, dataclass, replace

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tests.builders import a_datacenter, an_inventory, an_operation
from tests.fakes import FakeStore, SettableClock
from vai_app.bootstrap import build_placement
from vai_app.domain.datacenters import HostState, PlacementSettings
from vai_app.domain.errors import CapacityShort, PolicyRefused, QuotaExceeded
from vai_app.domain.operations import Done, Operation, Reject
from vai_app.domain.placement.asks import Elsewhere, PlacementWish
from vai_app.domain.policies import ConfigurationKind, Limits, Policy
from vai_app.domain.principals import Principal
from vai_app.domain.reservations import Owner, Reservation, changes_between, total_of
from vai_app.domain.virtual_machines import MachineSpec, Size
from vai_app.services.arguments import machine_of
from vai_app.services.placement import PlaceMachine
from vai_app.services.policy_manager import CREATE, PolicyManager, ask_of
from vai_app.services.quotas import PoliciesAndQuotas, Quotas
from vai_app.services.resource_manager import ResourceManager

GIB = 1024
DATACENTERS = ("dc-1", "dc-2")
ROOT = Principal("root", "ops", ("admin",))
HOST_CPUS, HOST_MEMORY_MIB, DISK_GIB = 16, 8 * GIB, 40
FEW = 3

sizes = st.builds(Size, st.integers(1, 10), st.integers(1, 4).map(GIB.__mul__), st.integers(0, 15))
bounds = st.none() | st.integers(1, 5)
states = st.sampled_from([HostState.UP] * len(HostState) + [*HostState])
Wanted = tuple[Size, str, str, str, Elsewhere]
wishes = st.tuples(
    sizes,
    st.sampled_from(["acme", "rival", "brand"]),
    st.sampled_from(["developer", "tester"]),
    st.sampled_from(DATACENTERS),
    st.sampled_from(Elsewhere),
)
limits = st.builds(
    lambda cpus, memory, machines, total, where: Limits(
        machine_cpus=cpus and cpus * 3,
        total_memory_mib=memory and memory * 4 * GIB,
        machines=machines,
        total_cpus=total and total * 8,
        datacenters=where,
    ),
    bounds,
    bounds,
    bounds,
    bounds,
    st.none() | st.lists(st.sampled_from(DATACENTERS), unique=True, max_size=1).map(tuple),
).filter(lambda each: each != Limits())


@dataclass(frozen=True)
class Asked:
    """A machine that was asked for, and by whom."""

    operation: Operation
    spec: MachineSpec
    owner: Owner


class Life(RuleBasedStateMachine):
    """Three tenants in two datacenters of two hosts each; the reservations are the world's truth."""

    def __init__(self) -> None:
        super().__init__()
        self.store = FakeStore(SettableClock())
        settings_ = PlacementSettings(cpu_ratio=1.0)
        for datacenter_id in DATACENTERS:
            self.store.datacenters.insert(a_datacenter(id=datacenter_id, name=datacenter_id, placement=settings_), {})
            inventory = an_inventory(hosts=2, host_memory_mib=HOST_MEMORY_MIB)
            stores = tuple(replace(each, capacity_gib=DISK_GIB, free_gib=DISK_GIB) for each in inventory.datastores)
            self.store.datacenters.record_reachable(datacenter_id, None, replace(inventory, datastores=stores))
        self.policies = PolicyManager(
            configuration=self.store.configuration,
            events=self.store.events,
            clock=self.store.clock,
            refresh_seconds=0,
        )
        quotas = Quotas(policies=self.policies, reservations=self.store.reservations)
        self.capacity = ResourceManager(
            datacenters=self.store.datacenters,
            reservations=self.store.reservations,
            clock=self.store.clock,
            quotas=quotas,
        )
        permissions = PoliciesAndQuotas(policies=self.policies, quotas=quotas)
        placement = build_placement(self.store.datacenters, self.store.machines, self.capacity, permissions)
        self.step = PlaceMachine(placement=placement, capacity=self.capacity, machines=self.store.machines)
        self.asked = 0
        self.placed: dict[str, Asked] = {}
        self.known: dict[str, Policy] = {}

    @rule(
        name=st.sampled_from(["one", "two"]),
        limits=limits,
        roles=st.lists(st.sampled_from(["developer", "tester"]), unique=True, max_size=1).map(tuple),
        tenants=st.lists(st.sampled_from(["acme", "rival"]), unique=True, max_size=1).map(tuple),
    )
    def limit(self, name: str, limits: Limits, roles: tuple[str, ...], tenants: tuple[str, ...]) -> None:
        policy = Policy(name, limits, roles, tenants)
        if name in self.known:
            revision = self.policies.get(ConfigurationKind.POLICY, name).revision
            self.policies.change(ROOT, "cor", ConfigurationKind.POLICY, policy, revision)
        else:
            self.policies.create(ROOT, "cor", ConfigurationKind.POLICY, policy)
        self.known[name] = policy

    @rule(name=st.sampled_from(["one", "two"]))
    def lift(self, name: str) -> None:
        if self.known.pop(name, None) is not None:
            revision = self.policies.get(ConfigurationKind.POLICY, name).revision
            self.policies.delete(ROOT, "cor", ConfigurationKind.POLICY, name, revision)

    @rule(datacenter_id=st.sampled_from(DATACENTERS), number=st.integers(0, 1), state=states)
    def change_host(self, datacenter_id: str, number: int, state: HostState) -> None:
        inventory = self.store.datacenters.get(datacenter_id).inventory
        hosts = tuple(replace(host, state=state) if at == number else host for at, host in enumerate(inventory.hosts))
        self.store.datacenters.record_reachable(datacenter_id, None, replace(inventory, hosts=hosts))

    @rule(wanted=st.lists(wishes, min_size=1, max_size=5))
    def ask_for_some(self, wanted: list[Wanted]) -> None:
        for each in wanted:
            self._ask(*each)

    def _ask(self, size: Size, tenant: str, role: str, datacenter_id: str, elsewhere: Elsewhere) -> None:
        self.asked += 1
        spec = MachineSpec(f"web-{self.asked}", size, image="debian", networks=("lan",))
        owner = Owner(tenant, (role,))
        datacenter = self.store.datacenters.get(datacenter_id)
        refused = self._broken(spec, owner, datacenter_id)
        try:
            self.policies.require_machine(Principal("ann", tenant, (role,)), CREATE, ask_of(spec, datacenter))
        except PolicyRefused:
            assert refused
            return
        assert not refused
        operation = an_operation(
            id=f"op-{self.asked}",
            target_id=f"vm-{self.asked}",
            tenant=tenant,
            datacenter_id=datacenter_id,
            attempts=1,
            arguments={
                "spec": asdict(spec),
                "labels": {},
                "roles": [role],
                "placement": asdict(PlacementWish(elsewhere=elsewhere)),
            },
        )
        self.store.machines.insert(machine_of(operation, spec))
        fitting = {each for each in DATACENTERS if self._fits(spec, owner, each)}
        outcome = self.step.do(operation)
        held = self.store.reservations.get(operation.target_id)
        if isinstance(outcome, Done):
            assert held is not None
            self._assert_well_placed(held, spec, owner)
            if datacenter_id in fitting:
                assert held.datacenter_id == datacenter_id
            else:
                assert elsewhere is Elsewhere.AUTOMATICALLY
            self.placed[operation.target_id] = Asked(operation, spec, owner)
            return
        assert isinstance(outcome, Reject)
        assert held is None
        assert datacenter_id not in fitting
        assert not (elsewhere is Elsewhere.AUTOMATICALLY and fitting)
        assert outcome.explanation is not None
        assert outcome.explanation["alternative"] in (fitting or {None})
        verdicts = {each["datacenter_id"]: each["fits"] for each in outcome.explanation["datacenters"]}
        assert {each for each, fits in verdicts.items() if fits} == fitting
        smaller = outcome.explanation["smaller"]
        if smaller is not None:
            assert self._fits(replace(spec, size=Size(**smaller)), owner, datacenter_id)

    @rule(data=st.data(), size=sizes)
    def resize(self, data: st.DataObject, size: Size) -> None:
        if not self.placed:
            return
        machine_id = data.draw(st.sampled_from(sorted(self.placed)))
        before, owner = self.store.reservations.get(machine_id), self.placed[machine_id].owner
        assert before is not None
        try:
            self.capacity.resize(machine_id, size, owner, done=False)
        except (CapacityShort, QuotaExceeded):
            assert self.store.reservations.get(machine_id) == before
            return
        self.capacity.resize(machine_id, size, owner, done=True)
        after = self.store.reservations.get(machine_id)
        assert after is not None
        assert (after.room.cpus, after.room.memory_mib) == (size.cpus, size.memory_mib)

    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        if len(self.placed) > FEW:
            machine_id = data.draw(st.sampled_from(sorted(self.placed)))
            del self.placed[machine_id]
            for _ in range(2):
                self.capacity.release(machine_id)

    @invariant()
    def what_is_held_is_what_was_placed(self) -> None:
        held = self._held()
        assert {each.machine_id for each in held} == self.placed.keys()
        sums: dict[str, Counter[str]] = {}
        for each in held:
            for account_id, amounts in changes_between(None, each).items():
                sums.setdefault(account_id, Counter()).update(amounts)
        for account_id, amounts in sums.items():
            account = self.store.reservations.account(account_id)
            if account is not None:  # a tenant that nobody ever limited has none
                assert {name: by for name, by in account.reserved.items() if by} == dict(amounts)

    @invariant()
    def nothing_is_oversold(self) -> None:
        for datacenter_id in DATACENTERS:
            for number in (1, 2):
                cpus, memory_mib, _ = self._taken(datacenter_id, f"host-{number}")
                assert (cpus <= HOST_CPUS, memory_mib <= HOST_MEMORY_MIB) == (True, True)
            assert self._taken(datacenter_id)[2] <= DISK_GIB

    def _assert_well_placed(self, held: Reservation, spec: MachineSpec, owner: Owner) -> None:
        host = next(
            each for each in self.store.datacenters.get(held.datacenter_id).inventory.hosts if each.ref == held.host
        )
        assert host.state is HostState.UP
        assert not self._broken(spec, owner, held.datacenter_id)
        total = self._total(owner.tenant)
        for policy in self._policies_on(owner):
            for name, limit in (("machines", "machines"), ("cpus", "total_cpus"), ("memory_mib", "total_memory_mib")):
                most = getattr(policy.limits, limit)
                assert most is None or total[name] <= most

    def _fits(self, spec: MachineSpec, owner: Owner, datacenter_id: str) -> bool:
        """Whether a machine could be placed now, by plainly trying every host."""
        if self._broken(spec, owner, datacenter_id) or self._quota_broken(spec, owner):
            return False
        size = spec.size
        if self._taken(datacenter_id)[2] + size.disk_gib > DISK_GIB:
            return False
        for host in self.store.datacenters.get(datacenter_id).inventory.hosts:
            cpus, memory_mib, _ = self._taken(datacenter_id, host.ref)
            if (
                host.state is HostState.UP
                and cpus + size.cpus <= HOST_CPUS
                and memory_mib + size.memory_mib <= HOST_MEMORY_MIB
            ):
                return True
        return False

    def _broken(self, spec: MachineSpec, owner: Owner, datacenter_id: str) -> bool:
        """Whether a limit of one machine is broken; by testers also those that an installation comes with."""
        testers = Policy("default", Limits(machine_cpus=4, machine_memory_mib=8192, machine_disk_gib=100), ("tester",))
        for policy in (*self._policies_on(owner), *([testers] if "tester" in owner.roles else ())):
            most, where = policy.limits.machine_cpus, policy.limits.datacenters
            if (most is not None and spec.size.cpus > most) or (where is not None and datacenter_id not in where):
                return True
        return False

    def _quota_broken(self, spec: MachineSpec, owner: Owner) -> bool:
        total, size = self._total(owner.tenant), spec.size
        asked = {"machines": 1, "total_cpus": size.cpus, "total_memory_mib": size.memory_mib}
        held = {"machines": "machines", "total_cpus": "cpus", "total_memory_mib": "memory_mib"}
        return any(
            (most := getattr(policy.limits, limit)) is not None and total[held[limit]] + by > most
            for policy in self._policies_on(owner)
            for limit, by in asked.items()
        )

    def _policies_on(self, owner: Owner) -> list[Policy]:
        return [each for each in self.known.values() if each.applies_to(owner.tenant, owner.roles)]

    def _held(self) -> list[Reservation]:
        return [each for dc in DATACENTERS for each in self.store.reservations.of_datacenter(dc)]

    def _total(self, tenant: str) -> Counter[str]:
        total: Counter[str] = Counter()
        for each in self._held():
            if each.tenant == tenant:
                total.update(total_of(each.room))
        return total

    def _taken(self, datacenter_id: str, host: str | None = None) -> tuple[int, int, int]:
        rooms = [
            each.room
            for each in self.store.reservations.of_datacenter(datacenter_id)
            if host is None or each.host == host
        ]
        return sum(r.cpus for r in rooms), sum(r.memory_mib for r in rooms), sum(r.disk_gib for r in rooms)


Life.TestCase.settings = settings(
    max_examples=150,
    stateful_step_count=50,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
TestLife = Life.TestCase
