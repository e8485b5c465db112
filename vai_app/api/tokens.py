"""``/tokens``: the embedded access service's tokens. A secret is shown once, by the answer that made it."""

from dataclasses import dataclass
from datetime import datetime

from flask import Response
from flask_restx import Namespace
from pydantic import Field

from vai_app.api.auth import Confirmed, context, services
from vai_app.api.configuration.resource import Names
from vai_app.api.conventions import API, answer
from vai_app.api.documentation import documented
from vai_app.api.requests import Body, Identifier, Moment, ObjectName, read_body
from vai_app.domain.principals import ApiToken, Principal

namespace = Namespace("tokens", description="Tokens of the embedded access service")


class TokenBody(Body):
    """A token to create."""

    name: ObjectName = Field(description="Who bears it; stands in the activity log.")
    tenant: Identifier
    roles: Names = Field(default=[])
    expires_at: Moment | None = Field(default=None, strict=False, description="With time zone; none: never.")


@dataclass(slots=True)
class TokenView:
    """A token without its secret."""

    id: str
    name: str
    tenant: str
    roles: list[str]
    created_at: datetime
    expires_at: datetime | None


@dataclass(slots=True)
class NewToken:
    """A new token; the secret cannot be read again."""

    token: TokenView
    secret: str


@dataclass(slots=True)
class TokenList:
    """Every token, oldest first."""

    items: list[TokenView]


@namespace.route("")
class Tokens(Confirmed):
    """All tokens."""

    @documented(namespace, 200, TokenList, may="tokens:read")
    def get(self) -> Response:
        """List the tokens that the caller may see, oldest first."""
        found = services().access.tokens(context().scope)
        return answer(TokenList([_view(each) for each in found]))

    @documented(namespace, 201, NewToken, body=TokenBody, may="tokens:create")
    def post(self) -> Response:
        """Create a token and show its secret, once."""
        body = read_body(TokenBody)
        principal = Principal(body.name, body.tenant, tuple(body.roles))
        secret, token = services().access.create(context().principal, principal, body.expires_at)
        return answer(NewToken(_view(token), secret), 201, {"Location": f"{API}/tokens/{token.id}"})


@namespace.route("/<string:token_id>")
class OneToken(Confirmed):
    """One token."""

    @documented(namespace, 200, TokenView, problems=(404,), may="tokens:revoke")
    def delete(self, token_id: str) -> Response:
        """Revoke a token; it stops working within the time that answers are remembered."""
        return answer(_view(services().access.revoke(token_id, context().scope, context().principal.name)))


def _view(token: ApiToken) -> TokenView:
    bearer = token.principal
    return TokenView(token.id, bearer.name, bearer.tenant, list(bearer.roles), token.created_at, token.expires_at)
