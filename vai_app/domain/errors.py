"""The one tree of errors. Every failure a caller can meet has a stable ``problem`` and says whether a retry helps.

Drivers translate what their SDK raises into these and nothing else; the API turns ``problem`` into the
``type`` of an RFC 9457 answer; the workflow retries what is ``retryable`` until the operation's deadline.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar


class VaiError(Exception):
    """A failure that VAI knows by name. ``detail`` is for people and says what to do; it holds no secret."""

    problem: ClassVar[str] = "internal"
    title: ClassVar[str] = "Something went wrong inside VAI"
    retryable: ClassVar[bool] = False

    def __init__(self, detail: str) -> None:
        """Keep the sentence that tells a person what happened and what to do."""
        super().__init__(detail)
        self.detail = detail


class InvalidRequest(VaiError):
    """The request contradicts the published schema or a rule that needs no look at the world."""

    problem = "invalid-request"
    title = "The request is not valid"

    def __init__(self, detail: str, errors: Sequence[Mapping[str, str]] = ()) -> None:
        """``errors`` are objects with ``field`` and ``message``."""
        super().__init__(detail)
        self.errors = tuple(errors)


class Unauthenticated(VaiError):
    """No token, or one that is not valid."""

    problem = "unauthenticated"
    title = "A valid token is needed"


class Forbidden(VaiError):
    """The token is valid and does not allow this."""

    problem = "forbidden"
    title = "Not allowed"


class PolicyRefused(Forbidden):
    """A policy limits what was asked for; the detail names the policy, the limit and the numbers."""

    problem = "policy-refused"
    title = "A policy refuses this"


class NotFound(VaiError):
    """There is no such object, or it belongs to another tenant."""

    problem = "not-found"
    title = "Not found"


class TooManyRequests(VaiError):
    """The token or the address sent more than it may; Retry-After says when to go on."""

    problem = "too-many-requests"
    title = "Too many requests"
    retryable = True


class Conflict(VaiError):
    """The object is in a state that does not allow this."""

    problem = "conflict"
    title = "The present state does not allow this"


class MachineBusy(Conflict):
    """Another operation on the same machine has not ended."""

    problem = "machine-busy"
    title = "Another operation on this machine is running"


class NameTaken(Conflict):
    """An object with this name exists, and it is not the one that was asked for."""

    problem = "name-taken"
    title = "The name is taken"


class IdempotencyKeyReused(VaiError):
    """One idempotency key came with two different payloads."""

    problem = "idempotency-key-reused"
    title = "The idempotency key was used for another request"


class PreconditionRequired(VaiError):
    """A change of configuration came without the version it is based on."""

    problem = "precondition-required"
    title = "If-Match is required"


class PreconditionFailed(VaiError):
    """A change of configuration is based on a version that is no longer the newest."""

    problem = "precondition-failed"
    title = "The object has changed meanwhile"


class CapacityShort(VaiError):
    """The hypervisor or the plan has no room for the machine."""

    problem = "capacity-short"
    title = "Not enough capacity"


class QuotaExceeded(VaiError):
    """A quota of the provider or of the tenant forbids it."""

    problem = "quota-exceeded"
    title = "A quota is exceeded"


class DeadlineExceeded(VaiError):
    """The operation did not end in the time that it was given."""

    problem = "deadline-exceeded"
    title = "The operation's deadline passed"


class Cancelled(VaiError):
    """A person asked for the operation to be cancelled."""

    problem = "cancelled"
    title = "The operation was cancelled"


class ServiceUnavailable(VaiError):
    """A part of VAI itself (database, broker) cannot be reached now."""

    problem = "service-unavailable"
    title = "A part of VAI cannot be reached"
    retryable = True


class ProviderError(VaiError):
    """The datacenter's management interface refused or failed in a way that has no better name."""

    problem = "provider-error"
    title = "The datacenter reported an error"


class ProviderUnavailable(ProviderError):
    """The datacenter cannot be reached, or says that it cannot serve now."""

    problem = "provider-unavailable"
    title = "The datacenter cannot be reached"
    retryable = True


class ProviderTimeout(ProviderError):
    """The datacenter did not answer in time. The request may or may not have been carried out."""

    problem = "provider-timeout"
    title = "The datacenter did not answer in time"
    retryable = True


class ProviderBusy(ProviderError):
    """The object is locked by another task of the provider, or VAI's own share of calls is used up."""

    problem = "provider-busy"
    title = "The datacenter is busy"
    retryable = True


class ProviderAuthenticationFailed(ProviderError):
    """The datacenter refused the credentials."""

    problem = "provider-authentication-failed"
    title = "The datacenter refused the credentials"


class ProviderCertificateUntrusted(ProviderError):
    """The datacenter's TLS certificate is not signed by a trusted authority."""

    problem = "provider-certificate-untrusted"
    title = "The datacenter's certificate is not trusted"


class ProviderForbidden(ProviderError):
    """The credentials are valid and lack a right."""

    problem = "provider-forbidden"
    title = "The datacenter's account lacks a right"


class HostUnavailable(ProviderError):
    """The host that was to do it is disconnected, in maintenance or not responding."""

    problem = "host-unavailable"
    title = "The host is not available"


def all_errors(root: type[VaiError] = VaiError) -> tuple[type[VaiError], ...]:
    """Return every class of the tree below and including ``root``, in definition order."""
    found = [root]
    for child in root.__subclasses__():
        found.extend(all_errors(child))
    return tuple(found)


def error_from(problem: str, detail: str) -> VaiError:
    """Rebuild an error that was stored as ``problem`` and ``detail``."""
    by_problem = {error.problem: error for error in all_errors()}
    return by_problem.get(problem, VaiError)(detail)
