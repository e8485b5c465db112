"""One complete listing of a datacenter against the records: few reads, and writes only for what changed."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from pydantic import TypeAdapter
from pymongo import DeleteOne, InsertOne, UpdateOne
from pymongo.collection import Collection

from vai_app.domain.identifiers import new_id
from vai_app.domain.ports import Changes
from vai_app.domain.virtual_machines import (
    MachineObservation,
    MachineSpec,
    MachineState,
    VirtualMachine,
    drift_of,
)
from vai_app.store.codec import Codec

_codec = Codec(VirtualMachine)
_spec = TypeAdapter(MachineSpec)
_LEAN = {
    "name": 1,
    "state": 1,
    "mark": 1,
    "provider_ref": 1,
    "recorded_at": 1,
    "spec": 1,
    "observed_power": 1,
    "observed_host": 1,
    "observed_size": 1,
    "networks": 1,
    "addresses": 1,
    "drift": 1,
}
_ENDED = (MachineState.FAILED, MachineState.DELETED)


@dataclass
class _Comparison:
    """What has been found so far."""

    datacenter_id: str
    started_at: datetime
    now: datetime
    by_ref: dict[str, dict[str, Any]]
    by_id: dict[str, dict[str, Any]]
    writes: list[InsertOne[dict[str, Any]] | UpdateOne | DeleteOne] = field(default_factory=list)
    found: set[str] = field(default_factory=set)
    appeared: list[str] = field(default_factory=list)
    returned: list[str] = field(default_factory=list)
    drifted: list[str] = field(default_factory=list)
    orphans: list[MachineObservation] = field(default_factory=list)
    seen: int = 0


def record_listing(
    machines: Collection[dict[str, Any]],
    datacenter_id: str,
    listing: Iterable[MachineObservation],
    started_at: datetime,
    now: datetime,
) -> Changes:
    """Compare and write. ``started_at`` is before the listing was asked for: what was recorded since is newer."""
    listing = list(listing)
    marked = [seen.mark.machine_id for seen in listing if seen.mark]
    existing = {"datacenter_id": datacenter_id, "provider_ref": {"$type": "string"}}
    by_id = {each["_id"]: each for each in machines.find(existing, _LEAN)}
    unknown = [machine_id for machine_id in marked if machine_id not in by_id]
    if unknown:
        by_id |= {each["_id"]: each for each in machines.find({"_id": {"$in": unknown}}, _LEAN)}
    comparison = _Comparison(
        datacenter_id=datacenter_id,
        started_at=started_at,
        now=now,
        by_ref={each["provider_ref"]: each for each in by_id.values() if each.get("provider_ref")},
        by_id=by_id,
    )
    for seen in listing:
        _compare(comparison, seen)
    missing, gone = _absent(comparison)
    if comparison.writes:
        machines.bulk_write(comparison.writes, ordered=False)
    return Changes(
        seen=comparison.seen,
        appeared=tuple(comparison.appeared),
        missing=tuple(missing),
        returned=tuple(comparison.returned),
        drifted=tuple(comparison.drifted),
        gone_strangers=tuple(gone),
        orphans=tuple(comparison.orphans),
    )


def _compare(comparison: _Comparison, seen: MachineObservation) -> None:
    comparison.seen += 1
    recorded = comparison.by_id.get(seen.mark.machine_id) if seen.mark else None
    if recorded is None:
        recorded = comparison.by_ref.get(seen.ref)
        if recorded is None:
            _appear(comparison, seen)
            return
    elif recorded["state"] in _ENDED:
        comparison.orphans.append(seen)
        return
    comparison.found.add(recorded["_id"])
    if recorded["state"] == MachineState.REQUESTED or recorded["recorded_at"] > comparison.started_at:
        return
    changes = _differences(comparison, recorded, seen)
    if changes:
        changes["observed_at"] = comparison.now
        comparison.writes.append(
            UpdateOne({"_id": recorded["_id"], "recorded_at": recorded["recorded_at"]}, {"$set": changes})
        )


def _differences(comparison: _Comparison, recorded: Mapping[str, Any], seen: MachineObservation) -> dict[str, Any]:
    ours = recorded.get("mark") is not None
    drift = list(drift_of(_spec.validate_python(recorded["spec"]), seen)) if ours else []
    shown: dict[str, Any] = {
        "observed_power": seen.power.value,
        "observed_host": seen.host,
        "observed_size": asdict(seen.size),
        "networks": list(seen.networks),
        "addresses": list(seen.addresses),
        "drift": drift,
        "provider_ref": seen.ref,
    }
    if not ours:
        shown["name"] = seen.name
    if recorded["state"] == MachineState.MISSING:
        shown |= {"state": MachineState.ACTIVE.value, "problem": None}
        comparison.returned.append(recorded["_id"])
    changes = {name: value for name, value in shown.items() if recorded.get(name) != value}
    if drift and "drift" in changes:
        comparison.drifted.append(recorded["_id"])
    return changes


def _appear(comparison: _Comparison, seen: MachineObservation) -> None:
    note = "It bears the mark of a machine that this VAI does not know, and is left alone." if seen.mark else None
    machine = VirtualMachine(
        id=new_id("vm", comparison.now),
        name=seen.name,
        tenant=None,
        datacenter_id=comparison.datacenter_id,
        state=MachineState.ACTIVE,
        spec=MachineSpec(name=seen.name, size=seen.size),
        created_at=comparison.now,
        provider_ref=seen.ref,
        observed_power=seen.power,
        observed_host=seen.host,
        observed_size=seen.size,
        observed_at=comparison.now,
        networks=seen.networks,
        addresses=seen.addresses,
        problem=note,
    )
    comparison.writes.append(InsertOne({**_codec.to_document(machine), "recorded_at": comparison.started_at}))
    comparison.appeared.append(machine.id)


def _absent(comparison: _Comparison) -> tuple[list[str], list[str]]:
    """Return our machines that are missing and the strangers that are gone, with their writes prepared."""
    missing, gone = [], []
    for recorded in comparison.by_id.values():
        if recorded["_id"] in comparison.found or not recorded.get("provider_ref"):
            continue
        if recorded["recorded_at"] > comparison.started_at:
            continue
        unchanged = {"_id": recorded["_id"], "recorded_at": recorded["recorded_at"]}
        if recorded.get("mark") is None:
            gone.append(recorded["_id"])
            comparison.writes.append(DeleteOne(unchanged))
        elif recorded["state"] == MachineState.ACTIVE:
            missing.append(recorded["_id"])
            lost = {
                "state": MachineState.MISSING.value,
                "observed_power": "unknown",
                "observed_at": comparison.now,
                "problem": "The datacenter no longer shows it: it was removed behind VAI's back.",
            }
            comparison.writes.append(UpdateOne(unchanged, {"$set": lost}))
    return missing, gone
