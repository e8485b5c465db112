"""Failures of vCenter, of the line to it and of what answers in its place, to domain errors: by type, not by text."""

import ssl
from collections.abc import Callable
from http import HTTPStatus
from http.client import HTTPException
from xml.etree.ElementTree import ParseError
from xml.parsers.expat import ExpatError

from pyVmomi import vim, vmodl

from vai_app.domain.errors import (
    CapacityShort,
    Conflict,
    HostUnavailable,
    NameTaken,
    NotFound,
    ProviderAuthenticationFailed,
    ProviderBusy,
    ProviderCertificateUntrusted,
    ProviderError,
    ProviderForbidden,
    ProviderTimeout,
    ProviderUnavailable,
    VaiError,
)
from vai_app.drivers.vmware.transport import UnexpectedStatus

TRANSLATED = (vmodl.MethodFault, OSError, HTTPException, UnexpectedStatus, ExpatError, ParseError)
"""Everything that a call to vCenter can raise and ``error_of`` understands."""

Rule = tuple[tuple[type[vmodl.MethodFault], ...], type[VaiError], str]

# The first rule that names a fault's type, or one it descends from, counts: the special stand before the general.
_RULES: tuple[Rule, ...] = (
    (
        (vim.fault.InvalidLogin, vim.fault.NotAuthenticated),
        ProviderAuthenticationFailed,
        "vCenter refused the user name or password. Register the datacenter's credentials again.",
    ),
    (
        (vim.fault.NoPermission,),
        ProviderForbidden,
        "The account lacks the right {privilege}. Grant it to the account's role in vCenter.",
    ),
    (
        (vim.fault.DuplicateName, vim.fault.AlreadyExists, vim.fault.FileAlreadyExists),
        NameTaken,
        "An object of this name exists in vCenter. Choose another name, or remove that object.",
    ),
    (
        (vim.fault.NoDiskSpace, vim.fault.InsufficientStorageSpace),
        CapacityShort,
        "The datastore has no room for the machine's disks. Free some, or choose another datastore.",
    ),
    (
        (vim.fault.InsufficientResourcesFault, vim.fault.NoCompatibleHost),
        CapacityShort,
        "No host has room for the machine ({fault}). Choose a smaller size, or another host or cluster.",
    ),
    (
        (
            vmodl.fault.HostCommunication,
            vim.fault.HostConnectFault,
            vim.fault.InvalidHostState,
            vim.fault.NoActiveHostInCluster,
            vim.fault.QuarantineModeFault,
        ),
        HostUnavailable,
        "The host cannot do it now ({fault}). Reconnect it, end its maintenance, or choose another host.",
    ),
    (
        (vmodl.fault.ManagedObjectNotFound, vim.fault.NotFound),
        NotFound,
        "vCenter knows no such object any more. Refresh the inventory and choose one that exists.",
    ),
    (
        (vim.fault.ToolsUnavailable,),
        Conflict,
        "VMware Tools do not run in the machine. Install or start them, or use stop and reset instead.",
    ),
    (
        (vim.fault.TaskInProgress, vim.fault.ConcurrentAccess, vim.fault.ResourceInUse, vim.fault.FileLocked),
        ProviderBusy,
        "Another task of vCenter holds the object ({fault}). VAI asks again.",
    ),
    (
        (vim.fault.CpuHotPlugNotSupported, vim.fault.MemoryHotPlugNotSupported),
        Conflict,
        "The machine cannot be resized while it runs. Stop it first.",
    ),
    (
        (vim.fault.InvalidPowerState,),
        Conflict,
        "The machine's power does not allow this. Stop or start it first.",
    ),
    (
        (vim.fault.InvalidState, vmodl.fault.NotSupported),
        Conflict,
        "The object's present state does not allow this ({fault}). Look at it in vCenter, then ask again.",
    ),
    (
        (vim.fault.Timedout,),
        ProviderTimeout,
        "vCenter gave up waiting for one of its own parts. Look at the task in vCenter.",
    ),
    (
        (vmodl.fault.NotEnoughLicenses,),
        ProviderError,
        "A licence of vCenter or of the host does not allow this ({fault}). Check the licences in vCenter.",
    ),
    (
        (vim.fault.InvalidDatastore,),
        ProviderError,
        "The datastore cannot be used ({fault}). Check it in vCenter, or choose another.",
    ),
    (
        (vmodl.fault.RequestCanceled,),
        ProviderError,
        "The task was cancelled in vCenter. Ask again if that was not meant.",
    ),
)  # fmt: skip


def error_of(failure: Exception, address: str) -> VaiError:
    """Return the domain error that a failure stands for; ``address`` names the vCenter for people."""
    if isinstance(failure, vmodl.MethodFault):
        return error_of_fault(failure)
    for kind, translate in _LINE_FAILURES:
        if isinstance(failure, kind):
            return translate(failure, address)
    return ProviderError(f"What answers at {address} does not speak the vSphere API. Check the endpoint.")


def error_of_fault(fault: vmodl.MethodFault) -> VaiError:
    """Return the domain error that a vSphere fault stands for."""
    for kinds, error, sentence in _RULES:
        if isinstance(fault, kinds):
            return error(sentence.format(fault=name_of(fault), privilege=getattr(fault, "privilegeId", None)))
    cause = getattr(fault, "faultCause", None)
    if isinstance(cause, vmodl.MethodFault):
        return error_of_fault(cause)
    return ProviderError(f"vCenter refused with {name_of(fault)}. Look at its recent tasks and events for the reason.")


def name_of(fault: vmodl.MethodFault) -> str:
    """Return a fault's name as vSphere's documentation has it."""
    return type(fault).__name__.rpartition(".")[2]


def is_done_already(fault: vmodl.MethodFault) -> bool:
    """Whether a change of power was refused because the machine has that power."""
    return isinstance(fault, vim.fault.InvalidPowerState) and (
        fault.requestedState is not None and fault.requestedState == fault.existingState
    )


def _untrusted(failure: Exception, address: str) -> VaiError:
    why = getattr(failure, "verify_message", "") or "it cannot be verified"
    return ProviderCertificateUntrusted(
        f"The certificate of {address} is not trusted: {why}. Give its authority as ca_certificate, or fix the name."
    )


def _late(_: Exception, address: str) -> VaiError:
    return ProviderTimeout(f"{address} did not answer in time. Check vCenter's load, or raise call_timeout_seconds.")


def _status(failure: Exception, address: str) -> VaiError:
    status = failure.status if isinstance(failure, UnexpectedStatus) else 0
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.TOO_MANY_REQUESTS:
        return ProviderUnavailable(
            f"{address} answers HTTP {status}. vCenter's services may be starting; VAI asks again."
        )
    return ProviderError(f"{address} answers HTTP {status}, which no vCenter does. Check the endpoint.")


def _unreachable(failure: Exception, address: str) -> VaiError:
    why = failure.strerror if isinstance(failure, OSError) and failure.strerror else type(failure).__name__
    return ProviderUnavailable(f"{address} cannot be reached: {why}. Check the endpoint, the network and vCenter.")


_LINE_FAILURES: tuple[tuple[type[Exception], Callable[[Exception, str], VaiError]], ...] = (
    (ssl.SSLCertVerificationError, _untrusted),
    (TimeoutError, _late),
    (UnexpectedStatus, _status),
    (OSError, _unreachable),
    (HTTPException, _unreachable),
)
