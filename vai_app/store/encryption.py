"""Credentials at rest: Fernet (AES-128-CBC with HMAC-SHA256), bound to the datacenter they belong to."""

import json
from collections.abc import Mapping

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from vai_app.domain.errors import InvalidRequest, ServiceUnavailable


class Cipher:
    """Seals and opens credentials. Several keys, separated by commas: the first seals, all open."""

    def __init__(self, keys: str) -> None:
        """Raises InvalidRequest for what is no Fernet key."""
        try:
            self._fernet = MultiFernet([Fernet(key.strip()) for key in keys.split(",")])
        except ValueError as error:
            message = "VAI_SECRET_KEY is no Fernet key: 32 bytes, URL-safe base64. 'vai up' makes one at first start."
            raise InvalidRequest(message) from error

    def seal(self, owner: str, credentials: Mapping[str, str]) -> str:
        """Return ``credentials`` encrypted for ``owner``."""
        plain = json.dumps({"owner": owner, "credentials": dict(credentials)})
        return self._fernet.encrypt(plain.encode()).decode()

    def open(self, owner: str, sealed: str) -> dict[str, str]:
        """Return the credentials. Raises ServiceUnavailable when they were sealed with another key or for another."""
        try:
            plain = json.loads(self._fernet.decrypt(sealed.encode()))
        except InvalidToken as error:
            message = (
                f"The credentials of {owner} were encrypted with another key. "
                "Give VAI_SECRET_KEY its former value, or register the credentials again."
            )
            raise ServiceUnavailable(message) from error
        if plain["owner"] != owner:
            message = f"The stored credentials of {owner} belong to {plain['owner']}. Register them again."
            raise ServiceUnavailable(message)
        return {str(name): str(value) for name, value in plain["credentials"].items()}
