"""One complete listing of a datacenter against the records: one read, and writes only for what changed.

When a datacenter was listed last stands in its own document (``Datacenter.observed_at``); a machine's
``observed_at`` is when the hypervisor last showed something new of it. So a listing that changes nothing writes
nothing, whatever its length.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any

from pymongo import DeleteOne, InsertOne, UpdateOne
from pymongo.collection import Collection
from pymongo.errors import BulkWriteError

from vai_app.domain.identifiers import new_id
from vai_app.domain.ports.machines import Changes
from vai_app.domain.virtual_machines import (
    MachineObservation,
    MachineSpec,
    MachineState,
    Power,
    VirtualMachine,
    drift_of,
)
from vai_app.store.codec import Codec, from_stored
from vai_app.store.documents import ANY_TEXT

_codec = Codec(VirtualMachine)
_LEAN = (
    "name",
    "tenant",
    "state",
    "provider_ref",
    "former_ref",
    "recorded_at",
    "spec",
    "observed_power",
    "observed_host",
    "observed_size",
    "networks",
    "addresses",
    "drift",
    "problem",
)
ENDED = (MachineState.FAILED, MachineState.DELETED)
_DUPLICATE_KEY = 11000
_COPY = (
    "It bears VAI's mark and is not the machine that VAI made under it: a copy of one, or another VAI's. "
    "It is left alone; adopt it to manage it."
)
_REMOVED = "The datacenter no longer shows it: it was removed behind VAI's back."

Record = Mapping[str, Any]


@dataclass
class _Listing:
    """What has been found so far."""

    datacenter_id: str
    started_at: datetime
    now: datetime
    writes: list[InsertOne[dict[str, Any]] | UpdateOne | DeleteOne] = field(default_factory=list)
    appeared: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    returned: list[str] = field(default_factory=list)
    drifted: list[str] = field(default_factory=list)
    gone_strangers: list[str] = field(default_factory=list)
    orphans: list[MachineObservation] = field(default_factory=list)

    def knows_less_than(self, record: Record) -> bool:
        """Whether VAI itself changed the machine after the listing was asked for."""
        return bool(record["recorded_at"] > self.started_at)

    def update(self, record: Record, changes: Mapping[str, Any]) -> None:
        """Write, unless VAI itself changes the machine meanwhile."""
        unchanged = {"_id": record["_id"], "recorded_at": record["recorded_at"]}
        self.writes.append(UpdateOne(unchanged, {"$set": {**changes, "observed_at": self.now}}))


def record_listing(
    machines: Collection[dict[str, Any]],
    datacenter_id: str,
    listing: Iterable[MachineObservation],
    started_at: datetime,
    now: datetime,
    tell: Callable[[Changes], None] | None = None,
) -> Changes:
    """Compare, tell and write. ``started_at`` is before the listing was asked for: what was recorded since is newer."""
    shown = list(listing)
    records = _records(machines, datacenter_id, shown)
    found = _Listing(datacenter_id, started_at, now)
    matched = _match(found, records, shown)
    for machine_id, seen in matched.items():
        _compare(found, records[machine_id], seen)
    refs = {seen.ref for seen in shown}
    for machine_id, record in records.items():
        if machine_id not in matched:
            _miss(found, record, refs)
    changes = Changes(
        seen=len(shown),
        appeared=tuple(found.appeared),
        missing=tuple(found.missing),
        returned=tuple(found.returned),
        drifted=tuple(found.drifted),
        gone_strangers=tuple(found.gone_strangers),
        orphans=tuple(found.orphans),
    )
    if tell is not None:
        tell(changes)
    _write(machines, found)
    return changes


def recorded_at(now: datetime) -> datetime:
    """Return ``now`` as it is stored with what VAI records: rounded up, for MongoDB keeps whole milliseconds.

    Rounded down, a machine recorded in the same millisecond as a listing begins would pass for older than it.
    """
    return now + timedelta(microseconds=-now.microsecond % 1000)


def _records(
    machines: Collection[dict[str, Any]], datacenter_id: str, shown: Iterable[MachineObservation]
) -> dict[str, Record]:
    """Return, by id, the machines that have a reference, and those whose mark is shown."""
    lean = dict.fromkeys(_LEAN, 1)
    existing = {"datacenter_id": datacenter_id, "provider_ref": ANY_TEXT}
    records: dict[str, Record] = {each["_id"]: each for each in machines.find(existing, lean)}
    marked = {seen.mark.machine_id for seen in shown if seen.mark} - records.keys()
    if marked:
        others = {"_id": {"$in": list(marked)}, "datacenter_id": datacenter_id}
        records |= {each["_id"]: each for each in machines.find(others, lean)}
    return records


def _match(found: _Listing, records: Mapping[str, Record], shown: Iterable[MachineObservation]) -> dict[str, Any]:
    """Return what is shown of each known machine, by id; strangers and orphans are put aside.

    The reference comes first and the mark second, because a machine that a user copies is copied with its mark.
    """
    by_ref = {record["provider_ref"]: record for record in records.values() if record.get("provider_ref")}
    matched: dict[str, MachineObservation] = {}
    unmatched = []
    for seen in shown:
        record = by_ref.get(seen.ref)
        if record is None or _bears_anothers_mark(record, seen):
            unmatched.append(seen)
        else:
            matched[record["_id"]] = seen
    for seen in unmatched:
        maker = records.get(seen.mark.machine_id) if seen.mark else None
        if maker is not None and maker["state"] in ENDED and maker.get("former_ref") in (None, seen.ref):
            if not found.knows_less_than(maker):
                found.orphans.append(seen)
        elif maker is not None and maker["state"] not in ENDED and maker["_id"] not in matched:
            matched[maker["_id"]] = seen
        else:
            _appear(found, seen)
    return matched


def _bears_anothers_mark(record: Record, seen: MachineObservation) -> bool:
    """Whether the provider gave our machine's reference to a machine of another mark."""
    return record["tenant"] is not None and seen.mark is not None and seen.mark.machine_id != record["_id"]


def _compare(found: _Listing, record: Record, seen: MachineObservation) -> None:
    # A machine that is only asked for is left to its operation.
    if record["state"] == MachineState.REQUESTED or found.knows_less_than(record):
        return
    ours = record["tenant"] is not None
    drift = list(drift_of(from_stored(record["spec"], MachineSpec), seen)) if ours else []
    shown: dict[str, Any] = {
        "name": record["name"] if ours else seen.name,
        "provider_ref": seen.ref,
        "observed_power": seen.power.value,
        "observed_host": seen.host,
        "observed_size": asdict(seen.size),
        "networks": list(seen.networks),
        "addresses": list(seen.addresses),
        "drift": drift,
    }
    if record["state"] == MachineState.MISSING:
        shown |= {"state": MachineState.ACTIVE.value, "problem": None}
        found.returned.append(record["_id"])
    if drift and drift != record.get("drift"):
        found.drifted.append(record["_id"])
    changes = {name: value for name, value in shown.items() if record.get(name) != value}
    if changes:
        found.update(record, changes)


def _appear(found: _Listing, seen: MachineObservation) -> None:
    machine = VirtualMachine(
        id=new_id("vm", found.now),
        name=seen.name,
        tenant=None,
        datacenter_id=found.datacenter_id,
        state=MachineState.ACTIVE,
        spec=MachineSpec(name=seen.name, size=seen.size),
        created_at=found.now,
        provider_ref=seen.ref,
        observed_power=seen.power,
        observed_host=seen.host,
        observed_size=seen.size,
        observed_at=found.now,
        networks=seen.networks,
        addresses=seen.addresses,
        problem=_COPY if seen.mark else None,
    )
    found.writes.append(InsertOne({**_codec.to_document(machine), "recorded_at": found.started_at}))
    found.appeared.append(machine.id)


def _miss(found: _Listing, record: Record, refs: set[str]) -> None:
    """Record that a machine is not shown: ours is missing, a stranger's is forgotten."""
    if not record.get("provider_ref") or found.knows_less_than(record):
        return
    if record["tenant"] is None:
        found.gone_strangers.append(record["_id"])
        found.writes.append(DeleteOne({"_id": record["_id"], "recorded_at": record["recorded_at"]}))
        return
    changes: dict[str, Any] = {}
    if record["state"] == MachineState.ACTIVE:
        found.missing.append(record["_id"])
        changes = {"state": MachineState.MISSING, "observed_power": Power.UNKNOWN, "problem": _REMOVED}
    if record["provider_ref"] in refs:
        changes["provider_ref"] = None  # another machine bears it now
    if changes:
        found.update(record, changes)


def _write(machines: Collection[dict[str, Any]], found: _Listing) -> None:
    if not found.writes:
        return
    try:
        machines.bulk_write(found.writes, ordered=False)
    except BulkWriteError as error:
        # Another listing, or an operation, recorded the same machine first. The next listing sees both.
        if {each["code"] for each in error.details["writeErrors"]} != {_DUPLICATE_KEY}:
            raise
