"""The suite itself: no capability goes untested, and no registered driver without the suite."""

import inspect
from importlib import import_module

import pytest

from tests.contracts_drivers.contract import HypervisorContract
from vai_app.domain.hypervisor import Capability
from vai_app.drivers.registry import DRIVERS


@pytest.mark.parametrize("capability", Capability, ids=str)
def test_each_capability_has_a_test(capability: Capability) -> None:
    tests = [test for _, test in inspect.getmembers(HypervisorContract, inspect.isfunction)]
    assert any(capability in getattr(test, "needs", ()) for test in tests)


@pytest.mark.parametrize("kind", sorted(DRIVERS))
def test_each_driver_is_held_to_the_contract(kind: str) -> None:
    module = import_module(f"tests.contracts_drivers.test_{kind}")
    suites = [
        found for _, found in inspect.getmembers(module, inspect.isclass) if issubclass(found, HypervisorContract)
    ]
    assert len(suites) > 1
