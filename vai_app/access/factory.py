"""Makes the clients that the settings name, in their order."""

from vai_app.access.claims import ClaimMap
from vai_app.access.embedded import EmbeddedClient
from vai_app.access.http import ServiceCaller
from vai_app.access.introspection import IntrospectionClient
from vai_app.access.jwt import Issuer, JwtClient
from vai_app.access.keystone import NAME_CLAIM, ROLES_CLAIM, TENANT_CLAIM, KeystoneClient
from vai_app.domain.errors import InvalidRequest
from vai_app.domain.ports.access import TokenClient, TokenRepository
from vai_app.settings import Settings


def token_clients(settings: Settings, tokens: TokenRepository) -> list[TokenClient]:
    """Return one client for each name in ``access_clients``. Raises InvalidRequest for what cannot work."""
    names = [each.strip() for each in settings.access_clients.split(",") if each.strip()]
    if not names:
        raise InvalidRequest("VAI_ACCESS_CLIENTS names no client; nobody could use VAI.")
    return [_client(name, settings, tokens) for name in names]


def _client(name: str, settings: Settings, tokens: TokenRepository) -> TokenClient:
    claims = ClaimMap(
        name=settings.claim_name,
        tenant=settings.claim_tenant,
        roles=settings.claim_roles,
        roles_of=settings.role_map,
    )
    if name == "embedded":
        return EmbeddedClient(tokens)
    caller = ServiceCaller(name, settings.access_timeout_seconds, settings.access_ca_certificate)
    if name == "jwt":
        algorithms = tuple(each.strip() for each in settings.oidc_algorithms.split(","))
        issuer = Issuer(settings.oidc_issuer, settings.oidc_audience, algorithms, settings.clock_skew_seconds)
        return JwtClient(issuer, claims=claims, caller=caller)
    if name == "introspection":
        return IntrospectionClient(
            _given("VAI_INTROSPECTION_URL", settings.introspection_url),
            client_id=settings.introspection_client_id,
            client_secret=settings.introspection_client_secret.get_secret_value(),
            claims=claims,
            caller=caller,
        )
    if name == "keystone":
        project = ClaimMap(NAME_CLAIM, TENANT_CLAIM, ROLES_CLAIM, settings.role_map)
        return KeystoneClient(_given("VAI_KEYSTONE_URL", settings.keystone_url), claims=project, caller=caller)
    raise InvalidRequest(f"VAI_ACCESS_CLIENTS: there is no client {name!r}; embedded, jwt, introspection, keystone.")


def _given(variable: str, value: str) -> str:
    if not value:
        raise InvalidRequest(f"Set {variable}: VAI_ACCESS_CLIENTS names its client.")
    return value
