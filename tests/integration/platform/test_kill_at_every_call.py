"""A worker is killed with SIGKILL before and after each call of an operation; another one goes on."""

import multiprocessing
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.context import ForkServerContext

import pytest
from cryptography.fernet import Fernet

from tests.chaos.witness import Witness
from tests.integration.platform.mortal_worker import Death, SilentDispatcher, work
from tests.lab.vcsim import Vcsim
from vai_app.bootstrap import Services, build_services, utc_now
from vai_app.domain.datacenters import Datacenter
from vai_app.domain.identifiers import new_id
from vai_app.domain.operations import Operation, OperationState
from vai_app.domain.principals import Principal
from vai_app.domain.virtual_machines import MachineSpec, Size
from vai_app.services.acceptance import RequestContext
from vai_app.services.datacenter_registry import Registration
from vai_app.settings import Settings

PATIENCE_SECONDS = 60.0
LEASE_SECONDS = 0.4
# More calls than a create or a delete makes; the run that none of them kills ends the test.
MOST_CALLS = 60


@dataclass
class Platform:
    """VAI's services, a vCenter and its witness; workers are processes of their own."""

    settings: Settings
    services: Services
    datacenter: Datacenter
    witness: Witness
    processes: ForkServerContext

    def create(self, name: str) -> Operation:
        spec = MachineSpec(
            name=name, size=Size(cpus=2, memory_mib=256, disk_gib=4), networks=("VM Network",), power_on=True
        )
        return self.services.controller.create_machine(_context(), self.datacenter.id, spec, {})

    def delete(self, machine_id: str) -> Operation:
        return self.services.controller.delete_machine(_context(), machine_id)

    def take_snapshot(self, machine_id: str) -> Operation:
        return self.services.controller.take_snapshot(_context(), machine_id, None)

    def restore(self, machine_id: str, snapshot_id: str) -> Operation:
        return self.services.controller.restore_machine(_context(), machine_id, snapshot_id)

    def delete_snapshot(self, machine_id: str, snapshot_id: str) -> Operation:
        return self.services.controller.delete_snapshot(_context(), machine_id, snapshot_id)

    def work(self, operation: Operation, death: Death) -> bool:
        """Run the operation to its end, by a worker that dies and one that goes on. Returns whether the first died."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        for each in (death, Death()):
            ours, its = self.processes.Pipe()
            worker = self.processes.Process(target=work, args=(self.settings, each, its))
            worker.start()
            its.close()
            try:
                while (now := self.services.operations.get(operation.id, None)).state.open:
                    assert time.monotonic() < deadline, f"{now.kind} {now.state} at {now.step}: {now.waiting_for}"
                    ours.send((now.step, operation.id))
                    ours.recv()
                ours.send(None)
            except EOFError:
                worker.join()
                assert worker.exitcode == -signal.SIGKILL
                continue
            worker.join()
            assert worker.exitcode == 0
            return each is not death
        raise AssertionError


def _context() -> RequestContext:
    return RequestContext(Principal(name="test", tenant="acme", roles=("admin",)), "test")


@pytest.fixture(scope="module")
def platform(mongo_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    folder = tmp_path_factory.mktemp("kill")
    vcsim = Vcsim(folder / "vcsim")
    vcsim.start()
    settings = Settings(
        _env_file=None,
        mongodb_url=mongo_url,
        mongodb_database=new_id("kill", utc_now()).replace("-", "_"),
        secret_key=Fernet.generate_key().decode(),
        state_folder=folder,
        lease_seconds=LEASE_SECONDS,
    )
    services = build_services(settings, SilentDispatcher())
    services.store.prepare()
    registration = Registration(
        name="vc1",
        kind="vmware",
        endpoint=vcsim.endpoint,
        credentials={"username": vcsim.username, "password": vcsim.password},
        verify_tls=False,
    )
    datacenter = services.datacenter_registry.register(_context(), registration)
    services.reconciler.reconcile(datacenter.id)
    witness = Witness(vcsim, folder / "vcsim")
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["tests.integration.platform.mortal_worker", "vai_app.drivers.vmware"])
    yield Platform(settings, services, datacenter, witness, processes)
    witness.close()
    services.close()
    vcsim.stop()


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_whatever_call_a_worker_dies_at_there_is_one_machine_and_after_its_deletion_none(
    platform: Platform, *, after: bool
) -> None:
    deaths = {"create_vm": 0, "delete_vm": 0}
    for call in range(1, MOST_CALLS):
        name = f"{'after' if after else 'before'}-{call}"
        creation = platform.create(name)
        killed_in_creation = platform.work(creation, Death(call, after))
        assert platform.services.operations.get(creation.id, None).state is OperationState.SUCCEEDED
        seen = platform.witness.machines()
        assert [(each.name, each.machine_id, each.powered_on) for each in seen] == [(name, creation.target_id, True)]

        deletion = platform.delete(creation.target_id)
        killed_in_deletion = platform.work(deletion, Death(call, after))
        assert platform.services.operations.get(deletion.id, None).state is OperationState.SUCCEEDED
        assert platform.witness.machines() == []
        assert platform.witness.orphaned_files() == []

        deaths["create_vm"] += killed_in_creation
        deaths["delete_vm"] += killed_in_deletion
        if not killed_in_creation and not killed_in_deletion:
            break
    else:
        pytest.fail("more calls than this test counts on")
    # Each makes at least: claim, ask, save, look, record, save, for each of its native steps.
    assert deaths["create_vm"] >= 10
    assert deaths["delete_vm"] >= 8


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_whatever_call_a_worker_dies_at_there_is_one_snapshot_and_after_its_deletion_none(
    platform: Platform, *, after: bool
) -> None:
    creation = platform.create(f"snapshots-{'after' if after else 'before'}")
    platform.work(creation, Death())
    machine = platform.services.machines.get(creation.target_id, None)
    assert machine.provider_ref is not None
    deaths = {"snapshot_vm": 0, "restore_vm": 0, "delete_snapshot": 0}

    def survived(operation: Operation, call: int) -> None:
        deaths[operation.kind] += platform.work(operation, Death(call, after))
        assert platform.services.operations.get(operation.id, None).state is OperationState.SUCCEEDED

    for call in range(1, MOST_CALLS):
        before = sum(deaths.values())
        survived(platform.take_snapshot(machine.id), call)
        [snapshot] = platform.services.snapshots.of_machine(machine.id)
        assert platform.witness.snapshots_of(machine.provider_ref) == [snapshot.provider_ref]
        survived(platform.restore(machine.id, snapshot.id), call)
        [seen] = platform.witness.machines()
        assert (seen.machine_id, seen.powered_on) == (machine.id, True)
        survived(platform.delete_snapshot(machine.id, snapshot.id), call)
        assert list(platform.services.snapshots.of_machine(machine.id)) == []
        assert platform.witness.snapshots_of(machine.provider_ref) == []
        if sum(deaths.values()) == before:
            break
    else:
        pytest.fail("more calls than this test counts on")
    platform.work(platform.delete(machine.id), Death())
    assert all(count >= 5 for count in deaths.values()), deaths
