"""Floods and guesses over REST: who asks too much is refused, others are not, and refusals are on record."""

import base64
import hashlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.api.installation import API, Installation, problem
from vai_app.api.app import create_app
from vai_app.api.requests import DEEPEST_BODY
from vai_app.services.refusals import KIND
from vai_app.store.documents import DOCUMENTS, collection_of

Json = dict[str, Any]
LIST = f"{API}/virtual-machines"
Limited = Callable[..., Installation]


@pytest.fixture
def limited(tmp_path: Path, mongo_url: str, api_database: str) -> Iterator[Limited]:
    """Build an installation with other limits."""
    built: list[Installation] = []

    def build(**settings: Any) -> Installation:
        built.append(Installation(tmp_path, mongo_url, api_database, **settings))
        for document in DOCUMENTS:
            collection_of(document).delete_many({})
        return built[-1]

    yield build
    for installation in built:
        installation.services.close()


def _from(address: str) -> Json:
    return {"environ_overrides": {"REMOTE_ADDR": address}}


def test_a_token_that_asks_too_much_is_refused_and_others_are_not(limited: Limited) -> None:
    vai = limited(rate_per_token="20/year")
    ann, eve = vai.client(vai.token("ann", "acme")), vai.client(vai.token("eve", "rival"))
    served = [ann.get(LIST) for _ in range(20)]
    assert {each.status_code for each in served} == {200}
    assert [each.headers["RateLimit"].split(";")[:2] for each in served[-2:]] == [
        ['"token"', "r=1"],
        ['"token"', "r=0"],
    ]
    refused = ann.get(LIST, headers={"X-Request-ID": "ticket-7"})
    assert problem(refused, 429, "too-many-requests")["correlation_id"] == "ticket-7"
    assert int(refused.headers["Retry-After"]) > 0
    assert refused.headers["RateLimit-Policy"] == '"token";q=20;w=31104000'
    assert refused.headers["X-Content-Type-Options"] == "nosniff"
    assert eve.get(LIST).status_code == 200


def test_an_address_that_asks_too_much_is_refused_whatever_it_sends_and_others_are_not(limited: Limited) -> None:
    vai = limited(rate_per_address="10/year")
    ann = vai.client(vai.token("ann", "acme"))
    assert [ann.get("/", **_from("192.0.2.1")).status_code for _ in range(10)] == [200] * 10
    problem(ann.get(LIST, **_from("192.0.2.1")), 429, "too-many-requests")
    problem(ann.get("/swagger.json", **_from("192.0.2.1")), 429, "too-many-requests")
    assert ann.get("/healthz", **_from("192.0.2.1")).status_code == 200
    assert ann.get(LIST, **_from("192.0.2.2")).status_code == 200


def test_addresses_of_one_ipv6_network_are_one(limited: Limited) -> None:
    vai = limited(rate_per_address="2/year")
    asked = [vai.client().get("/", **_from(f"2001:db8::{number}")).status_code for number in range(1, 4)]
    assert asked == [200, 200, 429]
    assert vai.client().get("/", **_from("2001:db8:0:1::1")).status_code == 200


def test_guessing_tokens_is_stopped_and_known_users_of_the_address_go_on(limited: Limited) -> None:
    vai = limited(wrong_tokens_per_address="5/year")
    ann, late = vai.client(vai.token("ann", "acme")), vai.client(vai.token("late", "acme"))
    assert ann.get(LIST).status_code == 200
    guesses = [vai.client(f"vai_guess{number}").get(LIST).status_code for number in range(8)]
    assert guesses == [401] * 5 + [429] * 3
    assert ann.get(LIST).status_code == 200
    refused = late.get(LIST)
    assert "wrong tokens" in problem(refused, 429, "too-many-requests")["detail"]
    assert late.get(LIST, **_from("192.0.2.9")).status_code == 200
    assert late.get(LIST).status_code == 200, "the token is known now, from another address"


def test_processes_tell_each_other_of_known_tokens_and_of_guesses(limited: Limited, valkey_url: str) -> None:
    first = limited(wrong_tokens_per_address="5/year", redis_url=valkey_url)
    token = first.token("ann", "acme")
    assert first.client(token).get(LIST, **_from("198.51.100.1")).status_code == 200
    for number in range(5):
        assert first.client(f"vai_guess{number}").get(LIST, **_from("198.51.100.1")).status_code == 401
    second = create_app(first.services)

    def ask(token: str) -> int:
        headers = {"Authorization": f"Bearer {token}"}
        return second.test_client().get(LIST, headers=headers, **_from("198.51.100.1")).status_code

    assert [ask(f"vai_other{number}") for number in range(3)] == [401, 429, 429]
    assert ask(token) == 200


def test_a_request_without_a_token_is_no_guess(limited: Limited) -> None:
    vai = limited(wrong_tokens_per_address="2/year")
    assert [vai.client().get(LIST).status_code for _ in range(5)] == [401] * 5


def test_behind_a_trusted_proxy_the_address_is_the_clients(limited: Limited) -> None:
    vai = limited(rate_per_address="2/year", trusted_proxies=1)

    def ask(address: str) -> int:
        return vai.client().get("/", headers={"X-Forwarded-For": f"203.0.113.99, {address}"}).status_code

    assert [ask("192.0.2.1") for _ in range(3)] == [200, 200, 429]
    assert ask("192.0.2.2") == 200


def test_without_a_trusted_proxy_nobody_chooses_his_address(limited: Limited) -> None:
    vai = limited(rate_per_address="2/year")
    asked = [vai.client().get("/", headers={"X-Forwarded-For": f"192.0.2.{n}"}).status_code for n in range(3)]
    assert asked == [200, 200, 429]


def test_every_refusal_is_on_record(limited: Limited) -> None:
    vai = limited(rate_per_token="3/year")
    admin, ann = vai.client(vai.token("root", "ops", "admin")), vai.client(vai.token("ann", "acme"))
    body = vai.datacenter_body("berlin")
    problem(ann.post(f"{API}/datacenters", json=body, headers={"X-Request-ID": "ticket-1"}), 403, "forbidden")
    ann.get(LIST)
    ann.get(LIST)
    problem(ann.get(LIST), 429, "too-many-requests")
    problem(vai.client("hunter2-secret").get(LIST), 401, "unauthenticated")
    vai.services.refusals.write()
    response = admin.get(f"{API}/events?kind={KIND}")
    found = {each["message"]: each["actor"] for each in response.json["items"]}
    assert found == {
        f"POST {API}/datacenters from 127.0.0.1 was refused: forbidden.": "ann",
        "GET (any) from 127.0.0.1 was refused: too-many-requests (token).": "ann",
        f"GET {LIST} from 127.0.0.1 was refused: unauthenticated.": "unknown",
    }
    assert "ticket-1" in response.text
    assert "hunter2" not in response.text


def test_a_tenant_sees_its_own_refusals_only(limited: Limited) -> None:
    vai = limited()
    ann, eve = vai.client(vai.token("ann", "acme")), vai.client(vai.token("eve", "rival"))
    ann.post(f"{API}/datacenters", json={})
    vai.services.refusals.write()
    assert [each["actor"] for each in ann.get(f"{API}/events?kind={KIND}").json["items"]] == ["ann"]
    assert eve.get(f"{API}/events?kind={KIND}").json["items"] == []


def test_a_body_nested_too_deep_is_refused_unread(admin: FlaskClient) -> None:
    body = b'{"options": ' + b"[" * DEEPEST_BODY + b"]" * DEEPEST_BODY + b"}"
    response = admin.post(f"{API}/datacenters", data=body, content_type="application/json")
    assert "nested deeper" in problem(response, 400, "malformed-body")["detail"]


def test_a_page_may_run_its_own_scripts_only_and_an_answer_none(ann: FlaskClient) -> None:
    assert ann.get(LIST).headers["Content-Security-Policy"].startswith("default-src 'none'; frame-ancestors 'none'")
    page = ann.get("/")
    policy = page.headers["Content-Security-Policy"]
    assert "script-src 'self' 'sha256-" in policy
    assert "unsafe-inline" not in policy.partition("script-src")[2].partition(";")[0]
    inline = re.findall(r'<script type="text/javascript">(.*?)</script>', page.text, re.DOTALL)
    assert inline
    for script in inline:
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    assert not re.search(r"\son[a-z]+=", page.text), "an inline handler would not run"


def test_strict_transport_is_told_by_tls_only(vai: Installation) -> None:
    assert "Strict-Transport-Security" not in vai.client().get("/healthz").headers
    secure = vai.client().get("/healthz", base_url="https://vai.example")
    assert secure.headers["Strict-Transport-Security"] == "max-age=31536000"


def test_every_published_method_may_answer_that_there_were_too_many_requests(vai: Installation) -> None:
    for path, methods in vai.client().get("/swagger.json").json["paths"].items():
        for method in methods.keys() - {"parameters"}:
            refused = methods[method]["responses"]["429"]
            assert {"Retry-After", "RateLimit", "RateLimit-Policy"} == refused["headers"].keys(), (method, path)
