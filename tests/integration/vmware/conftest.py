"""A simulated vCenter of its own for each test, a driver connected to it, and an independent client."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pyVim.connect import Disconnect
from pyVmomi import vim

from tests.integration.vmware.vmware_bench import Bench, connection_to, machine_of
from tests.lab.vcsim import Vcsim
from vai_app.drivers.vmware import VmwareHypervisor


@pytest.fixture
def datastores(tmp_path: Path) -> Path:
    return tmp_path / "vcsim"


@pytest.fixture
def vcsim(datastores: Path) -> Iterator[Vcsim]:
    simulator = Vcsim(datastores)
    simulator.start()
    yield simulator
    simulator.stop()


@pytest.fixture
def connect_to(vcsim: Vcsim) -> Iterator[Callable[..., VmwareHypervisor]]:
    """Return a function that connects to the simulator with some settings changed."""
    opened = []

    def connect(**changes: Any) -> VmwareHypervisor:
        opened.append(VmwareHypervisor(connection_to(vcsim, **changes)))
        return opened[-1]

    yield connect
    for hypervisor in opened:
        hypervisor.close()


@pytest.fixture
def bench(connect_to: Callable[..., VmwareHypervisor], vcsim: Vcsim, datastores: Path) -> Bench:
    return Bench(connect_to(), vcsim, datastores)


@pytest.fixture
def vcenter(vcsim: Vcsim) -> Iterator[vim.ServiceInstance]:
    """An independent client, as an operator's program would connect."""
    instance = vcsim.log_in()
    yield instance
    Disconnect(instance)


@pytest.fixture
def template(bench: Bench, vcenter: vim.ServiceInstance) -> str:
    """A template with one disk of 4 GiB and one NIC on 'VM Network'; its name."""
    machine = machine_of(vcenter, bench.create("debian-12", networks=("VM Network",)))
    machine.MarkAsTemplate()
    return "debian-12"
