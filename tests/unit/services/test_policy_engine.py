"""Cedar judges as the policies say: held against the plain reading of the same limits."""

from hypothesis import given, settings
from hypothesis import strategies as st

from vai_app.domain.installation_defaults import DEFAULT_ROLES
from vai_app.domain.policies import Limits, MachineAsk, Policy, Subject, strictest
from vai_app.services.policy_engine import PolicyEngine

CREATE = "virtual-machines:create"
ROLES = tuple(DEFAULT_ROLES)
NAMES = st.sampled_from(["lan", "dmz", 'a"b', "a\\b", "ü", "x'); forbid"])
CHOICES = st.none() | st.lists(NAMES, max_size=3, unique=True).map(tuple)
BOUNDS = st.none() | st.integers(0, 8)

limits = st.builds(
    Limits,
    machine_cpus=BOUNDS,
    machine_memory_mib=BOUNDS,
    machine_disk_gib=BOUNDS,
    networks=CHOICES,
    images=CHOICES,
    datacenters=CHOICES,
    hypervisors=CHOICES,
    machines=BOUNDS,
)
policies = st.lists(
    st.builds(
        Policy,
        name=st.sampled_from(["one", "two", "three"]),
        limits=limits,
        roles=st.lists(st.sampled_from(ROLES), max_size=2).map(tuple),
        tenants=st.lists(st.sampled_from(["acme", "rival"]), max_size=1).map(tuple),
    ),
    max_size=3,
    unique_by=lambda each: each.name,
)
asks = st.builds(
    MachineAsk,
    cpus=st.integers(0, 9),
    memory_mib=st.integers(0, 9),
    disk_gib=st.integers(0, 9),
    networks=st.lists(NAMES, max_size=2).map(tuple),
    image=st.none() | NAMES,
    datacenter=st.none() | NAMES,
    hypervisor=st.none() | NAMES,
)
roles = st.lists(st.sampled_from([*ROLES, "unknown"]), max_size=2, unique=True).map(tuple)


def broken_by(policy: Policy, ask: MachineAsk) -> set[tuple[str, str]]:
    held = policy.limits
    sizes = {"machine_cpus": ask.cpus, "machine_memory_mib": ask.memory_mib, "machine_disk_gib": ask.disk_gib}
    found = {name for name, asked in sizes.items() if (bound := getattr(held, name)) is not None and asked > bound}
    for name, asked in (("images", ask.image), ("datacenters", ask.datacenter), ("hypervisors", ask.hypervisor)):
        allowed = getattr(held, name)
        if allowed is not None and asked is not None and asked not in allowed:
            found.add(name)
    if held.networks is not None and not {*ask.networks} <= {*held.networks}:
        found.add("networks")
    return {(policy.name, name) for name in found}


@settings(max_examples=200, deadline=None)
@given(policies, asks, roles, st.sampled_from(["acme", "rival"]))
def test_a_machine_is_refused_by_exactly_the_limits_that_it_breaks(
    given_policies: list[Policy], ask: MachineAsk, carried: tuple[str, ...], tenant: str
) -> None:
    engine = PolicyEngine(DEFAULT_ROLES.values(), given_policies)
    subject = Subject("ann", tenant, carried)
    verdict = engine.judge(subject, CREATE, ask)
    expected: set[tuple[str, str]] = set()
    for policy in given_policies:
        if policy.applies_to(tenant, carried):
            expected |= broken_by(policy, ask)
    assert {(each.policy, each.limit) for each in verdict.refusals} == expected
    may = any(role in DEFAULT_ROLES and role != "viewer" for role in carried)
    assert verdict.allowed == (may and not expected)


@settings(max_examples=200, deadline=None)
@given(policies)
def test_the_strictest_limit_wins_whatever_the_order(given_policies: list[Policy]) -> None:
    found = strictest(given_policies)
    for name in ("machine_cpus", "machine_memory_mib", "machine_disk_gib", "machines"):
        bounds = [bound for each in given_policies if (bound := getattr(each.limits, name)) is not None]
        assert getattr(found, name) == (min(bounds) if bounds else None)
        assert (name in found.sources) == bool(bounds)
    for name in ("networks", "images", "datacenters", "hypervisors"):
        allowed = [{*some} for each in given_policies if (some := getattr(each.limits, name)) is not None]
        assert (getattr(found, name) is None) == (not allowed)
        assert {*(getattr(found, name) or ())} == (set.intersection(*allowed) if allowed else set())


def test_what_no_role_carries_is_refused_without_a_policy() -> None:
    engine = PolicyEngine(DEFAULT_ROLES.values(), [])
    viewer = Subject("vera", "acme", ("viewer",))
    assert not engine.judge(viewer, CREATE).permitted
    assert engine.judge(viewer, "virtual-machines:read").allowed
    assert not engine.judge(viewer, "undeclared").permitted
    assert not engine.judge(Subject("nobody", "acme", ()), "virtual-machines:read").permitted
