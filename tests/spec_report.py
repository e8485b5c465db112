"""A pytest plugin: the test cases of the functional specification, with the outcome of the tests that prove them.

A test names the cases that it proves with ``@pytest.mark.spec(n)``.
"""

from collections import defaultdict
from collections.abc import Iterator

import pytest

CASES = {
    1: "stats collector: loads its configuration from the database",
    2: "stats collector: reloads a changed configuration",
    3: "stats collector: connects with the datacenter's credentials",
    4: "stats collector: collects CPU, memory and network",
    5: "snapshot manager: loads its configuration",
    6: "snapshot manager: reloads a changed configuration",
    7: "snapshot manager: removes snapshots",
    8: "snapshot manager: takes a snapshot named with its time",
    9: "request validator: validates against available resources",
    10: "request validator: recommends another accessible datacenter",
    11: "recovery agent: detects failures continuously",
    12: "recovery agent: restores a machine from its snapshot",
    13: "recovery agent: recovers a host from its snapshot",
    14: "recovery agent: moves a machine to another host where configured",
    15: "resource manager: collects the availability of every datacenter",
    16: "resource manager: validates a request",
    17: "resource manager: reports consumption",
    18: "alarm module: raises an alarm on crossing a threshold",
    19: "alarm module: lowers the severity when usage falls",
    20: "alarm module: sends alarm states to the platform server",
    21: "message queue: starts from its configuration and keeps running",
    22: "message queue: lets callbacks be registered",
    23: "logger: activity and event logs reach the database",
    24: "database proxy: connects with configured credentials",
    25: "database proxy: archives logs",
    26: "policy manager: validates against the tenant's policy",
    27: "hypervisor calls: OpenStack",
    28: "hypervisor calls: VMware",
    29: "hypervisor calls: the same behaviour over different hypervisors",
}

_PROPERTY = "spec"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Let each report carry its cases: with parallel runs it travels to another process."""
    report = yield
    report.user_properties += [(_PROPERTY, n) for mark in item.iter_markers("spec") for n in mark.args]
    return report


class SpecReport:
    """Collects outcomes and prints the table at the end."""

    def __init__(self) -> None:
        self._outcomes: dict[int, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note the outcome of a test that proves a case; a failed set-up counts as failed."""
        outcome = report.outcome
        if outcome == "passed" and report.when != "call":
            return
        for name, n in report.user_properties:
            if name == _PROPERTY:
                self._outcomes[int(str(n))][outcome].add(report.nodeid)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print every case of the specification, those without a test too."""
        if not self._outcomes:
            return
        terminalreporter.section("test cases of the specification")
        for n, title in CASES.items():
            found = self._outcomes.get(n, {})
            said = ", ".join(f"{len(tests)} {outcome}" for outcome, tests in sorted(found.items()))
            terminalreporter.write_line(f"{n:>3}  {title:<72} {said or 'not built yet'}")


def pytest_configure(config: pytest.Config) -> None:
    """Register the collector of this run."""
    config.pluginmanager.register(SpecReport(), "spec-report")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse a mark that names no case."""
    for item in items:
        for mark in item.iter_markers("spec"):
            for n in mark.args:
                if n not in CASES:
                    message = f"{item.nodeid}: the specification has no test case {n}"
                    raise pytest.UsageError(message)
