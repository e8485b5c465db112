"""What has arrived on a connection: nothing whole yet, one whole request, or what is refused before it is whole.

Only where a request ends is found here; what it says is the parser's to judge.
"""

import re
import secrets
from dataclasses import dataclass
from enum import Enum
from http import HTTPStatus

import msgspec

from vai_app.api.documentation import PROBLEM_TYPE
from vai_app.api.envelope import CORRELATION_HEADER, HEADERS
from vai_app.api.requests import BodyTooLarge, HeadersTooLarge, LengthRequired, RequestTooSlow
from vai_app.api.views import ProblemDetails
from vai_app.domain.errors import InvalidRequest

LARGEST_HEADERS = 32 * 1024
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

_END = b"\r\n\r\n"
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,18})[ \t]*\r\n", re.IGNORECASE)
_TRANSFER_ENCODING = re.compile(rb"\r\ntransfer-encoding:", re.IGNORECASE)
_AUTHORIZATION = re.compile(rb"\r\nauthorization:([^\r\n]*)", re.IGNORECASE)
_EXPECT = re.compile(rb"\r\nexpect:[ \t]*100-continue[ \t]*\r\n", re.IGNORECASE)


class Arrival(Enum):
    """How far a request has come."""

    NOTHING = "nothing"
    PART = "part"
    BODY_AWAITED = "body awaited"  # the client waits to be told to send its body
    WHOLE = "whole"


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a request is not waited for."""

    status: HTTPStatus
    error: InvalidRequest

    def answer(self) -> bytes:
        """Return the whole answer, after which the connection is closed."""
        correlation_id = secrets.token_hex(16)
        view = ProblemDetails(
            type=f"/problems/{self.error.problem}",
            title=self.error.title,
            status=self.status.value,
            detail=self.error.detail,
            instance="",
            correlation_id=correlation_id,
            errors=[],
        )
        body = msgspec.json.encode(view)
        headers = {
            "Content-Type": PROBLEM_TYPE,
            "Content-Length": str(len(body)),
            "Connection": "close",
            CORRELATION_HEADER: correlation_id,
            **HEADERS,
        }
        lines = [f"HTTP/1.1 {self.status.value} {self.status.phrase}", *(f"{n}: {v}" for n, v in headers.items())]
        return "\r\n".join(lines).encode() + _END + body


class Reception:
    """The bytes of one connection, request after request."""

    def __init__(self, largest_body_bytes: int) -> None:
        """Bodies that say they are larger are refused."""
        self._largest_body_bytes = largest_body_bytes
        self._bytes = bytearray()
        self._headers_end = 0
        self._request_end = 0
        self._told_to_continue = False

    def add(self, data: bytes) -> None:
        """Keep what arrived."""
        self._bytes += data

    def look(self) -> Arrival | Refused:
        """Say how far the next request has come."""
        if not self._bytes:
            return Arrival.NOTHING
        if not self._headers_end:
            refused = self._find_headers()
            if refused is not None:
                return refused
        if not self._headers_end:
            return Arrival.PART
        if len(self._bytes) >= self._request_end:
            return Arrival.WHOLE
        if not self._told_to_continue and _EXPECT.search(self._bytes, 0, self._headers_end):
            self._told_to_continue = True
            return Arrival.BODY_AWAITED
        return Arrival.PART

    def take(self) -> bytes:
        """Return the whole request and go on to the next."""
        request = bytes(self._bytes[: self._request_end])
        del self._bytes[: self._request_end]
        self._headers_end = self._request_end = 0
        self._told_to_continue = False
        return request

    def authorization(self) -> bytes:
        """Return the Authorization header of the whole request that has arrived, empty where there is none."""
        found = _AUTHORIZATION.search(self._bytes, 0, self._headers_end)
        return bytes(found[1]).strip() if found else b""

    def too_slow(self) -> Refused:
        """Return the refusal of a request whose time is over."""
        return Refused(HTTPStatus.REQUEST_TIMEOUT, RequestTooSlow("The request took too long to arrive. Send it anew."))

    def _find_headers(self) -> Refused | None:
        end = self._bytes.find(_END, 0, LARGEST_HEADERS)
        if end < 0:
            return _HEADERS_TOO_LARGE if len(self._bytes) >= LARGEST_HEADERS else None
        end += len(_END)
        if _TRANSFER_ENCODING.search(self._bytes, 0, end):
            return _LENGTH_REQUIRED
        told = _LENGTH.search(self._bytes, 0, end)
        length = int(told[1]) if told else 0
        if length > self._largest_body_bytes:
            return _BODY_TOO_LARGE
        self._headers_end, self._request_end = end, end + length
        return None


_HEADERS_TOO_LARGE = Refused(
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    HeadersTooLarge(f"Request line and headers are larger than {LARGEST_HEADERS // 1024} KiB."),
)
_LENGTH_REQUIRED = Refused(
    HTTPStatus.LENGTH_REQUIRED,
    LengthRequired("Send the body whole, with Content-Length, and without Transfer-Encoding."),
)
_BODY_TOO_LARGE = Refused(
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    BodyTooLarge("The body is larger than this installation takes (VAI_LARGEST_BODY_BYTES)."),
)
