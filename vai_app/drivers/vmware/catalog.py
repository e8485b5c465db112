"""Names and references of what machines are placed on and attached to, as they were read at one moment; pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pyVmomi import vim

from vai_app.domain.errors import NotFound
from vai_app.domain.virtual_machines import Location
from vai_app.drivers.vmware.mapping import is_uplink
from vai_app.drivers.vmware.options import Options
from vai_app.drivers.vmware.rows import Row

_NETWORK_KINDS = ("Network", "DistributedVirtualPortgroup", "OpaqueNetwork")
_COMPUTE_KINDS = ("ComputeResource", "ClusterComputeResource")


@dataclass(frozen=True, slots=True)
class Target:
    """Where a machine goes, as vSphere's references; ``datastore_name`` stands in file paths."""

    pool: str
    host: str | None
    datastore: str
    datastore_name: str


@dataclass(frozen=True, slots=True)
class Catalog:
    """What was read, by kind and by reference."""

    options: Options
    rows: Mapping[str, Mapping[str, Row]]
    network_names: Mapping[str, str]

    @classmethod
    def of(cls, rows: Iterable[Row], options: Options) -> "Catalog":
        """Sort rows by kind."""
        by_kind: dict[str, dict[str, Row]] = {}
        for row in rows:
            by_kind.setdefault(row.kind, {})[row.ref] = row
        networks = [row for kind in _NETWORK_KINDS for row in by_kind.get(kind, {}).values()]
        return cls(options, by_kind, {row.ref: row.text("name") or row.ref for row in networks})

    def target(self, location: Location, *, needs_datastore: bool) -> Target:
        """Return where a machine goes. Raises NotFound for a name that is not in the catalog."""
        host = self._find("host", location.host, "HostSystem") if location.host else None
        if host is not None:
            compute = self._owner(host)
        elif location.cluster:
            compute = self._find("cluster", location.cluster, *_COMPUTE_KINDS)
        else:
            compute = self._first_compute()
        store = None
        if location.datastore:
            store = self._find("datastore", location.datastore, "Datastore")
        elif needs_datastore:
            store = self._roomiest(host)
        return Target(
            pool=self._pool(compute),
            host=host.ref if host else None,
            datastore=store.ref if store else "",
            datastore_name=(store.text("name") or "") if store else "",
        )

    def folder(self) -> str | None:
        """Return the folder of the option ``folder``; ``None`` for the datacenter's own. Raises NotFound."""
        if self.options.folder is None:
            return None
        folders = self.rows.get("Folder", {})
        wanted = self.options.folder.strip("/").split("/")
        for row in folders.values():
            path, parent = [row.text("name")], folders.get(row.text("parent") or "")
            while parent is not None:
                path.insert(0, parent.text("name"))
                parent = folders.get(parent.text("parent") or "")
            if path == ["vm", *wanted]:
                return row.ref
        message = (
            f"There is no VM folder {self.options.folder!r}. Make it, or correct the datacenter's option 'folder'."
        )
        raise NotFound(message)

    def network_backing(self, name: str) -> vim.vm.device.VirtualDevice.BackingInfo:
        """Return how a NIC is plugged into a network. Raises NotFound."""
        row = self._find("network", name, *_NETWORK_KINDS)
        if row.kind == "DistributedVirtualPortgroup":
            switch = self._switch(row)
            connection = vim.dvs.PortConnection(portgroupKey=row.text("key"), switchUuid=switch.text("uuid"))
            return vim.vm.device.VirtualEthernetCard.DistributedVirtualPortBackingInfo(port=connection)
        if row.kind == "OpaqueNetwork":
            summary = row.members("summary")
            return vim.vm.device.VirtualEthernetCard.OpaqueNetworkBackingInfo(
                opaqueNetworkId=summary.get("opaqueNetworkId"), opaqueNetworkType=summary.get("opaqueNetworkType")
            )
        network = vim.Network(row.ref, None)
        return vim.vm.device.VirtualEthernetCard.NetworkBackingInfo(deviceName=row.text("name"), network=network)

    def _find(self, what: str, wanted: str, *kinds: str) -> Row:
        for kind in kinds:
            if wanted in self.rows.get(kind, {}):
                return self.rows[kind][wanted]
        for kind in kinds:
            for row in self.rows.get(kind, {}).values():
                if row.text("name") == wanted and not is_uplink(row):
                    return row
        message = f"There is no {what} {wanted!r} in this datacenter. 'vai datacenter inventory' lists what there is."
        raise NotFound(message)

    def _switch(self, portgroup: Row) -> Row:
        ref = portgroup.text("config.distributedVirtualSwitch") or ""
        for kind in ("VmwareDistributedVirtualSwitch", "DistributedVirtualSwitch"):
            if ref in self.rows.get(kind, {}):
                return self.rows[kind][ref]
        message = f"The account does not see the switch of network {portgroup.text('name')!r}. Grant it 'Read' there."
        raise NotFound(message)

    def _owner(self, host: Row) -> Row:
        parent = host.text("parent") or ""
        for kind in _COMPUTE_KINDS:
            if parent in self.rows.get(kind, {}):
                return self.rows[kind][parent]
        message = f"The account does not see the cluster of host {host.text('name')!r}. Grant it 'Read' there."
        raise NotFound(message)

    def _first_compute(self) -> Row:
        found = [row for kind in reversed(_COMPUTE_KINDS) for row in self.rows.get(kind, {}).values()]
        if not found:
            raise NotFound("The datacenter has no cluster and no host. Add one in vCenter.")
        return found[0]

    def _pool(self, compute: Row) -> str:
        wanted = self.options.resource_pool
        if wanted is None:
            return compute.text("resourcePool") or ""
        for row in self.rows.get("ResourcePool", {}).values():
            if wanted in (row.text("name"), row.ref) and row.text("owner") == compute.ref:
                return row.ref
        message = (
            f"There is no resource pool {wanted!r} in {compute.text('name')!r}. Correct the option 'resource_pool'."
        )
        raise NotFound(message)

    def _roomiest(self, host: Row | None) -> Row:
        reachable = host.texts("datastore") if host else ()
        stores = [
            row
            for row in self.rows.get("Datastore", {}).values()
            if row.flag("summary.accessible") and (not reachable or row.ref in reachable)
        ]
        if not stores:
            raise NotFound("There is no accessible datastore for the machine. Attach one to the host in vCenter.")
        return max(stores, key=lambda row: row.number("summary.freeSpace"))
