"""OAuth 2.0 token introspection (RFC 7662): the authorization server is asked about every token."""

from datetime import UTC, datetime

from vai_app.access.claims import ClaimMap
from vai_app.access.http import ServiceCaller
from vai_app.domain.principals import Confirmation


class IntrospectionClient:
    """Implements the ``TokenClient`` port."""

    def __init__(
        self, url: str, *, client_id: str, client_secret: str, claims: ClaimMap, caller: ServiceCaller
    ) -> None:
        """``client_id`` and ``client_secret`` are VAI's own at the server, sent by HTTP Basic."""
        self._url = url
        self._account = (client_id, client_secret)
        self._claims = claims
        self._caller = caller

    def confirm(self, secret: str) -> Confirmation | None:
        """Return who bears the token, if the server says that it is active."""
        given = {"token": secret, "token_type_hint": "access_token"}
        found = self._caller.call(
            "POST", self._url, data=given, auth=self._account, headers={"Accept": "application/json"}
        ).body
        if not isinstance(found.get("active"), bool):
            raise self._caller.garbled("'active'")
        if not found["active"]:
            return None
        principal, expires = self._claims.principal(found), found.get("exp")
        if principal is None:
            return None
        if expires is None:
            return Confirmation(principal, None)
        if isinstance(expires, bool) or not isinstance(expires, int | float):
            raise self._caller.garbled("'exp'")
        return Confirmation(principal, datetime.fromtimestamp(expires, UTC))

    def close(self) -> None:
        """Close the connections."""
        self._caller.close()
