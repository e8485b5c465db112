"""One call to an access service, bounded in time and size; whatever is not a JSON object is an unavailable service."""

import time
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import httpx
import msgspec

from vai_app.domain.errors import ServiceUnavailable

_LARGEST_BYTES = 512 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """A status and the JSON object that came with it."""

    status: int
    body: dict[str, Any]


class ServiceCaller:
    """Calls one access service."""

    def __init__(self, name: str, timeout_seconds: float, ca_certificate: str | None = None) -> None:
        """``name`` is for people; ``timeout_seconds`` bounds the whole call; ``ca_certificate`` is a PEM file."""
        self._name = name
        self._timeout_seconds = timeout_seconds
        context: Any = httpx.create_ssl_context(verify=ca_certificate) if ca_certificate else True
        self._http = httpx.Client(timeout=timeout_seconds, verify=context, trust_env=False, follow_redirects=False)

    def call(self, method: str, url: str, *, accepts: tuple[int, ...] = (HTTPStatus.OK,), **given: Any) -> Answer:
        """Return the answer if its status is one of ``accepts``. Raises ServiceUnavailable for everything else."""
        until = time.monotonic() + self._timeout_seconds
        body = b""
        try:
            with self._http.stream(method, url, **given) as response:
                for part in response.iter_bytes():
                    body += part
                    if len(body) > _LARGEST_BYTES:
                        raise self._away("its answer is too large")
                    if time.monotonic() > until:
                        raise self._away("it answers too slowly")
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self._away(f"{type(error).__name__}") from error
        if response.status_code not in accepts:
            raise self._away(f"it answered {response.status_code}")
        if response.status_code != HTTPStatus.OK:
            return Answer(response.status_code, {})
        try:
            found = msgspec.json.decode(body)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            raise self._away("its answer is no JSON") from error
        if not isinstance(found, dict):
            raise self._away("its answer is no JSON object")
        return Answer(response.status_code, found)

    def garbled(self, what: str) -> ServiceUnavailable:
        """Return the error for an answer that lacks ``what``."""
        return self._away(f"its answer has no usable {what}")

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _away(self, why: str) -> ServiceUnavailable:
        return ServiceUnavailable(f"The access service ({self._name}) cannot confirm tokens now: {why}. Try again.")
