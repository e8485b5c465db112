"""A client of the API that goes on asking while processes are away, always under the same key."""

import secrets
import time

import httpx

from tests.lab.vai import Vai
from vai_app.cli.client import Json

_AWAY = {408, 502, 503, 504}  # 408: on a busy machine a request may not arrive in time, and is to be sent anew
_AGAIN_SECONDS = 0.2
_OPEN = ("pending", "running", "undoing")


class PatientClient:
    """One bearer's requests."""

    def __init__(self, vai: Vai, token: str, *, patience_seconds: float) -> None:
        """Give up what was not answered, or has not ended, after so long."""
        self._url = f"{vai.client.base_url}/api/v1"
        self._headers = {"Authorization": f"Bearer {token}"}
        self._patience_seconds = patience_seconds

    def send(self, method: str, path: str, body: Json | None = None) -> Json:
        """Return the answer; a change is made once, however often it is asked for. Raises TimeoutError."""
        headers = self._headers | ({} if method == "GET" else {"Idempotency-Key": secrets.token_hex(16)})
        deadline = time.monotonic() + self._patience_seconds
        while True:
            try:
                response = httpx.request(
                    method, f"{self._url}{path}", json=body, headers=headers, timeout=20, trust_env=False
                )
                if response.status_code not in _AWAY:
                    response.raise_for_status()
                    answered: Json = response.json()
                    return answered
            except httpx.TransportError:
                pass
            if time.monotonic() > deadline:
                message = f"{method} {path} was not answered"
                raise TimeoutError(message)
            time.sleep(_AGAIN_SECONDS)

    def end_of(self, operation: Json, *, look_seconds: float = 0.1) -> Json:
        """Return the operation when it has ended, or as it is when patience has."""
        deadline = time.monotonic() + self._patience_seconds
        while (found := self.send("GET", f"/operations/{operation['id']}"))["state"] in _OPEN:
            if time.monotonic() > deadline:
                break
            time.sleep(look_seconds)
        return found


def is_open(operation: Json) -> bool:
    """Whether an operation has not ended."""
    return operation["state"] in _OPEN
