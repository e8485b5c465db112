"""Tokens of other access services, confirmed by real calls to a service that signs with real keys."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from joserfc.jwk import RSAKey

from tests.fakes import InMemoryEvents, InMemoryTokens, SettableClock
from tests.lab.access_service import AUDIENCE, CLIENT, AccessServicePeer
from vai_app.access.embedded import EmbeddedClient
from vai_app.access.factory import token_clients
from vai_app.domain.errors import InvalidRequest, ServiceUnavailable, Unauthenticated
from vai_app.domain.ports.access import TokenClient
from vai_app.domain.principals import Principal
from vai_app.services.access import AccessService
from vai_app.settings import Settings

ANN = Principal("ann", "acme", ("developer",))
_DEEP = base64.urlsafe_b64encode(b"[" * 6000).decode()
TROUBLES = ("garbage", "no text", "deep", "a list", "nothing", "huge", "500", "redirect", "slow")


@pytest.fixture
def peer() -> Iterator[AccessServicePeer]:
    with AccessServicePeer().running() as running:
        yield running


def settings_for(peer: AccessServicePeer, kind: str, **changes: Any) -> Settings:
    given: dict[str, Any] = {
        "access_clients": kind,
        "access_timeout_seconds": 0.8,
        "oidc_issuer": peer.url,
        "oidc_audience": AUDIENCE,
        "introspection_url": f"{peer.url}/introspect",
        "introspection_client_id": CLIENT[0],
        "introspection_client_secret": CLIENT[1],
        "keystone_url": peer.url,
        "role_map": {"dev": "developer", "member": "developer"},
        **changes,
    }
    return Settings(_env_file=None, **given)


@pytest.fixture
def client(peer: AccessServicePeer) -> Iterator[Callable[..., TokenClient]]:
    made: list[TokenClient] = []

    def client(kind: str, **changes: Any) -> TokenClient:
        made.extend(token_clients(settings_for(peer, kind, **changes), InMemoryTokens()))
        return made[-1]

    yield client
    for each in made:
        each.close()


Client = Callable[..., TokenClient]


def keystone_token(**changes: Any) -> dict[str, Any]:
    """Return what Keystone says of a token, as its API reference shows it."""
    ends = datetime.now(UTC) + timedelta(minutes=5)
    return {
        "methods": ["password"],
        "user": {"domain": {"id": "default", "name": "Default"}, "id": "u1", "name": "ann"},
        "project": {"domain": {"id": "default", "name": "Default"}, "id": "p1", "name": "acme"},
        "roles": [{"id": "r1", "name": "member"}, {"id": "r2", "name": "admin"}],
        "expires_at": ends.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "issued_at": "2026-01-01T00:00:00.000000Z",
        **changes,
    }


def known_token(peer: AccessServicePeer, kind: str) -> str:
    """Return a token that the service confirms."""
    if kind == "jwt":
        return peer.token()
    if kind == "introspection":
        peer.active["good"] = {"sub": "ann", "tenant": "acme", "roles": "dev", "exp": int(time.time()) + 300}
        return "good"
    peer.keystone["good"] = keystone_token()
    return "good"


@pytest.mark.parametrize("kind", ["jwt", "introspection", "keystone"])
def test_a_good_token_is_its_bearers(peer: AccessServicePeer, client: Client, kind: str) -> None:
    confirmed = client(kind).confirm(known_token(peer, kind))
    assert confirmed is not None
    assert confirmed.principal == ANN
    assert confirmed.expires_at is not None
    assert confirmed.expires_at > datetime.now(UTC)


@pytest.mark.parametrize("kind", ["jwt", "introspection", "keystone"])
@pytest.mark.parametrize("trouble", TROUBLES)
def test_a_service_in_trouble_confirms_and_denies_nothing(
    peer: AccessServicePeer, client: Client, kind: str, trouble: str
) -> None:
    token = known_token(peer, kind)
    peer.trouble = trouble
    began_at = time.monotonic()
    with pytest.raises(ServiceUnavailable, match=kind):
        client(kind).confirm(token)
    assert time.monotonic() - began_at < 4, "a call is bounded as a whole"


@pytest.mark.parametrize("kind", ["jwt", "introspection", "keystone"])
def test_a_service_that_is_down_confirms_and_denies_nothing(peer: AccessServicePeer, client: Client, kind: str) -> None:
    token = known_token(peer, kind)
    peer.stop()
    with pytest.raises(ServiceUnavailable):
        client(kind).confirm(token)


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "https://elsewhere.example.org"},
        {"iss": None},
        {"aud": "another-api"},
        {"aud": ["another-api", "a-third"]},
        {"aud": None},
        {"exp": int(time.time()) - 60},
        {"exp": None},
        {"exp": "soon"},
        {"nbf": int(time.time()) + 3600},
        {"iat": int(time.time()) + 3600},
        {"sub": None},
        {"sub": ["ann"]},
        {"tenant": None},
        {"tenant": {"name": "acme"}},
    ],
)
def test_a_signed_token_with_a_wrong_claim_is_refused(
    peer: AccessServicePeer, client: Client, claims: dict[str, Any]
) -> None:
    assert client("jwt").confirm(peer.token(**claims)) is None


def test_clocks_may_differ_a_little(peer: AccessServicePeer, client: Client) -> None:
    now = int(time.time())
    assert client("jwt").confirm(peer.token(exp=now - 10)) is not None
    assert client("jwt").confirm(peer.token(nbf=now + 10)) is not None
    assert client("jwt", clock_skew_seconds=0).confirm(peer.token(exp=now - 10)) is None


def test_one_of_several_audiences_is_enough(peer: AccessServicePeer, client: Client) -> None:
    assert client("jwt").confirm(peer.token(aud=["another-api", AUDIENCE])) is not None


def test_a_token_without_signature_is_refused(peer: AccessServicePeer, client: Client) -> None:
    _, body, signature = peer.token().split(".")
    for algorithm in ("none", "None", "NONE"):
        header = base64.urlsafe_b64encode(json.dumps({"alg": algorithm, "kid": "first"}).encode()).decode().rstrip("=")
        assert client("jwt").confirm(f"{header}.{body}.") is None
        assert client("jwt").confirm(f"{header}.{body}.{signature}") is None


def test_a_token_signed_with_the_public_key_as_a_secret_is_refused(peer: AccessServicePeer, client: Client) -> None:
    # By hand: no library signs so.
    claims = {"iss": peer.url, "aud": AUDIENCE, "sub": "ann", "tenant": "acme", "exp": int(time.time()) + 300}
    signed = f"{_encoded({'alg': 'HS256', 'kid': 'first'})}.{_encoded(claims)}"
    for public in (peer.keys[0].as_pem(private=False), peer.keys[0].as_pem(private=False).strip()):
        signature = hmac.new(public, signed.encode(), hashlib.sha256).digest()
        forged = f"{signed}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"
        assert client("jwt").confirm(forged) is None


def _encoded(part: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")


def test_a_token_of_a_strangers_key_under_a_known_name_is_refused(peer: AccessServicePeer, client: Client) -> None:
    stranger = RSAKey.generate_key(2048, {"kid": "first"})
    assert client("jwt").confirm(peer.token(key=stranger)) is None


def test_a_changed_token_is_refused(peer: AccessServicePeer, client: Client) -> None:
    header, _, signature = peer.token().split(".")
    other = peer.token(roles=["admin"]).split(".")[1]
    assert client("jwt").confirm(f"{header}.{other}.{signature}") is None


@pytest.mark.parametrize(
    "secret",
    ["a.b.c", "...", "..", "é.é.é", "vai_embedded", "e30.e30.e30", "W10.e30.e30", "x" * 8000, f"{_DEEP}.e30.e30"],
)
def test_what_is_no_signed_token_is_refused_without_a_call(
    peer: AccessServicePeer, client: Client, secret: str
) -> None:
    assert client("jwt").confirm(secret) is None
    assert peer.calls == []


@pytest.mark.parametrize("algorithms", ["HS256", "none", "RS256,HS512", ""])
def test_an_algorithm_that_a_public_key_could_sign_with_does_not_start(client: Client, algorithms: str) -> None:
    with pytest.raises(InvalidRequest):
        client("jwt", oidc_algorithms=algorithms)


def test_a_token_of_the_next_key_is_accepted_and_of_the_last_refused(peer: AccessServicePeer, client: Client) -> None:
    confirming = client("jwt")
    before = peer.token()
    assert confirming.confirm(before) is not None
    peer.rotate("second", "RSA")
    confirming._tried_at = None  # type: ignore[attr-defined] # as if some seconds had passed
    assert confirming.confirm(peer.token()) is not None
    assert confirming.confirm(before) is None


def test_unknown_keys_do_not_make_it_ask_without_end(peer: AccessServicePeer, client: Client) -> None:
    confirming = client("jwt")
    assert confirming.confirm(peer.token()) is not None
    asked = len(peer.calls)
    for number in range(20):
        assert confirming.confirm(peer.token(header={"kid": f"made-up-{number}"})) is None
    assert len(peer.calls) == asked


def test_known_keys_last_while_the_provider_is_down(peer: AccessServicePeer, client: Client) -> None:
    confirming = client("jwt")
    assert confirming.confirm(peer.token()) is not None
    peer.stop()
    assert confirming.confirm(peer.token(sub="ben")) is not None


def test_a_provider_that_calls_itself_another_is_not_believed(peer: AccessServicePeer, client: Client) -> None:
    peer.issuer_says = "https://elsewhere.example.org"
    with pytest.raises(ServiceUnavailable, match="issuer"):
        client("jwt").confirm(peer.token())


@pytest.mark.parametrize(("kind", "algorithm"), [("EC", "ES256"), ("OKP", "Ed25519")])
def test_other_kinds_of_keys_sign_too(peer: AccessServicePeer, client: Client, kind: str, algorithm: str) -> None:
    peer.rotate("curve", kind)
    token = peer.token(header={"alg": algorithm})
    assert client("jwt", oidc_algorithms=f"RS256,{algorithm}").confirm(token) is not None
    if algorithm != "ES256":
        assert client("jwt").confirm(token) is None


def test_only_mapped_roles_count_wherever_they_stand(peer: AccessServicePeer, client: Client) -> None:
    nested = {"realm_access": {"roles": ["dev", "admin", "dev", 7]}, "roles": None}
    confirmed = client("jwt", claim_roles="realm_access.roles").confirm(peer.token(**nested))
    assert confirmed is not None
    assert confirmed.principal.roles == ("developer",)
    without = client("jwt").confirm(peer.token(roles=["admin"]))
    assert without is not None
    assert without.principal.roles == ()


def test_an_inactive_token_is_refused_and_our_own_account_must_be_right(client: Client) -> None:
    assert client("introspection").confirm("unknown") is None
    with pytest.raises(ServiceUnavailable, match="401"):
        client("introspection", introspection_client_secret="wrong").confirm("unknown")


@pytest.mark.parametrize("answered", [{"exp": "soon"}, {"exp": True}])
def test_an_end_that_is_no_time_is_no_answer(peer: AccessServicePeer, client: Client, answered: dict[str, Any]) -> None:
    peer.active["odd"] = {"sub": "ann", "tenant": "acme", **answered}
    with pytest.raises(ServiceUnavailable):
        client("introspection").confirm("odd")


def test_a_keystone_token_that_is_unknown_or_without_project_is_refused(
    peer: AccessServicePeer, client: Client
) -> None:
    peer.keystone["unscoped"] = {k: v for k, v in keystone_token().items() if k != "project"}
    assert client("keystone").confirm("unknown") is None
    assert client("keystone").confirm("unscoped") is None
    assert client("keystone").confirm("né\r\n") is None


@pytest.mark.parametrize("ends", [None, "soon", 7, "2026-01-01T00:00:00"])
def test_a_keystone_token_without_a_usable_end_is_no_answer(peer: AccessServicePeer, client: Client, ends: Any) -> None:
    peer.keystone["odd"] = keystone_token(expires_at=ends)
    with pytest.raises(ServiceUnavailable):
        client("keystone").confirm("odd")


def service_with(peer: AccessServicePeer, kinds: str, clock: SettableClock) -> tuple[AccessService, InMemoryTokens]:
    tokens = InMemoryTokens()
    clients = token_clients(settings_for(peer, kinds), tokens)
    return AccessService(clients=clients, tokens=tokens, events=InMemoryEvents(), clock=clock), tokens


def test_a_revoked_token_stops_working_within_the_time_that_answers_are_kept(peer: AccessServicePeer) -> None:
    clock = SettableClock()
    access, _ = service_with(peer, "introspection", clock)
    peer.active["good"] = {"sub": "ann", "tenant": "acme", "roles": ["dev"]}
    assert access.confirm("good") == ANN
    del peer.active["good"]
    clock.advance(9.9)
    assert access.confirm("good") == ANN
    clock.advance(0.2)
    with pytest.raises(Unauthenticated):
        access.confirm("good")


def test_an_answer_is_not_kept_beyond_the_end_of_the_token(peer: AccessServicePeer) -> None:
    clock = SettableClock()
    access, _ = service_with(peer, "introspection", clock)
    peer.active["good"] = {"sub": "ann", "tenant": "acme", "exp": int(clock().timestamp()) + 2}
    access.confirm("good")
    clock.advance(2)
    with pytest.raises(Unauthenticated):
        access.confirm("good")


def test_one_client_that_is_down_hides_no_other_and_opens_no_door(peer: AccessServicePeer) -> None:
    access, _ = service_with(peer, "introspection,embedded", SettableClock())
    secret = access.issue(ANN)
    peer.trouble = "500"
    assert access.confirm(secret) == ANN
    with pytest.raises(ServiceUnavailable):
        access.confirm("anything-else")
    peer.trouble = None
    with pytest.raises(Unauthenticated):
        access.confirm("anything-else")


@pytest.mark.parametrize("names", ["", "ldap", "embedded,ldap"])
def test_clients_that_there_are_not_do_not_start(peer: AccessServicePeer, names: str) -> None:
    with pytest.raises(InvalidRequest):
        token_clients(settings_for(peer, names), InMemoryTokens())


def test_the_embedded_client_finds_what_was_issued() -> None:
    tokens = InMemoryTokens()
    access = AccessService(
        clients=[EmbeddedClient(tokens)], tokens=tokens, events=InMemoryEvents(), clock=SettableClock()
    )
    assert access.confirm(access.issue(ANN)) == ANN
