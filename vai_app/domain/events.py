"""Events: what happened, for people and programs; with the operations they are the activity log (REQ_14)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Event:
    """Who did what, when, with which outcome. ``level`` is the trace level, 1 (few) to 5 (everything).

    ``tenant`` is ``None`` for what concerns the installation. ``outcome`` is e.g. accepted, succeeded, failed,
    rejected, cancelled, observed.
    """

    id: str
    at: datetime
    kind: str  # such as operation.succeeded, machine.missing, datacenter.unreachable
    outcome: str
    message: str
    actor: str  # a token's name, or vai for autonomous acts
    correlation_id: str
    tenant: str | None = None
    level: int = 1
    operation_id: str | None = None
    machine_id: str | None = None
    datacenter_id: str | None = None
    data: Mapping[str, str] = field(default_factory=dict)
