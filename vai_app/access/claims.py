"""What an access service says of a token, read as a principal of VAI."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from vai_app.domain.principals import Principal


@dataclass(frozen=True, slots=True)
class ClaimMap:
    """Where name, tenant and roles stand; ``realm_access.roles`` is ``roles`` inside ``realm_access``.

    Only a role with an entry in ``roles_of`` counts: what an administrator is elsewhere is decided elsewhere.
    """

    name: str = "sub"
    tenant: str = "tenant"
    roles: str = "roles"
    roles_of: Mapping[str, str] = field(default_factory=dict)

    def principal(self, claims: Mapping[str, Any]) -> Principal | None:
        """Return the principal; ``None`` where name or tenant is missing or no text."""
        name, tenant = _at(claims, self.name), _at(claims, self.tenant)
        if not isinstance(name, str) or not isinstance(tenant, str) or not name or not tenant:
            return None
        return Principal(name=name, tenant=tenant, roles=self.mapped(_texts(_at(claims, self.roles))))

    def mapped(self, names: Sequence[str]) -> tuple[str, ...]:
        """Return VAI's roles for the service's, each once."""
        return tuple(dict.fromkeys(self.roles_of[name] for name in names if name in self.roles_of))


def _at(claims: Any, path: str) -> Any:
    found = claims.get(path) if isinstance(claims, Mapping) else None
    if found is not None:  # a claim's own name may be a URL with dots
        return found
    for part in path.split("."):
        claims = claims.get(part) if isinstance(claims, Mapping) else None
    return claims


def _texts(value: Any) -> Sequence[str]:
    if isinstance(value, str):
        return value.split()
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []
