"""Creating and deleting machines on a simulated vCenter, through REST and by a hand-written pyvmomi program."""

import itertools
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from typing import Any

from pyVim.connect import Disconnect
from pyVim.task import WaitForTask
from pyVmomi import vim, vmodl

from bench.measurement import Measurement, in_turns, measurement, percentile
from bench.servers import servers
from tests.lab.process import wait_until
from tests.lab.vai import Vai
from tests.lab.vcsim import Vcsim

MACHINES = 200
THREADS = 16
_PATIENCE_SECONDS = 300.0
_LOOK_SECONDS = 0.05
_serial = itertools.count()


def rates(runs: int) -> Iterator[Measurement]:
    """Machines created and deleted per second, without and with a delay of each native task."""
    for delay, goal in ((0, ">= 0.5"), (1000, ">= 0.9")):
        with servers() as own:
            vcsim = own.vcsim("-task-delay", f"{delay}ms")
            vai = own.vai()
            vai.register("vc1", vcsim)
            through_vai(vai, ["vc1"], 20)  # both sides warm
            _by_hand(vcsim, 20)
            ours, reference = in_turns(
                runs, partial(through_vai, vai, ["vc1"], MACHINES), partial(_by_hand, vcsim, MACHINES)
            )
        yield measurement(
            f"create_delete_delay_{delay}ms",
            "machines/s",
            ours,
            reference,
            goal=goal,
            sizes=f"{MACHINES} machines, reference with {THREADS} threads",
        )


def completion_lag(runs: int) -> Iterator[Measurement]:
    """The 95th percentile of the time from the end of the last native task in vCenter to the operation's end."""
    with servers() as own:
        vcsim = own.vcsim("-task-delay", "500ms")
        vai = own.vai()
        vai.register("vc1", vcsim)
        through_vai(vai, ["vc1"], 10)
        ours, reference = in_turns(runs, lambda: _lag_of_vai(vai, vcsim), lambda: _lag_by_hand(vcsim))
    yield measurement(
        "completion_lag_p95",
        "s",
        ours,
        reference,
        goal="<= 0.5 s",
        sizes=f"40 machines at once, task delay 500 ms; the reference is pyVim's WaitForTask in {THREADS} threads",
    )


def hanging_neighbour(runs: int) -> Iterator[Measurement]:
    """The create rate of two datacenters while a third hangs on every call, against all three answering."""
    with servers() as own:
        vcsims = [own.vcsim("-task-delay", "200ms") for _ in range(3)]
        vai = own.vai()
        for number, vcsim in enumerate(vcsims):
            vai.register(f"vc{number}", vcsim)
        through_vai(vai, ["vc0", "vc1", "vc2"], 30)

        def with_third(*, hanging: bool) -> float:
            vcsims[2].call_delay(3_600_000 if hanging else 0)
            stuck = [vai.create(f"stuck-{next(_serial)}", "vc2") for _ in range(20)]
            rate = through_vai(vai, ["vc0", "vc1"], 100)
            if hanging:
                for operation in stuck:
                    vai.client.post(f"/operations/{operation['id']}/cancel")
                vcsims[2].call_delay(0)
            _await_no_open(vai)
            return rate

        ours, reference = in_turns(runs, lambda: with_third(hanging=True), lambda: with_third(hanging=False))
    yield measurement(
        "hanging_neighbour",
        "machines/s",
        ours,
        reference,
        goal=">= 0.9",
        sizes="100 machines in two datacenters, 20 more asked for in the third",
    )


def through_vai(
    vai: Vai, datacenters: Sequence[str], count: int, *, look_seconds: float = _LOOK_SECONDS, **changes: Any
) -> float:
    """Create and delete through REST; ``changes`` are of each request. Returns machines per second."""
    names = [f"ours-{next(_serial)}" for _ in range(count)]
    started_at = time.monotonic()
    with ThreadPoolExecutor(THREADS) as clients:
        where = itertools.cycle(datacenters)
        made = list(clients.map(lambda name, at: vai.create(name, at, **changes), names, where))
        _await_ended(vai, made, look_seconds)
        removed = list(
            clients.map(lambda operation: vai.client.delete(f"/virtual-machines/{operation['machine_id']}"), made)
        )
        _await_ended(vai, removed, look_seconds)
    return count / (time.monotonic() - started_at)


def _await_ended(vai: Vai, operations: Sequence[dict[str, Any]], look_seconds: float = _LOOK_SECONDS) -> None:
    """Wait until none is open, asking as little as that takes; then look how they ended."""
    for datacenter_id in {each["datacenter_id"] for each in operations}:
        wait_until(
            lambda: not _is_any_open(vai, datacenter=datacenter_id),  # noqa: B023 - called at once
            seconds=_PATIENCE_SECONDS,
            what=f"every operation in {datacenter_id} has ended",
            look_seconds=look_seconds,
        )
    ours = {each["id"] for each in operations}
    for each in vai.client.get("/operations", page_size=len(ours))["items"]:
        if each["id"] in ours and each["state"] != "succeeded":
            message = f"{each['id']} {each['state']}: {each['problem']}"
            raise RuntimeError(message)


def _await_no_open(vai: Vai) -> None:
    wait_until(lambda: not _is_any_open(vai), seconds=_PATIENCE_SECONDS, what="every operation has ended")


def _is_any_open(vai: Vai, **where: str) -> bool:
    return bool(vai.client.get("/operations", open="true", page_size=1, **where)["items"])


class _ByHand:
    """What a program for one vCenter needs: where machines go, and the four calls."""

    def __init__(self, vcsim: Vcsim) -> None:
        self.instance = vcsim.log_in()
        self._own = threading.local()
        datacenter = self.instance.content.rootFolder.childEntity[0]
        self._folder = datacenter.vmFolder
        self._pool = datacenter.hostFolder.childEntity[0].resourcePool
        self._datastore = datacenter.datastore[0].name
        self._network = next(each for each in datacenter.network if each.name == "VM Network")

    def create(self, name: str) -> vim.VirtualMachine:
        """Make a machine like VAI's and start it."""
        created = self._folder.CreateVM_Task(config=self._specification(name), pool=self._pool)
        self._wait(created)
        made = created.info.result
        self._wait(made.PowerOnVM_Task())
        return made

    def delete(self, made: vim.VirtualMachine) -> None:
        """Stop and remove."""
        self._wait(made.PowerOffVM_Task())
        self._wait(made.Destroy_Task())

    def close(self) -> None:
        """Log out."""
        Disconnect(self.instance)

    def _wait(self, task: vim.Task) -> None:
        """Follow a task by this thread's own collector: threads that share one take each other's updates."""
        if not hasattr(self._own, "collector"):
            self._own.collector = self.instance.content.propertyCollector.CreatePropertyCollector()
        WaitForTask(task, pc=self._own.collector)

    def _specification(self, name: str) -> vim.vm.ConfigSpec:
        controller = vim.vm.device.VirtualDeviceSpec(
            operation="add", device=vim.vm.device.ParaVirtualSCSIController(key=1000, sharedBus="noSharing")
        )
        disk = vim.vm.device.VirtualDeviceSpec(
            operation="add",
            fileOperation="create",
            device=vim.vm.device.VirtualDisk(
                key=2000,
                controllerKey=1000,
                unitNumber=0,
                capacityInKB=4 * 1024 * 1024,
                backing=vim.vm.device.VirtualDisk.FlatVer2BackingInfo(diskMode="persistent", thinProvisioned=True),
            ),
        )
        nic = vim.vm.device.VirtualDeviceSpec(
            operation="add",
            device=vim.vm.device.VirtualVmxnet3(
                key=4000,
                backing=vim.vm.device.VirtualEthernetCard.NetworkBackingInfo(
                    network=self._network, deviceName=self._network.name
                ),
            ),
        )
        return vim.vm.ConfigSpec(
            name=name,
            numCPUs=2,
            memoryMB=256,
            guestId="otherGuest64",
            files=vim.vm.FileInfo(vmPathName=f"[{self._datastore}]"),
            deviceChange=[controller, disk, nic],
        )


def _by_hand(vcsim: Vcsim, count: int) -> float:
    """Create and delete with the native calls, one machine a thread at a time. Returns machines per second."""
    program = _ByHand(vcsim)
    names = [f"hand-{next(_serial)}" for _ in range(count)]
    started_at = time.monotonic()
    with ThreadPoolExecutor(THREADS) as threads:
        made = list(threads.map(program.create, names))
        list(threads.map(program.delete, made))
    seconds = time.monotonic() - started_at
    program.close()
    return count / seconds


def _lag_of_vai(vai: Vai, vcsim: Vcsim) -> float:
    operations = [vai.create(f"lag-{next(_serial)}", "vc1") for _ in range(40)]
    _await_ended(vai, operations)
    finished = {}
    for operation in operations:
        ended = vai.client.get(f"/operations/{operation['id']}")
        machine = vai.client.get(f"/virtual-machines/{ended['machine_id']}")
        finished[machine["provider_ref"]] = datetime.fromisoformat(ended["finished_at"])
    program = _ByHand(vcsim)
    completed = _completions(program.instance)
    program.close()
    return percentile([(at - completed[ref]).total_seconds() for ref, at in finished.items()], 95)


def _lag_by_hand(vcsim: Vcsim) -> float:
    program = _ByHand(vcsim)

    def lag(name: str) -> tuple[str, float]:
        made = program.create(name)
        return _reference(made), time.time()

    with ThreadPoolExecutor(THREADS) as threads:
        seen = dict(threads.map(lag, [f"handlag-{next(_serial)}" for _ in range(40)]))
    completed = _completions(program.instance)
    program.close()
    return percentile([at - completed[ref].timestamp() for ref, at in seen.items()], 95)


def _completions(instance: vim.ServiceInstance) -> dict[str, datetime]:
    """Return when the last task on each object ended, by its reference in vCenter's own record; one bulk read."""
    collector = vmodl.query.PropertyCollector
    paths = ["info.completeTime", "info.entity"]
    wanted = collector.FilterSpec(
        propSet=[collector.PropertySpec(type=vim.Task, pathSet=paths)],
        objectSet=[collector.ObjectSpec(obj=task) for task in instance.content.taskManager.recentTask],
    )
    ended: dict[str, datetime] = {}
    for row in instance.content.propertyCollector.RetrieveContents([wanted]):
        values = {each.name: each.val for each in row.propSet}
        if len(values) == len(paths):
            at, ref = values["info.completeTime"], _reference(values["info.entity"])
            ended[ref] = max(at, ended.get(ref, at))
    return ended


def _reference(managed: vim.ManagedEntity) -> str:
    return str(managed._GetMoId())  # noqa: SLF001 - pyVmomi's name for a reference
