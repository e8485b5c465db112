"""Which properties are read of which objects, as pyVmomi's specifications for the property collector."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any

from pyVmomi import vim, vmodl

from vai_app.drivers.vmware.rows import Row
from vai_app.drivers.vmware.session import Session

Paths = Mapping[type[vim.ManagedObject], Sequence[str]]

_Collector = vmodl.query.PropertyCollector
MARK_PATH = "config.extraConfig"
DEVICES_PATH = "config.hardware.device"
VERSION_PATH = "config.changeVersion"

MACHINE: Sequence[str] = (
    "name",
    "runtime.powerState",
    "runtime.connectionState",
    "runtime.host",
    "summary.config.template",
    "summary.config.numCpu",
    "summary.config.memorySizeMB",
    "summary.storage.committed",
    "summary.storage.uncommitted",
    "network",
    "guest.ipAddress",
    VERSION_PATH,
)
DETAILS: Sequence[str] = (VERSION_PATH, MARK_PATH, DEVICES_PATH)
HOST: Sequence[str] = ("runtime.host",)
POWER: Sequence[str] = ("runtime.powerState",)
CONFIG: Sequence[str] = (
    "runtime.powerState",
    "config.hardware.numCPU",
    "config.hardware.memoryMB",
    "config.cpuHotAddEnabled",
    "config.memoryHotAddEnabled",
)
TASK: Sequence[str] = ("info.state", "info.result", "info.error")


def read_tree(session: Session, root: vim.ManagedEntity, paths: Paths) -> list[Row]:
    """Read all objects of some types below ``root``, in one bulk read."""
    for last_try in (False, True):
        view = session.content.viewManager.CreateContainerView(root, list(paths), recursive=True)
        try:
            rows = session.retrieve(_spec(paths, [_below(view)]))
        except vmodl.fault.ManagedObjectNotFound as gone:
            if last_try or gone.obj is None or gone.obj._GetMoId() != view._GetMoId():  # noqa: SLF001
                raise
            continue  # the session was renewed in between, and the view ended with the former
        with suppress(vmodl.fault.ManagedObjectNotFound):
            view.DestroyView()
        return rows
    raise AssertionError


def read_objects(session: Session, objects: Collection[vim.ManagedObject], paths: Paths) -> list[Row]:
    """Read objects that are known by reference, in one call. Those that do not exist are left out, or are empty."""
    selected = [_Collector.ObjectSpec(obj=each) for each in objects]
    spec = _spec(paths, selected)
    spec.reportMissingObjectsInResults = True
    return session.retrieve(spec)


def read_object(session: Session, target: vim.ManagedObject, paths: Sequence[str]) -> Row:
    """Read one object. Raises ManagedObjectNotFound."""
    rows = session.retrieve(_spec({type(target): paths}, [_Collector.ObjectSpec(obj=target)]))
    if not rows:
        raise vmodl.fault.ManagedObjectNotFound(obj=target)
    return rows[0]


def view_filter(view: vim.view.ListView, paths: Paths) -> Any:
    """Return the filter of a list view's members."""
    return _spec(paths, [_below(view)])


def _below(view: vim.view.View) -> Any:
    members = _Collector.TraversalSpec(name="members", path="view", skip=False, type=type(view))
    return _Collector.ObjectSpec(obj=view, skip=True, selectSet=[members])


def _spec(paths: Paths, objects: list[Any]) -> Any:
    properties = [_Collector.PropertySpec(type=kind, all=False, pathSet=list(of)) for kind, of in paths.items()]
    return _Collector.FilterSpec(objectSet=objects, propSet=properties)
