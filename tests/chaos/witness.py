"""The witness: what a simulated vCenter really holds, seen by a client that knows nothing of VAI's code."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from pyVim.connect import Disconnect
from pyVim.task import WaitForTask
from pyVmomi import vim

from tests.lab.vcsim import Vcsim

_MACHINE_KEY = "vai.machine"
_PROPERTIES = (
    "name", "config.extraConfig", "config.hardware.memoryMB", "runtime.powerState", "runtime.host"
)  # fmt: skip


@dataclass(frozen=True)
class Seen:
    """One machine of vCenter; ``machine_id`` is VAI's mark in it."""

    name: str
    machine_id: str | None
    powered_on: bool
    host: str | None = None
    memory_mib: int = 0


class Witness:
    """Looks at a vCenter and at the folder behind its datastores."""

    def __init__(self, vcsim: Vcsim, datastores: Path) -> None:
        """Log in; what is there now is the background that no later look counts."""
        self._datastores = datastores
        self._instance = vcsim.log_in()
        self._background = {seen.name for seen in self._all()}
        self._files_before = self._files()

    def close(self) -> None:
        """Log out."""
        Disconnect(self._instance)

    def machines(self) -> list[Seen]:
        """Return every machine that was not there at the beginning."""
        return [seen for seen in self._all() if seen.name not in self._background]

    def memory_of_hosts(self) -> dict[str, tuple[int, int]]:
        """Return, for each host by reference, its MiB of memory and those that its machines were given together."""
        content = self._instance.RetrieveContent()
        view = content.viewManager.CreateContainerView(content.rootFolder, [vim.HostSystem], recursive=True)
        sizes = {host._moId: host.hardware.memorySize // 2**20 for host in view.view}
        view.Destroy()
        given = Counter[str]()
        for seen in self._all():
            given[seen.host or ""] += seen.memory_mib
        return {ref: (size, given[ref]) for ref, size in sizes.items()}

    def all_names(self) -> set[str]:
        """Return the names of all machines, the background too."""
        return {seen.name for seen in self._all()}

    def user_data(self, ref: str) -> str | None:
        """Return what a machine's guest reads at its first start, in base64 as VMware's tools are told."""
        machine = vim.VirtualMachine(ref, self._instance._stub)
        extra = {each.key: each.value for each in machine.config.extraConfig}
        if "guestinfo.userdata" not in extra:
            return None
        assert extra["guestinfo.userdata.encoding"] == "base64"
        return str(extra["guestinfo.userdata"])

    def restored_to(self, ref: str) -> str | None:
        """Return the snapshot that a machine's disks go back to."""
        info = vim.VirtualMachine(ref, self._instance._stub).snapshot
        return str(info.currentSnapshot._moId) if info is not None and info.currentSnapshot is not None else None

    def snapshots_of(self, ref: str) -> list[str]:
        """Return all snapshots of a machine."""
        info = vim.VirtualMachine(ref, self._instance._stub).snapshot
        trees = list(info.rootSnapshotList) if info is not None else []
        found = []
        while trees:
            tree = trees.pop()
            found.append(str(tree.snapshot._moId))
            trees += tree.childSnapshotList
        return sorted(found)

    def power_off(self, name: str) -> None:
        """Change a machine as somebody else would."""
        WaitForTask(self._machine(name).PowerOffVM_Task(), si=self._instance)

    def rename(self, name: str, other: str) -> None:
        """Rename a machine as somebody else would."""
        WaitForTask(self._machine(name).Rename_Task(other), si=self._instance)

    def mark_as_template(self, name: str) -> None:
        """Make a template of a machine."""
        self._machine(name).MarkAsTemplate()

    def add_network(self, name: str) -> None:
        """Make a port group on the distributed switch that every datacenter has."""
        content = self._instance.RetrieveContent()
        view = content.viewManager.CreateContainerView(content.rootFolder, [vim.DistributedVirtualSwitch], True)
        (switch, *_) = view.view
        view.Destroy()
        wanted = vim.dvs.DistributedVirtualPortgroup.ConfigSpec(name=name, type="earlyBinding", numPorts=8)
        WaitForTask(switch.AddDVPortgroup_Task([wanted]), si=self._instance)

    def destroy(self, name: str) -> None:
        """Remove a machine as somebody else would."""
        WaitForTask(self._machine(name).Destroy_Task(), si=self._instance)

    def doubled(self) -> list[str]:
        """Return each mark that more than one machine bears."""
        marks = Counter(seen.machine_id for seen in self.machines() if seen.machine_id)
        return [mark for mark, count in marks.items() if count > 1]

    def orphaned_files(self) -> list[str]:
        """Return folders and disks on the datastores that belong to no machine of the inventory."""
        alive = {seen.name for seen in self._all()}
        return sorted(path for path in self._files() - self._files_before if not alive & set(Path(path).parts))

    def _machine(self, name: str) -> vim.VirtualMachine:
        found = self._instance.content.searchIndex.FindByInventoryPath(f"DC0/vm/{name}")
        assert found is not None, name
        return found

    def _all(self) -> list[Seen]:
        content = self._instance.RetrieveContent()
        view = content.viewManager.CreateContainerView(content.rootFolder, [vim.VirtualMachine], recursive=True)
        specification = vim.PropertyCollector.FilterSpec(
            objectSet=[
                vim.PropertyCollector.ObjectSpec(
                    obj=view,
                    skip=True,
                    selectSet=[vim.PropertyCollector.TraversalSpec(type=type(view), path="view", skip=False)],
                )
            ],
            propSet=[vim.PropertyCollector.PropertySpec(type=vim.VirtualMachine, pathSet=[*_PROPERTIES])],
        )
        found = content.propertyCollector.RetrieveContents([specification])
        view.Destroy()
        rows = [{each.name: each.val for each in row.propSet} for row in found]
        # A machine that is removed while its row is read has lost its properties.
        return [_seen(each) for each in rows if "name" in each]

    def _files(self) -> set[str]:
        return {str(path.relative_to(self._datastores)) for path in self._datastores.rglob("*")}


def _seen(properties: dict[str, object]) -> Seen:
    extra = {option.key: option.value for option in properties.get("config.extraConfig", [])}  # type: ignore[attr-defined]
    return Seen(
        name=str(properties["name"]),
        machine_id=extra.get(_MACHINE_KEY),
        powered_on=properties.get("runtime.powerState") == "poweredOn",
        host=getattr(properties.get("runtime.host"), "_moId", None),
        memory_mib=int(str(properties.get("config.hardware.memoryMB", 0))),
    )
