"""How requests are read: into a model with its limits, which validates them and is their documentation."""

import re
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

from flask import request
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
)

from vai_app.api.json_depth import is_deeper
from vai_app.domain.errors import InvalidRequest
from vai_app.domain.ports.paging import LARGEST_PAGE, PAGE_SIZE

M = TypeVar("M", bound=BaseModel)
DEEPEST_BODY = 32
"""Levels of objects and lists in a body; more are refused before they are read."""
ObjectName = Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=r"^[^\x00-\x1f\x7f]+$")]
Identifier = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,128}$")]


def _rfc_3339(text: Any) -> Any:
    """Let no number of seconds pass for a time."""
    if not _RFC_3339.fullmatch(str(text)):
        raise ValueError("must be a time such as 2026-01-31T12:00:00Z")
    return text


def _in_utc(moment: datetime) -> datetime:
    """Refuse what lies beyond the calendar once its zone is taken away."""
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("must lie in the years 1 to 9999 of UTC") from error


_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")
Moment = Annotated[AwareDatetime, BeforeValidator(_rfc_3339), AfterValidator(_in_utc)]


class Body(BaseModel):
    """A JSON object without unknown fields."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Query(BaseModel):
    """Query parameters; unknown ones are refused."""

    model_config = ConfigDict(extra="forbid")


class PageQuery(Query):
    """Which page."""

    page_size: int = Field(default=PAGE_SIZE, ge=1, le=LARGEST_PAGE, description="Items in one page.")
    page_token: Annotated[str, StringConstraints(max_length=512)] | None = Field(
        default=None, description="next_page_token of the page before."
    )


class IntervalQuery(PageQuery):
    """Of which time."""

    since: Moment | None = Field(default=None, description="With time zone, inclusive.")
    until: Moment | None = Field(default=None, description="With time zone, exclusive.")


def read_body(model: type[M]) -> M:
    """Return the request's body. Raises InvalidRequest; Malformed where it is no JSON at all."""
    if request.mimetype != "application/json":
        raise UnsupportedMediaType("Send JSON with 'Content-Type: application/json'.")
    body = request.get_data()
    if is_deeper(body, DEEPEST_BODY):
        raise Malformed(f"The body is nested deeper than {DEEPEST_BODY} levels.")
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        if any(each["type"] == "json_invalid" for each in error.errors()):
            detail = str(error.errors()[0].get("ctx", {}).get("error", ""))
            raise Malformed(f"The body is no valid JSON: {detail}.") from error
        raise _invalid("body", error) from error


def read_query(model: type[M]) -> M:
    """Return the request's query parameters. Raises InvalidRequest."""
    repeated = [name for name, values in request.args.lists() if len(values) > 1]
    if repeated:
        raise InvalidRequest("A query parameter was given twice.", [{"field": repeated[0], "message": "given twice"}])
    try:
        return model.model_validate(request.args.to_dict())
    except ValidationError as error:
        raise _invalid("query", error) from error


class Malformed(InvalidRequest):
    """The body cannot be read as JSON."""

    problem = "malformed-body"
    title = "The body is not JSON"


class UnsupportedMediaType(InvalidRequest):
    """The body is of another type than JSON."""

    problem = "unsupported-media-type"
    title = "The body must be JSON"


class NotAcceptable(InvalidRequest):
    """The client accepts no JSON."""

    problem = "not-acceptable"
    title = "Only JSON is served"


class BodyTooLarge(InvalidRequest):
    """The body is larger than the installation takes."""

    problem = "body-too-large"
    title = "The body is too large"


class HeadersTooLarge(InvalidRequest):
    """Request line and headers are larger than any request needs."""

    problem = "headers-too-large"
    title = "The headers are too large"


class LengthRequired(InvalidRequest):
    """The body comes in pieces whose sum is not told."""

    problem = "length-required"
    title = "Content-Length is needed"


class RequestTooSlow(InvalidRequest):
    """The request did not arrive whole in time (VAI_REQUEST_SECONDS)."""

    problem = "request-too-slow"
    title = "The request came too slowly"


class MethodNotAllowed(InvalidRequest):
    """The resource has no such method."""

    problem = "method-not-allowed"
    title = "The resource has no such method"


def _invalid(what: str, error: ValidationError) -> InvalidRequest:
    errors = [
        {"field": ".".join(map(str, each["loc"])) or what, "message": each["msg"]}
        for each in error.errors(include_url=False, include_input=False)
    ]
    return InvalidRequest(f"The {what} is not valid: {errors[0]['field']}: {errors[0]['message']}.", errors)
