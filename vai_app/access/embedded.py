"""The embedded store's tokens, by which VAI runs alone."""

from vai_app.domain.ports.access import TokenRepository
from vai_app.domain.principals import Confirmation, digest_of


class EmbeddedClient:
    """Implements the ``TokenClient`` port. A secret has 256 random bits, so its plain digest is enough to store."""

    def __init__(self, tokens: TokenRepository) -> None:
        """Collaborators."""
        self._tokens = tokens

    def confirm(self, secret: str) -> Confirmation | None:
        """Return who bears the token."""
        token = self._tokens.find(digest_of(secret))
        return Confirmation(token.principal, token.expires_at) if token else None

    def close(self) -> None:
        """Hold nothing."""
