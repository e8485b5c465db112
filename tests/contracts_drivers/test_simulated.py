"""The reference semantics keep the contract."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contracts_drivers.contract import HypervisorContract
from tests.contracts_drivers.site import Site
from vai_app.domain.datacenters import Connection, HostState
from vai_app.domain.hypervisor import Hypervisor
from vai_app.domain.virtual_machines import FixedAddress
from vai_app.drivers.simulated.control import Control
from vai_app.drivers.simulated.driver import SimulatedHypervisor

_OPTIONS = {"username": "vai", "password": "right", "task_delay_seconds": 0.05}


class SimulatedSite(Site):
    """A world in a file."""

    image = "debian-12"
    networks = ("default", "backend")

    def __init__(self, path: Path) -> None:
        self._path = path
        super().__init__()
        self.hypervisor.verify()

    def connect(self, **credentials: str) -> Hypervisor:
        given = {"username": "vai", "password": "right", **credentials}
        return SimulatedHypervisor(
            Connection("dc-1", "simulated", f"simulated://{self._path}", given, options=dict(_OPTIONS))
        )

    def stranger(self) -> str:
        return Control(self._path).add_stranger("stranger")

    def free_address(self) -> FixedAddress:
        return FixedAddress(self.networks[0], "198.51.100.7")

    def user_data_of(self, ref: str) -> str | None:
        return Control(self._path).user_data(ref)

    def restored_to(self, ref: str) -> str | None:
        return Control(self._path).restored_to(ref)

    def fail_host(self, ref: str) -> None:
        [name] = [host.name for host in self.hypervisor.observe_inventory().hosts if host.ref == ref]
        Control(self._path).set_host_state(name, HostState.DOWN)

    def restore_host(self, ref: str) -> None:
        [name] = [host.name for host in self.hypervisor.observe_inventory().hosts if host.ref == ref]
        Control(self._path).set_host_state(name, HostState.UP)


@pytest.mark.spec(29)
class TestSimulated(HypervisorContract):
    """Everything that can be declared."""

    capabilities = SimulatedHypervisor.capabilities

    @pytest.fixture
    def site(self, tmp_path: Path) -> Iterator[SimulatedSite]:
        site = SimulatedSite(tmp_path / "world.db")
        yield site
        site.hypervisor.close()
