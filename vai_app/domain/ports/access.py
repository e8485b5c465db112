"""Who may do what."""

from collections.abc import Sequence
from typing import Protocol

from vai_app.domain.policies import ConfigurationDocument, ConfigurationKind
from vai_app.domain.principals import ApiToken, Confirmation


class TokenRepository(Protocol):
    """Embedded tokens, found by digest."""

    def insert(self, token: ApiToken) -> None:
        """Store a token."""
        ...

    def find(self, digest: str) -> ApiToken | None:
        """Return the token whose secret has this SHA-256 digest."""
        ...

    def list(self) -> Sequence[ApiToken]:
        """Every token, oldest first."""
        ...

    def delete(self, token_id: str) -> None:
        """Revoke a token. Raises NotFound."""
        ...


class TokenClient(Protocol):
    """One access service that confirms tokens."""

    def confirm(self, secret: str) -> Confirmation | None:
        """Return whose token it is; ``None`` where the service knows no such token. Raises ServiceUnavailable."""
        ...

    def close(self) -> None:
        """Close the connections."""
        ...


class ConfigurationRepository(Protocol):
    """Roles, policies and tenants, each a row of revisions that never change."""

    def newest(self) -> Sequence[ConfigurationDocument]:
        """Return the newest revision of everything that was ever stored, removals too."""
        ...

    def store(self, document: ConfigurationDocument) -> None:
        """Store the next revision. Raises PreconditionFailed when there is one with its number."""
        ...

    def history(self, kind: ConfigurationKind, name: str) -> Sequence[ConfigurationDocument]:
        """Return every revision, newest first; none where the name was never used."""
        ...
