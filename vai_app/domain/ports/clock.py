"""Time, and who does at a time what only one may do."""

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """Tells the time, UTC-aware."""

    def __call__(self) -> datetime:
        """Return this moment."""
        ...


class LeaseRepository(Protocol):
    """Leases by name: at most one holder at a time, lost when not renewed."""

    def hold(self, name: str, owner: str, seconds: float) -> bool:
        """Take or renew the lease; ``False`` while another owner has it."""
        ...

    def release(self, name: str, owner: str) -> None:
        """Give it back, if it is the owner's."""
        ...
