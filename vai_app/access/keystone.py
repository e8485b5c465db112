"""Keystone tokens: Keystone is asked about every token (``GET /v3/auth/tokens``), in the token's own name.

The tenant is the project's name; a token without a project belongs to no tenant and is refused.
"""

from datetime import datetime
from http import HTTPStatus
from typing import Any

from vai_app.access.claims import ClaimMap
from vai_app.access.http import ServiceCaller
from vai_app.domain.principals import Confirmation

NAME_CLAIM, TENANT_CLAIM, ROLES_CLAIM = "user.name", "project.name", "role_names"


class KeystoneClient:
    """Implements the ``TokenClient`` port."""

    def __init__(self, url: str, *, claims: ClaimMap, caller: ServiceCaller) -> None:
        """``url`` is Keystone's, such as ``https://keystone.example.org:5000``."""
        self._url = f"{url.rstrip('/').removesuffix('/v3')}/v3/auth/tokens"
        self._claims = claims
        self._caller = caller

    def confirm(self, secret: str) -> Confirmation | None:
        """Return who bears the token, if Keystone knows it."""
        # A header takes visible ASCII only; nothing else is a Keystone token.
        if not secret.isascii() or not secret.isprintable() or " " in secret:
            return None
        refused = (HTTPStatus.UNAUTHORIZED, HTTPStatus.NOT_FOUND)
        headers = {"X-Auth-Token": secret, "X-Subject-Token": secret}
        answer = self._caller.call(
            "GET", self._url, headers=headers, params={"nocatalog": "1"}, accepts=(HTTPStatus.OK, *refused)
        )
        if answer.status in refused:
            return None
        token = answer.body.get("token")
        if not isinstance(token, dict):
            raise self._caller.garbled("'token'")
        roles = token.get("roles", [])
        names = [role["name"] for role in roles if isinstance(role, dict) and isinstance(role.get("name"), str)]
        principal = self._claims.principal({**token, "role_names": names})
        if principal is None:
            return None
        return Confirmation(principal, self._end(token.get("expires_at")))

    def close(self) -> None:
        """Close the connections."""
        self._caller.close()

    def _end(self, text: Any) -> datetime:
        """Return the end of a token; every Keystone token has one."""
        try:
            found = datetime.fromisoformat(text)
        except (TypeError, ValueError) as error:
            raise self._caller.garbled("'expires_at'") from error
        if found.tzinfo is None:
            raise self._caller.garbled("'expires_at'")
        return found
