"""Acceptance: how what is asked becomes an operation, stored once however often it is asked, and nudged."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from vai_app.domain.errors import VaiError
from vai_app.domain.identifiers import new_id
from vai_app.domain.operations import REPUBLISH_SECONDS, Operation, OperationKind
from vai_app.domain.ports.clock import Clock
from vai_app.domain.ports.operations import OperationRepository
from vai_app.domain.principals import Principal
from vai_app.services.arguments import plain
from vai_app.services.nudge import Nudge
from vai_app.services.plans import PLANS
from vai_app.services.policy_manager import PolicyManager

AUTONOMOUS = "vai"
CREATIONS = (OperationKind.CREATE_VM, OperationKind.CREATE_BATCH)
_STRETCHES = 100_000


@dataclass(frozen=True, slots=True)
class RequestContext:
    """Who asks, under which correlation id, and the key by which a repeated request is recognised."""

    principal: Principal
    correlation_id: str
    idempotency_key: str | None = None

    @property
    def scope(self) -> str | None:
        """The tenant that look-ups are limited to; ``None`` for an administrator."""
        return None if self.principal.is_admin else self.principal.tenant


class Acceptance:
    """Makes operations of what is asked."""

    def __init__(
        self,
        *,
        operations: OperationRepository,
        policies: PolicyManager,
        nudge: Nudge,
        clock: Clock,
        deadline_seconds: float,
    ) -> None:
        """Collaborators, and how long an operation may take before it is turned back."""
        self._operations = operations
        self._policies = policies
        self._nudge = nudge
        self._clock = clock
        self._deadline_seconds = deadline_seconds

    def accept(self, operation: Operation, check: Callable[[], None]) -> Operation:
        """Store the operation that the check allows, and nudge it."""
        stored = self.store(operation, check)
        if stored.id == operation.id:
            self._nudge(stored.step, stored.id)
        return stored

    def store(self, operation: Operation, check: Callable[[], None]) -> Operation:
        """Store the operation that the check allows; a repeated one is answered whatever is forbidden by now."""
        try:
            check()
        except VaiError:
            earlier = self._operations.repeated(operation)
            if earlier is None:
                raise
            return earlier
        return self._operations.insert(operation)

    def operation(
        self,
        context: RequestContext,
        kind: OperationKind,
        target_id: str,
        datacenter_id: str | None,
        tenant: str,
        arguments: Mapping[str, Any],
        user_data: str | None = None,
    ) -> Operation:
        """Return a new operation; the digest of what is asked tells a repeated request from another of its key."""
        now = self._clock()
        digest = None
        if context.idempotency_key:
            named = target_id if kind not in CREATIONS else None
            told = [_stretched(user_data, f"{tenant}/{context.idempotency_key}")] if user_data is not None else []
            payload = json.dumps([kind, named, datacenter_id, arguments, *told], sort_keys=True)
            digest = hashlib.sha256(payload.encode()).hexdigest()
        if kind in CREATIONS:  # how long policies keep its machines; the tenant's key does not depend on it
            arguments = {**arguments, "lifetime": plain(self._policies.lifetime_terms(context.principal))}
        return Operation(
            id=new_id("op", now),
            kind=kind,
            tenant=tenant,
            requested_by=context.principal.name,
            correlation_id=context.correlation_id,
            target_id=target_id,
            datacenter_id=datacenter_id,
            arguments=arguments,
            plan=PLANS[kind],
            created_at=now,
            deadline=now + timedelta(seconds=self._deadline_seconds),
            due_at=now + timedelta(seconds=REPUBLISH_SECONDS),
            idempotency_key=context.idempotency_key,
            payload_digest=digest,
        )


def _stretched(secret: str, salt: str) -> str:
    """Return a digest so slow to make that nobody who reads it finds out a password by trying many."""
    return hashlib.pbkdf2_hmac("sha256", secret.encode(), salt.encode(), _STRETCHES).hex()
