"""What OpenStack answers when it refuses, in VAI's words: by status code and, where that is all there is, by text."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from keystoneauth1 import exceptions
from openstack import exceptions as sdk
from requests import Response

from vai_app.domain.errors import (
    CapacityShort,
    Conflict,
    InvalidRequest,
    NotFound,
    ProviderAuthenticationFailed,
    ProviderBusy,
    ProviderCertificateUntrusted,
    ProviderError,
    ProviderForbidden,
    ProviderTimeout,
    ProviderUnavailable,
    QuotaExceeded,
    VaiError,
)

_NO_HOST = re.compile(r"no valid host|exceeded maximum number of retries|insufficient .*resources", re.IGNORECASE)
_QUOTA = re.compile(r"quota|exceeded for|ports exceeded|over limit", re.IGNORECASE)
_BUSY = re.compile(r"task_state|being (used|updated)|vm_state building", re.IGNORECASE)
_LONGEST_DETAIL = 300
# The first that fits an answer's status and its words.
_ANSWERS: tuple[tuple[tuple[int, ...], re.Pattern[str] | None, type[VaiError], str], ...] = (
    ((400,), None, InvalidRequest, "OpenStack refused the request as invalid: {said}"),
    ((401,), None, ProviderAuthenticationFailed, "OpenStack refused the credentials. Register the right ones."),
    ((403, 413), _QUOTA, QuotaExceeded, "A quota of the project is used up: {said}"),
    ((403,), None, ProviderForbidden, "The account lacks a right in OpenStack: {said}"),
    ((404,), None, NotFound, "OpenStack has no such object: {said}"),
    ((409,), _BUSY, ProviderBusy, "OpenStack is still busy with the object: {said}"),
    ((409,), None, Conflict, "OpenStack refused: {said}"),
    ((429, 503), None, ProviderUnavailable, "OpenStack cannot serve now.{wait}"),
    ((500, 502, 504), None, ProviderUnavailable, "OpenStack failed with status {status}. It is asked again."),
)


def error_of(response: Response) -> VaiError:
    """Return the error that an answer other than success stands for."""
    said, status = _said(response), response.status_code
    after = response.headers.get("Retry-After")
    wait = f" It asks to wait {after} s." if after else ""
    for statuses, words, error, sentence in _ANSWERS:
        if status in statuses and (words is None or words.search(said)):
            return error(sentence.format(said=said, status=status, wait=wait))
    return ProviderError(f"OpenStack answered {status}: {said}")


def error_of_fault(fault: dict[str, Any] | None) -> VaiError:
    """Return why a server came to be in error, by Nova's own record."""
    message = str((fault or {}).get("message", "Nova gave no reason"))[:_LONGEST_DETAIL]
    if _NO_HOST.search(message):
        return CapacityShort(f"No host has room for the machine: {message} Choose a smaller size, or ask the operator.")
    if _QUOTA.search(message):
        return QuotaExceeded(f"A quota of the project is used up: {message}")
    return ProviderError(f"Nova could not do it: {message}")


@contextmanager
def translated() -> Iterator[None]:
    """Raise VAI's errors instead of keystoneauth's and the SDK's."""
    try:
        yield
    except exceptions.SSLError as error:
        message = "The certificate is not trusted. Register its authority as ca_certificate."
        raise ProviderCertificateUntrusted(message) from error
    except (exceptions.ConnectTimeout, exceptions.RequestTimeout, exceptions.GatewayTimeout) as error:
        raise ProviderTimeout("OpenStack did not answer in time.") from error
    except exceptions.Unauthorized as error:
        message = "Keystone refused the credentials. Register the right user, password and project."
        raise ProviderAuthenticationFailed(message) from error
    except (exceptions.EndpointNotFound, exceptions.EmptyCatalog, sdk.ServiceDisabledException) as error:
        message = "The catalogue has no such service in this region. Check the options 'region' and 'interface'."
        raise ProviderError(message) from error
    except (exceptions.ConnectionError, exceptions.HttpServerError, exceptions.TooManyRequests) as error:
        raise ProviderUnavailable("OpenStack cannot be reached, or cannot serve now.") from error
    except sdk.ServiceDiscoveryException as error:
        raise ProviderUnavailable("A service of the catalogue does not tell its versions now.") from error
    except (exceptions.ClientException, sdk.SDKException) as error:
        raise ProviderError(f"OpenStack refused: {str(error)[:_LONGEST_DETAIL]}") from error


def _said(response: Response) -> str:
    """Return the sentence of an error's body, whichever service wrote it."""
    try:
        body = response.json()
    except ValueError:
        return f"status {response.status_code}"
    for value in body.values() if isinstance(body, dict) else ():
        found = value[0] if isinstance(value, list) and value else value
        if isinstance(found, dict):
            return str(found.get("message") or found.get("detail") or found)[:_LONGEST_DETAIL]
        if isinstance(found, str):
            return found[:_LONGEST_DETAIL]
    return f"status {response.status_code}"
