"""The inventory of 5,000 machines, against one bare bulk retrieval of the same properties."""

import time
from collections.abc import Iterator, Sequence

from pyVim.connect import Disconnect
from pyVmomi import vim, vmodl

from bench.measurement import Measurement, in_turns, measurement
from bench.servers import servers
from tests.lab.vcsim import Vcsim
from vai_app.domain.datacenters import Connection
from vai_app.drivers.vmware import VmwareHypervisor
from vai_app.drivers.vmware.reads import MACHINE, MARK_PATH

MACHINES = 5000
_PROPERTIES = (*MACHINE, MARK_PATH)  # what VAI reads of all machines when it sees the datacenter for the first time


def bulk_retrieval(runs: int) -> Iterator[Measurement]:
    """Seconds for the whole list, at first sight and when only what changed is read in full."""
    with servers() as own:
        vcsim = own.vcsim(vms=MACHINES // 2, clusters=2, hosts=16)
        connection = Connection(
            datacenter_id="dc-1",
            kind="vmware",
            endpoint=vcsim.endpoint,
            credentials={"username": vcsim.username, "password": vcsim.password},
            verify_tls=False,
            call_timeout_seconds=120.0,
        )

        def first_sight() -> float:
            hypervisor = VmwareHypervisor(connection)
            hypervisor.verify()
            seconds = _listing(hypervisor)
            hypervisor.close()
            return seconds

        own_times, other = in_turns(runs, first_sight, lambda: _bare(vcsim, _PROPERTIES))
        yield measurement("inventory_first", "s", own_times, other, goal="<= 1.5", sizes=_sizes(_PROPERTIES))
        known = VmwareHypervisor(connection)
        _listing(known)
        own_times, other = in_turns(runs, lambda: _listing(known), lambda: _bare(vcsim, MACHINE))
        known.close()
        yield measurement("inventory_again", "s", own_times, other, goal="<= 1.5", sizes=_sizes(MACHINE))


def _sizes(properties: Sequence[str]) -> str:
    """Return what was read."""
    return f"{MACHINES} machines, {len(properties)} properties of each"


def _listing(hypervisor: VmwareHypervisor) -> float:
    began_at = time.perf_counter()
    listed = sum(1 for _ in hypervisor.list_machines())
    seconds = time.perf_counter() - began_at
    assert listed == MACHINES, listed
    return seconds


def _bare(vcsim: Vcsim, properties: Sequence[str]) -> float:
    instance = vcsim.log_in()
    content = instance.RetrieveContent()
    collector = vmodl.query.PropertyCollector
    view = content.viewManager.CreateContainerView(content.rootFolder, [vim.VirtualMachine], recursive=True)
    traversal = collector.TraversalSpec(name="view", type=type(view), path="view", skip=False)
    began_at = time.perf_counter()
    found = content.propertyCollector.RetrieveContents(
        [
            collector.FilterSpec(
                objectSet=[collector.ObjectSpec(obj=view, skip=True, selectSet=[traversal])],
                propSet=[collector.PropertySpec(type=vim.VirtualMachine, pathSet=list(properties))],
            )
        ]
    )
    seconds = time.perf_counter() - began_at
    assert len(found) == MACHINES, len(found)
    Disconnect(instance)
    return seconds
