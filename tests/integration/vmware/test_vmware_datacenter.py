"""Inventory, tasks and the session of a simulated vCenter."""

import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Thread
from typing import Any

import pytest
from pyVmomi import vim

from tests.integration.vmware.vmware_bench import Bench, machine_of
from vai_app.domain.datacenters import HostState
from vai_app.domain.errors import NotFound
from vai_app.domain.hypervisor import TaskObservation, TaskState
from vai_app.domain.virtual_machines import Location, Power, PowerAction, Size
from vai_app.drivers.vmware import VmwareHypervisor
from vai_app.drivers.vmware.transport import Transport

pytestmark = pytest.mark.spec(28)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count what is sent over the shared lines, and the logins among it."""
    counted: Counter[str] = Counter()
    exchange = Transport.exchange

    def counting(transport: Transport, request: bytes, **options: Any) -> tuple[int, bytes]:
        counted["logins" if options.get("new_session") else "calls"] += 1
        return exchange(transport, request, **options)

    monkeypatch.setattr(Transport, "exchange", counting)
    return counted


def test_the_inventory_names_everything_a_machine_can_be_placed_on(bench: Bench, vcenter: vim.ServiceInstance) -> None:
    inventory = bench.hypervisor.observe_inventory()
    datacenter = vcenter.content.rootFolder.childEntity[0]
    cluster = datacenter.hostFolder.childEntity[0]
    assert [each.name for each in inventory.clusters] == [cluster.name]
    assert {each.name for each in inventory.hosts} == {host.name for host in cluster.host}
    assert {each.cluster for each in inventory.hosts} == {inventory.clusters[0].ref}
    assert {each.name: each.capacity_gib for each in inventory.datastores} == {
        store.name: store.summary.capacity >> 30 for store in datacenter.datastore
    }
    assert {"VM Network", "DC0_DVPG0"} <= {each.name for each in inventory.networks}
    host = inventory.hosts[0]
    assert (host.cpus, host.memory_mib, host.power) == (32, 512 * 1024, Power.ON)
    assert set(host.datastores) == {store.ref for store in inventory.datastores}


def test_a_host_counts_what_the_machines_that_run_on_it_were_given(bench: Bench) -> None:
    host = min(bench.hypervisor.observe_inventory().hosts, key=lambda each: each.used_cpus)
    ref = bench.create("web-1", size=Size(3, 512), location=Location(host=host.ref))

    def used() -> tuple[int, int]:
        now = next(each for each in bench.hypervisor.observe_inventory().hosts if each.ref == host.ref)
        return now.used_cpus - host.used_cpus, now.used_memory_mib - host.used_memory_mib

    assert used() == (0, 0)
    bench.power(ref, PowerAction.START)
    assert used() == (3, 512)


def test_hosts_show_the_state_that_decides_whether_they_take_work(bench: Bench, vcenter: vim.ServiceInstance) -> None:
    names = [host.name for host in bench.hypervisor.observe_inventory().hosts]
    bench.vcsim.host_state(names[0], "disconnected")
    bench.vcsim.host_state(names[1], "notResponding")
    cluster = vcenter.content.rootFolder.childEntity[0].hostFolder.childEntity[0]
    next(host for host in cluster.host if host.name == names[2]).EnterMaintenanceMode_Task(timeout=0)
    states = {host.name: host.state for host in bench.hypervisor.observe_inventory().hosts}
    assert [states[name] for name in names] == [
        HostState.DOWN,
        HostState.DOWN,
        HostState.MAINTENANCE,
        HostState.UP,
    ]


def test_new_machines_go_into_the_folder_and_the_pool_of_the_options(
    bench: Bench, vcenter: vim.ServiceInstance, connect_to: Callable[..., VmwareHypervisor]
) -> None:
    datacenter = vcenter.content.rootFolder.childEntity[0]
    folder = datacenter.vmFolder.CreateFolder("vai").CreateFolder("tenants")
    pool = datacenter.hostFolder.childEntity[0].resourcePool.CreateResourcePool(
        "vai-pool",
        vim.ResourceConfigSpec(
            cpuAllocation=vim.ResourceAllocationInfo(
                reservation=0, limit=-1, expandableReservation=True, shares=vim.SharesInfo(shares=0, level="normal")
            ),
            memoryAllocation=vim.ResourceAllocationInfo(
                reservation=0, limit=-1, expandableReservation=True, shares=vim.SharesInfo(shares=0, level="normal")
            ),
        ),
    )
    bench.hypervisor = connect_to(
        options={"folder": "vai/tenants", "resource_pool": "vai-pool", "default_network": "VM Network"}
    )
    machine = machine_of(vcenter, bench.create("web-1"))
    assert (machine.parent, machine.resourcePool) == (folder, pool)
    assert [network.name for network in machine.network] == ["VM Network"]


def test_the_end_of_a_task_is_seen_soon_and_among_many(bench: Bench) -> None:
    bench.create("web-0")
    bench.vcsim.task_delay(1000)
    asked_at = {}
    for number in range(10):
        asked_at[bench.request(f"web-{number + 1}").ref] = time.monotonic()
        time.sleep(0.02)
    seen: list[TaskObservation] = []
    late = []
    while len(seen) < len(asked_at):
        ended = bench.hypervisor.wait_tasks(asked_at.keys() - {each.ref for each in seen}, 5.0)
        late += [time.monotonic() - asked_at[each.ref] - 1.0 for each in ended]
        seen += ended
    assert all(each.state is TaskState.SUCCEEDED and each.machine_ref for each in seen)
    assert max(late) < 0.4


def test_a_wait_ends_at_its_timeout_and_a_task_added_later_is_seen(bench: Bench) -> None:
    bench.create("web-0")
    bench.vcsim.task_delay(60_000)
    slow = bench.request("web-1")
    started_at = time.monotonic()
    assert bench.hypervisor.wait_tasks([slow.ref], 0.25) == []
    assert time.monotonic() - started_at < 0.6
    bench.vcsim.task_delay(300)
    quick = bench.request("web-2")
    assert [each.ref for each in bench.hypervisor.wait_tasks([slow.ref, quick.ref], 5.0)] == [quick.ref]


def test_a_look_waits_for_nothing_and_tells_of_what_has_ended(bench: Bench) -> None:
    ended = bench.request("web-1")
    bench.end(ended)
    bench.vcsim.task_delay(60_000)
    running = bench.request("web-2")
    seen = bench.hypervisor.wait_tasks([running.ref, ended.ref], 0)
    assert [each.ref for each in seen] == [ended.ref]


def test_a_task_that_vcenter_has_forgotten_has_failed(bench: Bench) -> None:
    for timeout_seconds in (0, 5.0):
        seen = bench.hypervisor.wait_tasks(["task-999999"], timeout_seconds)
        assert [(each.state, type(each.error)) for each in seen] == [(TaskState.FAILED, NotFound)]


def test_a_long_poll_holds_up_no_other_call(bench: Bench) -> None:
    bench.create("web-0")
    bench.vcsim.task_delay(60_000)
    slow = bench.request("web-1")
    bench.vcsim.task_delay(0)
    waiting = Thread(target=bench.hypervisor.wait_tasks, args=([slow.ref], 3.0))
    waiting.start()
    started_at = time.monotonic()
    assert bench.hypervisor.observe_inventory().hosts
    assert bench.hypervisor.wait_tasks([slow.ref], 0) == []
    assert time.monotonic() - started_at < 2.0
    waiting.join()


def test_many_threads_share_one_session(bench: Bench, calls: Counter[str]) -> None:
    with ThreadPoolExecutor(32) as threads:
        refs = list(threads.map(lambda number: bench.request(f"web-{number}").ref, range(64)))
        for ref in refs:
            assert threads.submit(bench.hypervisor.wait_tasks, [ref], 10.0).result()[0].error is None
        assert calls["logins"] == 1
        bench.vcsim.expire_sessions()
        names = list(threads.map(lambda _: bench.names(), range(32)))
    assert {len(each) for each in names} == {66}
    assert calls["logins"] == 2


@contextmanager
def at_most(calls: Counter[str], number: int) -> Any:
    before = calls["calls"]
    yield
    assert calls["calls"] - before <= number


def test_an_operation_takes_no_more_calls_than_it_needs(bench: Bench, template: str, calls: Counter[str]) -> None:
    bench.create("warm", image=template, networks=("VM Network",))
    with at_most(calls, 1):
        task = bench.request("web-1", image=template, networks=("VM Network",))
    ref = str(bench.end(task).machine_ref)
    with at_most(calls, 2):
        started = bench.hypervisor.request_power(ref, PowerAction.START)
    bench.end(started)
    with at_most(calls, 1):
        bench.hypervisor.observe_machine(ref)
    with at_most(calls, 2):
        assert bench.hypervisor.find_by_token(bench.marks[-1].token)
    with at_most(calls, 2):
        stopped = bench.hypervisor.request_power(ref, PowerAction.STOP)
    bench.end(stopped)
    with at_most(calls, 2):
        deleted = bench.hypervisor.request_delete(ref)
    bench.end(deleted)
    with at_most(calls, 3):
        bench.hypervisor.observe_inventory()
    with at_most(calls, 4):  # the marked machines' disks take the fourth
        list(bench.hypervisor.list_machines())


def test_closing_logs_out_and_may_be_done_twice(bench: Bench, vcenter: vim.ServiceInstance) -> None:
    def sessions() -> int:
        return len(vcenter.content.sessionManager.sessionList)

    before = sessions()
    bench.hypervisor.verify()
    assert sessions() == before + 1
    bench.hypervisor.close()
    assert sessions() == before
    bench.hypervisor.close()


def test_closing_never_fails_when_vcenter_is_gone(bench: Bench) -> None:
    bench.end(bench.request("web-1"))
    bench.vcsim.stop()
    bench.hypervisor.close()
