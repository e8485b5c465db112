"""Problems as RFC 9457 answers: one table from error to status, one function that makes the answer."""

import logging
from collections.abc import Mapping

from flask import Response, g, request
from werkzeug.exceptions import HTTPException

from vai_app.api import requests as asked
from vai_app.api.auth import correlation_id
from vai_app.api.conventions import answer
from vai_app.api.documentation import PROBLEM_TYPE
from vai_app.api.views import FieldError, ProblemDetails
from vai_app.domain import errors

log = logging.getLogger(__name__)

STATUS: Mapping[type[errors.VaiError], int] = {
    errors.VaiError: 500,
    asked.Malformed: 400,
    errors.Unauthenticated: 401,
    errors.Forbidden: 403,
    errors.PolicyRefused: 403,
    errors.NotFound: 404,
    asked.MethodNotAllowed: 405,
    asked.NotAcceptable: 406,
    asked.RequestTooSlow: 408,
    errors.Conflict: 409,
    errors.MachineBusy: 409,
    errors.NameTaken: 409,
    errors.CapacityShort: 409,
    errors.QuotaExceeded: 409,
    errors.Cancelled: 409,
    errors.DeadlineExceeded: 409,
    asked.LengthRequired: 411,
    errors.PreconditionFailed: 412,
    asked.BodyTooLarge: 413,
    asked.UnsupportedMediaType: 415,
    errors.InvalidRequest: 422,
    errors.IdempotencyKeyReused: 422,
    errors.PreconditionRequired: 428,
    errors.TooManyRequests: 429,
    asked.HeadersTooLarge: 431,
    errors.ProviderError: 502,
    errors.ProviderAuthenticationFailed: 502,
    errors.ProviderCertificateUntrusted: 502,
    errors.ProviderForbidden: 502,
    errors.HostUnavailable: 502,
    errors.ProviderUnavailable: 503,
    errors.ProviderBusy: 503,
    errors.ServiceUnavailable: 503,
    errors.ProviderTimeout: 504,
}

_OF_HTTP: Mapping[int, tuple[type[errors.VaiError], str]] = {
    400: (asked.Malformed, "The request cannot be read."),
    404: (errors.NotFound, "There is nothing at this address. The API is described at /."),
    405: (asked.MethodNotAllowed, "The resource has no such method. The API is described at /."),
    406: (asked.NotAcceptable, "Only application/json is served. Change the Accept header."),
    413: (asked.BodyTooLarge, "The body is larger than this installation takes (VAI_LARGEST_BODY_BYTES)."),
    415: (asked.UnsupportedMediaType, "Send JSON with 'Content-Type: application/json'."),
}

_OF_A_TENANT = {"machine_id", "operation_id", "token_id"}


def problem_response(error: Exception) -> Response:
    """Return any exception as a problem; what VAI does not know is logged and told nobody."""
    if isinstance(error, errors.VaiError):
        if isinstance(error, errors.PolicyRefused):
            g.refused = f"{error.problem}: {error.detail}"
        elif isinstance(error, errors.NotFound) and _OF_A_TENANT & (request.view_args or {}).keys():
            g.refused = error.problem  # it may be another tenant's: nobody is told, and it is recorded
        return _answer(error, _headers(error))
    known = _OF_HTTP.get(error.code or 0) if isinstance(error, HTTPException) else None
    if known is not None:
        kind, detail = known
        allowed = getattr(error, "valid_methods", None)
        return _answer(kind(detail), {"Allow": ", ".join(sorted(allowed))} if allowed else {})
    log.error("request %s failed", correlation_id(), exc_info=error)
    return _answer(errors.VaiError(f"Give your operator the correlation id {correlation_id()}."), {})


def _answer(error: errors.VaiError, headers: dict[str, str]) -> Response:
    found = error.errors if isinstance(error, errors.InvalidRequest) else ()
    status = STATUS[type(error)]
    view = ProblemDetails(
        type=f"/problems/{error.problem}",
        title=error.title,
        status=status,
        detail=error.detail,
        instance=request.path,
        correlation_id=correlation_id(),
        errors=[FieldError(each["field"], each["message"]) for each in found],
    )
    response = answer(view, status, headers)
    response.mimetype = PROBLEM_TYPE
    return response


def _headers(error: errors.VaiError) -> dict[str, str]:
    if isinstance(error, errors.Unauthenticated):
        return {"WWW-Authenticate": 'Bearer realm="vai"'}
    return {"Retry-After": "5"} if error.retryable else {}
