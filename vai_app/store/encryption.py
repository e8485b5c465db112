"""Secrets at rest: Fernet (AES-128-CBC with HMAC-SHA256), bound to what they belong to, a datacenter or a machine.

Keys may change while the process lives: they are read anew before each sealing, and when an opening fails.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from pymongo.collection import Collection

from vai_app.domain.errors import InvalidRequest, ServiceUnavailable


class Cipher:
    """Seals and opens secrets. Several keys, separated by commas: the first seals, all open."""

    def __init__(self, keys: str | Callable[[], str]) -> None:
        """``keys`` are the keys, or where to read them. Raises InvalidRequest for what is no Fernet key."""
        self._read = keys if callable(keys) else lambda: keys
        self._keys = ""
        self._renew()

    def seal(self, owner: str, credentials: Mapping[str, str]) -> str:
        """Return ``credentials`` encrypted for ``owner`` with the newest key."""
        self._renew()
        plain = json.dumps({"owner": owner, "credentials": dict(credentials)})
        return self._fernet.encrypt(plain.encode()).decode()

    def open(self, owner: str, sealed: str) -> dict[str, str]:
        """Return the secrets. Raises ServiceUnavailable when they were sealed with another key or for another."""
        try:
            plain = json.loads(self._decrypt(sealed))
        except InvalidToken as error:
            message = (
                f"The secrets of {owner} were encrypted with another key. "
                "Give VAI_SECRET_KEY its former value, or give them anew."
            )
            raise ServiceUnavailable(message) from error
        if plain["owner"] != owner:
            message = f"The stored secrets of {owner} belong to {plain['owner']}. Give them anew."
            raise ServiceUnavailable(message)
        return {str(name): str(value) for name, value in plain["credentials"].items()}

    def seal_anew(self, owner: str, collection: Collection[dict[str, Any]], field: str, sealed: str) -> bool:
        """Seal ``field`` of the owner's document with the newest key; whether it was sealed with another.

        What another process changed meanwhile is left to that one. Raises ServiceUnavailable as ``open`` does, and
        has then changed nothing.
        """
        if self._is_newest(sealed):
            return False
        fresh = self.seal(owner, self.open(owner, sealed))
        collection.update_one({"_id": owner, field: sealed}, {"$set": {field: fresh}})
        return True

    def _is_newest(self, sealed: str) -> bool:
        self._renew()
        try:
            self._newest.decrypt(sealed.encode())
        except InvalidToken:
            return False
        return True

    def _decrypt(self, sealed: str) -> bytes:
        try:
            return self._fernet.decrypt(sealed.encode())
        except InvalidToken:
            if not self._renew():
                raise
        return self._fernet.decrypt(sealed.encode())

    def _renew(self) -> bool:
        """Read the keys; whether they are others than before."""
        keys = self._read()
        if keys == self._keys:
            return False
        try:
            fernets = [Fernet(key.strip()) for key in keys.split(",")]
        except ValueError as error:
            message = "VAI_SECRET_KEY is no Fernet key: 32 bytes, URL-safe base64. 'vai up' makes one at first start."
            raise InvalidRequest(message) from error
        self._keys, self._newest, self._fernet = keys, fernets[0], MultiFernet(fernets)
        return True
