"""Snapshots as vSphere shows them, a tree, to domain values; VAI's mark stands in the description. Pure."""

import re
from collections.abc import Iterable, Iterator

from pyVmomi import vim

from vai_app.domain.snapshots import SnapshotObservation
from vai_app.domain.virtual_machines import Mark
from vai_app.drivers.vmware.mapping import MACHINE_KEY, TOKEN_KEY

_MARK = re.compile(rf"{re.escape(MACHINE_KEY)}=(\S+) {re.escape(TOKEN_KEY)}=(\S+)")


def description_of(mark: Mark) -> str:
    """Return what is said of a snapshot that VAI takes."""
    return f"Taken by VAI: {MACHINE_KEY}={mark.machine_id} {TOKEN_KEY}={mark.token}"


def snapshots_of(info: vim.vm.SnapshotInfo | None) -> list[SnapshotObservation]:
    """Return a machine's snapshots, oldest first; ``None`` is what vSphere says where there are none."""
    nodes = _nodes(info.rootSnapshotList) if info is not None else ()
    return sorted((_observation_of(each) for each in nodes), key=lambda each: each.taken_at)


def _nodes(trees: Iterable[vim.vm.SnapshotTree]) -> Iterator[vim.vm.SnapshotTree]:
    for tree in trees:
        yield tree
        yield from _nodes(tree.childSnapshotList)


def _observation_of(node: vim.vm.SnapshotTree) -> SnapshotObservation:
    marked = _MARK.search(node.description or "")
    mark = Mark(marked[1], marked[2]) if marked else None
    return SnapshotObservation(node.snapshot._GetMoId(), node.name, node.createTime, mark)  # noqa: SLF001 - pyVmomi's
