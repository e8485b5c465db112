"""The client of the REST API: finds address and token by itself, and speaks in VAI's errors."""

import secrets
import time
from collections.abc import Iterator
from typing import Any

import httpx

from vai_app.cli.state_folder import ADMIN_TOKEN_FILE
from vai_app.domain.errors import NotFound, ServiceUnavailable, Unauthenticated, VaiError, all_errors
from vai_app.settings import Settings

_TIMEOUT_SECONDS = 60.0
_TRIES = 4
_SHORTEST_POLL_SECONDS = 0.1
_LONGEST_POLL_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 5
_OPEN = ("pending", "running", "undoing")

Json = dict[str, Any]


class ApiClient:
    """One installation's API."""

    def __init__(self, base_url: str, token: str, transport: httpx.BaseTransport | None = None) -> None:
        """``transport`` is for tests."""
        self.base_url = base_url
        self._http = httpx.Client(
            base_url=f"{base_url}/api/v1",
            headers={"Authorization": f"Bearer {token}"},
            timeout=_TIMEOUT_SECONDS,
            transport=transport,
            trust_env=False,
        )

    def get(self, path: str, **query: Any) -> Json:
        """Return an object."""
        return self._call("GET", path, params=_given(query))

    def text(self, path: str, *, accept: str, **query: Any) -> str:
        """Return a text of a media type."""
        return self._send("GET", path, params=_given(query), headers={"Accept": accept}).text

    def items(self, path: str, **query: Any) -> Iterator[Json]:
        """Yield the items of a list, page after page."""
        token = None
        while True:
            page = self.get(path, page_token=token, **query)
            yield from page["items"]
            token = page.get("next_page_token")
            if token is None:
                return

    def post(self, path: str, body: Json | None = None) -> Json:
        """Ask for a change; repeated after a lost connection under the same idempotency key."""
        return self._call("POST", path, json=body, headers={"Idempotency-Key": secrets.token_hex(16)})

    def delete(self, path: str) -> Json:
        """Ask for a removal."""
        return self._call("DELETE", path, headers={"Idempotency-Key": secrets.token_hex(16)})

    def change_configuration(self, method: str, path: str, body: Json | None = None) -> Json:
        """Change what has a revision, based on its present one."""
        revision = self.get(path)["revision"]
        return self._call(method, path, json=body, headers={"If-Match": f'"{revision}"'})

    def follow(self, operation_id: str) -> Iterator[Json]:
        """Yield an operation as it goes on, until it has ended."""
        pause = _SHORTEST_POLL_SECONDS
        while True:
            operation = self.get(f"/operations/{operation_id}")
            yield operation
            if operation["state"] not in _OPEN:
                return
            time.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_POLL_SECONDS)

    def machine(self, named: str) -> Json:
        """Return a machine by id or name. Raises NotFound."""
        if named.startswith("vm-"):
            return self.get(f"/virtual-machines/{named}")
        found = list(self.items("/virtual-machines", name=named))
        alive = [machine for machine in found if machine["state"] in ("requested", "active", "missing")] or found
        if not alive:
            raise NotFound(f"There is no machine {named!r}. 'vai vm list' shows those there are.")
        if len(alive) > 1:
            ids = ", ".join(machine["id"] for machine in alive)
            raise NotFound(f"Several machines are named {named!r}. Use an id: {ids}.")
        return alive[0]

    def _call(self, method: str, path: str, **given: Any) -> Json:
        answered: Json = self._send(method, path, **given).json()
        return answered

    def _send(self, method: str, path: str, **given: Any) -> httpx.Response:
        for tried in range(1, _TRIES + 1):
            try:
                response = self._http.request(method, path, **given)
            except httpx.TransportError as error:
                if tried < _TRIES:
                    time.sleep(0.2 * tried)
                    continue
                message = (
                    f"VAI cannot be reached at {self.base_url} ({error}). Start it with 'vai up', or set VAI_API_URL."
                )
                raise ServiceUnavailable(message) from error
            if response.is_success:
                return response
            pause = _pause_asked_for(response)
            if pause is None or tried == _TRIES:
                raise _error(response)
            time.sleep(pause)
        raise AssertionError


def _given(query: Json) -> Json:
    return {name: value for name, value in query.items() if value is not None}


def client_of(settings: Settings, api_url: str | None, token: str | None) -> ApiClient:
    """Return the client of the configured installation. Raises Unauthenticated when no token is found."""
    base_url = api_url or settings.local_api_url
    if token is None:
        path = settings.state_folder / ADMIN_TOKEN_FILE
        try:
            token = path.read_text().strip()
        except OSError as error:
            message = f"No token: set VAI_TOKEN, or start VAI here with 'vai up' ({path}: {error.strerror})."
            raise Unauthenticated(message) from error
    return ApiClient(base_url.rstrip("/"), token)


def _pause_asked_for(response: httpx.Response) -> float | None:
    """Return the seconds after which a refused request may come again, where that is soon.

    One that was too many says so; one that arrived too slowly may come again at once, and was not acted on.
    """
    if response.status_code == httpx.codes.REQUEST_TIMEOUT:
        return 0.0
    asked = response.headers.get("Retry-After", "")
    if response.status_code != httpx.codes.TOO_MANY_REQUESTS or not asked.isdecimal():
        return None
    return float(asked) if int(asked) <= _LONGEST_PAUSE_SECONDS else None


def _error(response: httpx.Response) -> VaiError:
    try:
        problem = response.json()
        slug, detail = problem["type"].rpartition("/")[2], problem["detail"]
    except (ValueError, KeyError, TypeError, AttributeError):
        return VaiError(f"The API answered {response.status_code} and no problem. Is this address VAI's?")
    known = {error.problem: error for error in all_errors()}
    error = known.get(slug, VaiError)(detail)
    error.title = problem.get("title", error.title)  # type: ignore[misc] # of this one instance
    return error
