"""The VMware driver keeps the contract on a simulated vCenter."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.chaos.witness import Witness
from tests.contracts_drivers.contract import HypervisorContract
from tests.contracts_drivers.site import Site
from tests.integration.vmware.vmware_bench import connection_to
from tests.lab.vcsim import Vcsim
from vai_app.domain.hypervisor import Hypervisor
from vai_app.drivers.vmware import VmwareHypervisor


class VmwareSite(Site):
    """A vCenter with one cluster of four hosts, and a template."""

    image = "debian-12"
    networks = ("VM Network", "DC0_DVPG0")

    def __init__(self, vcsim: Vcsim, folder: Path) -> None:
        self._vcsim = vcsim
        super().__init__()
        self.witness = Witness(vcsim, folder)
        self.create(self.image, image=None)
        self.witness.mark_as_template(self.image)

    def connect(self, **credentials: str) -> Hypervisor:
        connection = connection_to(self._vcsim)
        return VmwareHypervisor(replace(connection, credentials={**connection.credentials, **credentials}))

    def stranger(self) -> str:
        [ref] = [each.ref for each in self.hypervisor.list_machines() if each.name == "DC0_C0_RP0_VM0"]
        return ref

    def user_data_of(self, ref: str) -> str | None:
        return self.witness.user_data(ref)

    def restored_to(self, ref: str) -> str | None:
        return self.witness.restored_to(ref)

    def fail_host(self, ref: str) -> None:
        [name] = [host.name for host in self.hypervisor.observe_inventory().hosts if host.ref == ref]
        self._vcsim.host_state(name, "notResponding")


@pytest.mark.spec(28)
@pytest.mark.spec(29)
class TestVmware(HypervisorContract):
    """On the API of vCenter 6.5."""

    capabilities = VmwareHypervisor.capabilities

    @pytest.fixture
    def site(self, tmp_path: Path) -> Iterator[VmwareSite]:
        vcsim = Vcsim(tmp_path)
        vcsim.start()
        site = VmwareSite(vcsim, tmp_path)
        yield site
        site.hypervisor.close()
        site.witness.close()
        vcsim.stop()
