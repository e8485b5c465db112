"""What all answers have in common: JSON from a view, 202 for accepted work, ETags, headers."""

import re
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import msgspec
from flask import Response, request

from vai_app.api.auth import context, services
from vai_app.api.views import OperationView, operation_view
from vai_app.domain.errors import InvalidRequest, NotFound, PreconditionRequired
from vai_app.domain.operations import Operation
from vai_app.services.acceptance import RequestContext

API = "/api/v1"
JSON = "application/json"
CSV = "text/csv"
_IDEMPOTENCY_KEY = re.compile(r"[!-~]{1,128}")
_ETAG = re.compile(r'"(\d{1,9})"')


def answer(view: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Return a view as JSON."""
    return Response(msgspec.json.encode(view), status, headers, mimetype="application/json")


def accepted(operation: Operation) -> Response:
    """Return 202 with the operation, where it can be followed, and when to look."""
    headers = {"Location": f"{API}/operations/{operation.id}", "Retry-After": "1"}
    view: OperationView = operation_view(operation)
    return answer(view, 202, headers)


def idempotency_key() -> str | None:
    """Return the key that the client gave. Raises InvalidRequest."""
    key = request.headers.get("Idempotency-Key")
    if key is not None and not _IDEMPOTENCY_KEY.fullmatch(key):
        message = "must be 1 to 128 printable ASCII characters without spaces"
        raise InvalidRequest(f"Idempotency-Key {message}.", [{"field": "Idempotency-Key", "message": message}])
    return key


def change_context() -> RequestContext:
    """Return who asks for a change, with the idempotency key of the request. Raises InvalidRequest."""
    return replace(context(), idempotency_key=idempotency_key())


def datacenter_id(named: str | None) -> str | None:
    """Return the id of the datacenter that a query names, if it names one. Raises NotFound."""
    return services().datacenters.get(named).id if named else None


def datacenter_names() -> Callable[[str], str]:
    """Return what names datacenters by id, for one answer: each is looked up once."""

    @cache
    def name_of(datacenter_id: str) -> str:
        try:
            return services().datacenters.get(datacenter_id).name
        except NotFound:
            return "(forgotten)"

    return name_of


def etag(revision: int) -> dict[str, str]:
    """Return the header that names a revision."""
    return {"ETag": f'"{revision}"'}


def expected_revision() -> int:
    """Return the revision that a change is based on. Raises PreconditionRequired, InvalidRequest."""
    given = request.headers.get("If-Match")
    if given is None:
        raise PreconditionRequired("Send 'If-Match' with the ETag of the version that the change is based on.")
    match = _ETAG.fullmatch(given.strip())
    if match is None:
        message = "must be the ETag that the object was read with"
        raise InvalidRequest(f"If-Match {message}.", [{"field": "If-Match", "message": message}])
    return int(match.group(1))
