"""What OpenStack says, in VAI's words; sizes become flavors; a task's reference is all that another process needs."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from keystoneauth1 import exceptions
from openstack import exceptions as sdk
from requests import Response

from vai_app.domain.datacenters import ProviderQuota
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
from vai_app.domain.virtual_machines import Size
from vai_app.drivers.openstack.asked import Asked, Verb, ask, read_ref
from vai_app.drivers.openstack.faults import error_of, error_of_fault, translated
from vai_app.drivers.openstack.mapping import Flavor, choose_flavor, quota_of


def _answer(status: int, said: Any = None, **headers: str) -> Response:
    response = Response()
    response.status_code = status
    response._content = json.dumps(said).encode() if said is not None else b""
    response.headers.update(headers)
    return response


@pytest.mark.parametrize(
    ("status", "said", "error"),
    [
        (400, {"badRequest": {"message": "Image x is not active."}}, InvalidRequest),
        (401, None, ProviderAuthenticationFailed),
        (403, {"forbidden": {"message": "Quota exceeded for instances: Requested 1"}}, QuotaExceeded),
        (403, {"forbidden": {"message": "Maximum number of ports exceeded"}}, QuotaExceeded),
        (403, {"forbidden": {"message": "Policy doesn't allow it to be performed."}}, ProviderForbidden),
        (404, {"itemNotFound": {"message": "Flavor x could not be found."}}, NotFound),
        (409, {"conflictingRequest": {"message": "while it is in task_state powering-off"}}, ProviderBusy),
        (409, {"conflictingRequest": {"message": "while it is in vm_state building"}}, ProviderBusy),
        (409, {"conflictingRequest": {"message": "while it is in vm_state error"}}, Conflict),
        (429, None, ProviderUnavailable),
        (500, None, ProviderUnavailable),
        (503, None, ProviderUnavailable),
        (418, None, ProviderError),
    ],
)
def test_a_refusal_has_a_word_of_ours(status: int, said: Any, error: type[VaiError]) -> None:
    told = error_of(_answer(status, said))
    assert type(told) is error
    if status not in (401, 429, 500, 503) and said is not None:
        assert next(iter(said.values()))["message"] in told.detail


@pytest.mark.parametrize("status", [429, 503])
def test_the_patience_that_is_asked_for_is_told(status: int) -> None:
    assert "17 s" in error_of(_answer(status, **{"Retry-After": "17"})).detail


@pytest.mark.parametrize(
    ("raised", "error"),
    [
        (exceptions.SSLError("bad"), ProviderCertificateUntrusted),
        (exceptions.ConnectTimeout("late"), ProviderTimeout),
        (exceptions.ConnectFailure("refused"), ProviderUnavailable),
        (exceptions.Unauthorized("no"), ProviderAuthenticationFailed),
        (exceptions.EndpointNotFound("none"), ProviderError),
        (sdk.ServiceDisabledException("none"), ProviderError),
        (sdk.ServiceDiscoveryException("silent"), ProviderUnavailable),
        (sdk.SDKException("else"), ProviderError),
    ],
    ids=lambda each: type(each).__name__ if isinstance(each, Exception) else "",
)
def test_nothing_of_the_sdk_is_raised(raised: Exception, error: type[VaiError]) -> None:
    with pytest.raises(VaiError) as told, translated():
        raise raised
    assert type(told.value) is error


@pytest.mark.parametrize(
    ("message", "error"),
    [
        ("No valid host was found. There are not enough hosts available.", CapacityShort),
        ("Exceeded maximum number of retries.", CapacityShort),
        ("Quota exceeded for cores", QuotaExceeded),
        ("Binding failed for port 1", ProviderError),
    ],
)
def test_a_server_in_error_has_a_word_of_ours(message: str, error: type[VaiError]) -> None:
    told = error_of_fault({"message": message})
    assert type(told) is error
    assert message in told.detail


_FLAVORS = [
    Flavor("1", "small", Size(1, 512, 1)),
    Flavor("2", "small-disk", Size(1, 512, 20)),
    Flavor("3", "large", Size(4, 8192, 80)),
]


def test_a_flavor_fits_exactly_and_a_disk_left_open_takes_the_smallest() -> None:
    assert choose_flavor(_FLAVORS, Size(1, 512, 20)).name == "small-disk"
    assert choose_flavor(reversed(_FLAVORS), Size(1, 512)).name == "small"


def test_a_size_without_a_flavor_is_refused_with_the_nearest() -> None:
    with pytest.raises(InvalidRequest, match="large"):
        choose_flavor(_FLAVORS, Size(2, 1024, 10))


def test_a_reference_tells_another_process_what_was_asked() -> None:
    task = ask(Verb.POWER, "server-1", "ACTIVE")
    read = read_ref(task.ref)
    assert read is not None
    assert (read.verb, read.server, read.wanted) == (Verb.POWER, "server-1", "ACTIVE")
    assert abs(datetime.now(UTC) - read.at) < timedelta(minutes=1)


@pytest.mark.parametrize("ref", ["", "task-999999", "create|x", "create|x|soon|ACTIVE"])
def test_a_reference_that_is_none_of_ours_is_known_as_such(ref: str) -> None:
    assert read_ref(ref) is None


def test_only_a_server_that_was_just_asked_for_may_be_unseen() -> None:
    now = datetime.now(UTC)
    assert Asked(Verb.CREATE, "server-1", now, "ACTIVE").may_be_unseen
    assert not Asked(Verb.CREATE, "server-1", now - timedelta(minutes=2), "ACTIVE").may_be_unseen
    assert not Asked(Verb.POWER, "server-1", now, "ACTIVE").may_be_unseen


def test_a_projects_quota_leaves_out_what_is_not_limited() -> None:
    limits = {
        "maxTotalInstances": 10,
        "totalInstancesUsed": 3,
        "maxTotalCores": -1,
        "totalCoresUsed": 7,
        "maxTotalRAMSize": 51200,
        "totalRAMUsed": 2048,
    }
    assert quota_of(limits) == ProviderQuota(
        limit={"machines": 10, "memory_mib": 51200}, used={"machines": 3, "memory_mib": 2048}
    )
    assert quota_of({name: -1 if name.startswith("max") else by for name, by in limits.items()}) is None
