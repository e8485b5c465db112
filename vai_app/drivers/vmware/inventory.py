"""What a vSphere datacenter has: bulk reads of it, and names found without asking vCenter each time.

Names and references are remembered for a minute and read anew when one is not found; machines' marks are read
again only when vCenter says that their configuration has changed.
"""

import threading
from collections.abc import Callable, Sequence
from time import monotonic
from typing import TypeVar

from pyVmomi import vim

from vai_app.domain.datacenters import Inventory
from vai_app.domain.errors import InvalidRequest, NotFound
from vai_app.domain.virtual_machines import MachineObservation
from vai_app.drivers.vmware import reads
from vai_app.drivers.vmware.catalog import Catalog
from vai_app.drivers.vmware.mapping import Details, details_of, inventory_of, machine_of, mark_of
from vai_app.drivers.vmware.options import Options
from vai_app.drivers.vmware.rows import Row
from vai_app.drivers.vmware.session import Session

T = TypeVar("T")

_FRESH_SECONDS = 60.0
_NETWORK = ("name",)
_HOSTS_AND_STORAGE: reads.Paths = {
    vim.ClusterComputeResource: ("name",),
    vim.HostSystem: (
        "name",
        "parent",
        "runtime.connectionState",
        "runtime.inMaintenanceMode",
        "runtime.powerState",
        "summary.hardware.numCpuThreads",
        "summary.hardware.memorySize",
        "datastore",
    ),
    vim.Datastore: ("name", "summary.capacity", "summary.freeSpace", "summary.accessible"),
    vim.Network: ("name", "tag"),
    vim.VirtualMachine: (
        "name",
        "runtime.host",
        "runtime.powerState",
        "summary.config.template",
        "summary.config.numCpu",
        "summary.config.memorySizeMB",
        "summary.storage.committed",
        "summary.storage.uncommitted",
    ),
}
_NAMES: reads.Paths = {
    vim.ComputeResource: ("name", "resourcePool"),
    vim.HostSystem: ("name", "parent", "datastore"),
    vim.Datastore: ("name", "summary.freeSpace", "summary.accessible"),
    vim.Network: ("name", "tag"),
    vim.dvs.DistributedVirtualPortgroup: ("key", "config.distributedVirtualSwitch"),
    vim.OpaqueNetwork: ("summary",),
    vim.DistributedVirtualSwitch: ("uuid",),
    vim.ResourcePool: ("name", "owner"),
    vim.Folder: ("name", "parent"),
}


class DatacenterReader:
    """Reads one vSphere datacenter; used by many threads."""

    def __init__(self, session: Session, options: Options) -> None:
        """Read nothing yet."""
        self._session = session
        self._options = options
        self._lock = threading.Lock()
        self._datacenter: vim.Datacenter | None = None
        self._vm_folder: vim.Folder | None = None
        self._catalog: Catalog | None = None
        self._catalog_read_at = 0.0
        self._images: dict[str, str] = {}
        self._templates: dict[str, tuple[float, vim.vm.ConfigInfo]] = {}
        self._details: dict[str, tuple[str, Details]] = {}

    def datacenter(self) -> vim.Datacenter:
        """Return the vSphere datacenter. Raises NotFound; InvalidRequest when none is named of several."""
        if self._datacenter is None:
            rows = reads.read_tree(self._session, self._session.content.rootFolder, {vim.Datacenter: ("name",)})
            self._datacenter = self._managed(vim.Datacenter, _chosen(rows, self._options.datacenter).ref)
        return self._datacenter

    def catalog(self, *, newer_than: Catalog | None = None) -> Catalog:
        """Return the names, at most a minute old, and newer than those in which one was not found."""
        with self._lock:
            known, read_at = self._catalog, self._catalog_read_at
        if known is not None and known is not newer_than and monotonic() - read_at < _FRESH_SECONDS:
            return known
        started_at = monotonic()
        fresh = Catalog.of(reads.read_tree(self._session, self.datacenter(), _NAMES), self._options)
        with self._lock:
            self._catalog, self._catalog_read_at = fresh, started_at
        return fresh

    def folder(self, catalog: Catalog) -> vim.Folder:
        """Return the folder for new machines. Raises NotFound."""
        ref = catalog.folder()
        if ref is not None:
            return self._managed(vim.Folder, ref)
        if self._vm_folder is None:
            self._vm_folder = self.datacenter().vmFolder
        return self._vm_folder

    def forget_names(self) -> None:
        """Read all names anew when next asked: vCenter did not know a reference."""
        with self._lock:
            self._catalog = None
            self._images.clear()
            self._templates.clear()

    def inventory(self) -> Inventory:
        """Return clusters, hosts, datastores, networks and templates, in one bulk read."""
        return inventory_of(reads.read_tree(self._session, self.datacenter(), _HOSTS_AND_STORAGE))

    def machines(self) -> list[MachineObservation]:
        """Return every machine that is no template."""
        with self._lock:
            known = dict(self._details)
        wanted = reads.MACHINE if known else (*reads.MACHINE, reads.MARK_PATH)
        rows = reads.read_tree(self._session, self.datacenter(), {vim.VirtualMachine: wanted, vim.Network: _NETWORK})
        networks = {row.ref: row.text("name") or row.ref for row in rows if row.kind != "VirtualMachine"}
        machines = [row for row in rows if row.kind == "VirtualMachine" and not row.flag("summary.config.template")]
        details = self._details_of(machines, known)
        return [machine_of(row, details[row.ref], networks) for row in machines if row.ref in details]

    def machine(self, ref: str) -> MachineObservation:
        """Return one machine. Raises ManagedObjectNotFound."""
        row = self.read(ref, (*reads.MACHINE, reads.MARK_PATH, reads.DEVICES_PATH))
        catalog = self.catalog()
        if not all(network in catalog.network_names for network in row.texts("network")):
            catalog = self.catalog(newer_than=catalog)
        return machine_of(row, details_of(row), catalog.network_names)

    def read(self, ref: str, paths: Sequence[str]) -> Row:
        """Read properties of one machine. Raises ManagedObjectNotFound."""
        return reads.read_object(self._session, self.machine_object(ref), paths)

    def machine_object(self, ref: str) -> vim.VirtualMachine:
        """Return the object through which vCenter is asked about a machine."""
        return self._managed(vim.VirtualMachine, ref)

    def snapshot_object(self, ref: str) -> vim.vm.Snapshot:
        """Return the object through which vCenter is asked about a snapshot."""
        return self._managed(vim.vm.Snapshot, ref)

    def image(self, name: str) -> str:
        """Return the reference of a template by its name or reference. Raises NotFound."""
        if name not in self._images:
            rows = reads.read_tree(
                self._session, self.datacenter(), {vim.VirtualMachine: ("name", "summary.config.template")}
            )
            templates = [row for row in rows if row.flag("summary.config.template")]
            found = {row.ref: row.ref for row in templates} | {
                row.text("name") or row.ref: row.ref for row in templates
            }
            with self._lock:
                self._images = found
        ref = self._images.get(name)
        if ref is None:
            message = f"There is no template {name!r} in this datacenter. 'vai datacenter inventory' lists the images."
            raise NotFound(message)
        return ref

    def template(self, ref: str) -> vim.vm.ConfigInfo:
        """Return a template's configuration, at most a minute old. Raises ManagedObjectNotFound."""
        read_at, config = self._templates.get(ref, (0.0, None))
        if config is None or monotonic() - read_at > _FRESH_SECONDS:
            read_at, config = monotonic(), self.machine_object(ref).config
            with self._lock:
                self._templates[ref] = read_at, config
        return config

    def find_marked(self, token: str) -> str | None:
        """Return the machine whose mark bears the token, by a bulk read."""
        return next((seen.ref for seen in self.machines() if seen.mark and seen.mark.token == token), None)

    def _details_of(self, machines: Sequence[Row], known: dict[str, tuple[str, Details]]) -> dict[str, Details]:
        """Return the details of machines: remembered, found in the rows, or read now for those that need it."""
        details: dict[str, Details] = {}
        unread = []
        for row in machines:
            version, remembered = known.get(row.ref, (None, None))
            if remembered is not None and version == row.text(reads.VERSION_PATH):
                details[row.ref] = remembered
            elif reads.MARK_PATH in row.values and mark_of(row) is None:
                details[row.ref] = Details()
            else:
                unread.append(row.ref)
        objects = [self.machine_object(ref) for ref in unread]
        read = reads.read_objects(self._session, objects, {vim.VirtualMachine: reads.DETAILS}) if objects else []
        details |= {row.ref: details_of(row) for row in read}
        versions = {row.ref: row.text(reads.VERSION_PATH) for row in (*machines, *read)}
        with self._lock:
            self._details = {
                ref: (version, details[ref]) for ref, version in versions.items() if version and ref in details
            }
        return details

    def _managed(self, kind: Callable[[str, Session], T], ref: str) -> T:
        return kind(ref, self._session)


def _chosen(rows: Sequence[Row], wanted: str | None) -> Row:
    names = ", ".join(sorted(row.text("name") or row.ref for row in rows))
    if wanted is not None:
        for row in rows:
            if wanted in (row.text("name"), row.ref):
                return row
        message = f"vCenter has no datacenter {wanted!r}. It has: {names or 'none that this account sees'}."
        raise NotFound(message)
    if len(rows) == 1:
        return rows[0]
    message = f"Name the vSphere datacenter in options.datacenter. It has: {names or 'none that this account sees'}."
    raise InvalidRequest(message, [{"field": "options.datacenter", "message": message}])
