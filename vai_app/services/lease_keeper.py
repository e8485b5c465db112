"""The lease keeper: while a step runs in this process, its lease does not run out, however slow a datacenter is.

A step that took longer than its lease would be begun again by another worker, and again, and never be saved. The
lease of a process that dies runs out as before: nobody keeps it any more.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition, Thread

from vai_app.domain.errors import ServiceUnavailable
from vai_app.domain.operations import Operation
from vai_app.domain.ports.operations import OperationRepository

log = logging.getLogger(__name__)

RENEWALS_PER_LEASE = 3


class LeaseKeeper:
    """Renews the leases of all steps that run in this process, from one thread that lives while there are any."""

    def __init__(self, *, operations: OperationRepository, lease_seconds: float) -> None:
        """Start no thread yet."""
        self._operations = operations
        self._lease_seconds = lease_seconds
        self._changed = Condition()
        self._kept: dict[str, Operation] = {}
        self._thread: Thread | None = None

    @contextmanager
    def keeping(self, claimed: Operation) -> Iterator[None]:
        """Keep the lease of a claimed operation for the length of the block."""
        with self._changed:
            self._kept[claimed.id] = claimed
            if self._thread is None:
                self._thread = Thread(target=self._keep, name="lease-keeper", daemon=True)
                self._thread.start()
        try:
            yield
        finally:
            with self._changed:
                self._kept.pop(claimed.id, None)

    def renew(self) -> None:
        """Renew what is kept now; a lease that another worker took is not renewed, and kept no longer."""
        with self._changed:
            kept = list(self._kept.values())
        for claimed in kept:
            try:
                ours = self._operations.renew(claimed, self._lease_seconds)
            except ServiceUnavailable as error:
                log.warning("the lease of %s was not renewed: %s", claimed.id, error.detail)
                continue
            if not ours:
                with self._changed:
                    if self._kept.get(claimed.id) is claimed:
                        del self._kept[claimed.id]

    def _keep(self) -> None:
        while True:
            with self._changed:
                # Steps are short: most are over before their first renewal, and the thread goes when all are.
                self._changed.wait(self._lease_seconds / RENEWALS_PER_LEASE)
                if not self._kept:
                    self._thread = None
                    return
            self.renew()
