"""Lifetimes: when a machine is to be removed, and when that is told before.

A machine without one is kept until somebody deletes it. Whether a machine was renewed in time or is removed is decided
by one compare-and-set of its lifetime: once it is ``PASSED`` it cannot be renewed any more.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

LONGEST_HOURS = 87_600
"""Ten years: the longest lifetime that may be asked for."""
DEFAULT_WARNING_HOURS = 24
RETRY_SECONDS = 600.0
"""How long after a removal was asked for it is asked for again, if the machine is still there."""


class Phase(StrEnum):
    """How far a lifetime has come."""

    RUNNING = "running"
    WARNED = "warned"
    PASSED = "passed"  # the machine is to be removed; nothing renews it


@dataclass(frozen=True, slots=True)
class Lifetime:
    """When a machine is to be removed. ``due_at`` is when something is to be done about it next."""

    expires_at: datetime
    due_at: datetime
    phase: Phase = Phase.RUNNING

    def followed(self, now: datetime) -> "Lifetime":
        """Return the lifetime after what is due at ``now``: told, passed, or to be looked at again."""
        if now < self.due_at:
            return self
        if now < self.expires_at:
            return replace(self, phase=Phase.WARNED, due_at=self.expires_at)
        return replace(self, phase=Phase.PASSED, due_at=now + timedelta(seconds=RETRY_SECONDS))


@dataclass(frozen=True, slots=True)
class LifetimeTerms:
    """What policies say: the longest lifetime, and how long before its end a warning is given; in hours."""

    hours: int | None = None
    warning_hours: int | None = None

    def begin(self, now: datetime, hours: int | None) -> Lifetime | None:
        """Return the lifetime of a machine that was asked for with ``hours``; none: as long as policies allow."""
        granted = hours if hours is not None else self.hours
        if granted is None:
            return None
        length = timedelta(hours=granted)
        warning = timedelta(hours=DEFAULT_WARNING_HOURS if self.warning_hours is None else self.warning_hours)
        # Nobody is warned as the machine is made.
        return Lifetime(expires_at=now + length, due_at=now + length - min(warning, length / 2))
