"""What every answer has in common, and what needs no token: health, metrics, problem types, the specification."""

import re
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.api.installation import API, Installation, problem
from vai_app.api.errors import STATUS
from vai_app.domain.errors import all_errors

Json = dict[str, Any]


@pytest.fixture
def nobody(vai: Installation) -> FlaskClient:
    """Someone without a token."""
    return vai.client()


def test_a_process_that_answers_is_alive(nobody: FlaskClient) -> None:
    response = nobody.get("/healthz")
    assert (response.status_code, response.json) == (200, {"status": "ok", "parts": {}})


def test_an_installation_whose_parts_answer_is_ready(nobody: FlaskClient) -> None:
    response = nobody.get("/readyz")
    assert (response.status_code, response.json["parts"]) == (200, {"database": "ok", "broker": "ok"})


def test_metrics_count_requests_by_route_and_never_by_path(nobody: FlaskClient, ann: FlaskClient) -> None:
    for machine_id in ("vm-invented-1", "vm-invented-2"):
        ann.get(f"{API}/virtual-machines/{machine_id}")
    nobody.get("/invented/path")
    response = nobody.get("/metrics")
    assert (response.status_code, response.mimetype) == (200, "text/plain")
    route = f'route="{API}/virtual-machines/<string:machine_id>"'
    counted = re.findall(
        rf"^vai_http_requests_total\{{method=\"GET\",{re.escape(route)},status=\"404\"\}} (\S+)$",
        response.text,
        re.MULTILINE,
    )
    assert [float(count) >= 2 for count in counted] == [True]
    assert "invented" not in response.text


@pytest.mark.parametrize("kind", [each.problem for each in all_errors()])
def test_the_address_of_every_problem_type_describes_it(nobody: FlaskClient, kind: str) -> None:
    response = nobody.get(f"/problems/{kind}")
    assert (response.status_code, response.mimetype) == (200, "text/html")
    assert kind in response.text
    assert kind in nobody.get("/problems").text


def test_a_problem_type_that_never_was_is_itself_a_problem(nobody: FlaskClient) -> None:
    problem(nobody.get("/problems/no-such-problem"), 404, "not-found")


def test_problem_types_are_unique_and_each_has_its_status() -> None:
    errors = all_errors()
    assert len({each.problem for each in errors}) == len(errors)
    assert set(errors) == set(STATUS)


def test_a_problem_says_where_and_under_which_correlation_id(ann: FlaskClient) -> None:
    response = ann.get(f"{API}/virtual-machines/vm-nowhere", headers={"X-Request-ID": "ticket-4711"})
    assert problem(response, 404, "not-found") == {
        "type": "/problems/not-found",
        "title": "Not found",
        "status": 404,
        "detail": "There is no machine vm-nowhere.",
        "instance": f"{API}/virtual-machines/vm-nowhere",
        "correlation_id": "ticket-4711",
        "errors": [],
    }
    assert response.headers["X-Request-ID"] == "ticket-4711"


@pytest.mark.parametrize("given", ["", "a b", "x" * 65, "<script>", "a;b"])
def test_a_correlation_id_that_cannot_be_one_is_replaced(nobody: FlaskClient, given: str) -> None:
    answered = nobody.get("/healthz", headers={"X-Request-ID": given}).headers["X-Request-ID"]
    assert re.fullmatch("[0-9a-f]{32}", answered)


def test_each_request_has_its_own_correlation_id(nobody: FlaskClient) -> None:
    assert len({nobody.get("/healthz").headers["X-Request-ID"] for _ in range(3)}) == 3


@pytest.mark.parametrize(
    "path", ["/nothing", f"{API}/nothing", f"{API}/virtual-machines/vm-1/actions/dance", "/api/v2"]
)
def test_an_address_that_is_none_is_a_problem(ann: FlaskClient, path: str) -> None:
    refused = problem(ann.get(path), 404, "not-found")
    assert refused["instance"] == path


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", f"{API}/virtual-machines", {"GET", "HEAD", "OPTIONS", "POST"}),
        ("PATCH", f"{API}/virtual-machines/vm-1", {"DELETE", "GET", "HEAD", "OPTIONS"}),
        ("GET", f"{API}/virtual-machines/vm-1/actions/power", {"OPTIONS", "POST"}),
        ("DELETE", f"{API}/operations/op-1", {"GET", "HEAD", "OPTIONS"}),
        ("POST", f"{API}/hosts", {"GET", "HEAD", "OPTIONS"}),
        ("TRACE", "/healthz", {"GET", "HEAD", "OPTIONS"}),
    ],
)
def test_a_method_that_a_resource_lacks_is_refused_with_those_it_has(
    ann: FlaskClient, method: str, path: str, allowed: set[str]
) -> None:
    response = ann.open(path, method=method)
    problem(response, 405, "method-not-allowed")
    assert set(response.headers["Allow"].split(", ")) == allowed


@pytest.mark.parametrize("accept", ["text/html", "application/xml", "image/*", "application/json;q=0"])
@pytest.mark.usefixtures("berlin")
def test_who_accepts_no_json_is_refused_before_anything_is_changed(ann: FlaskClient, accept: str) -> None:
    body = {"name": "web-1", "datacenter": "berlin", "cpus": 1, "memory_mib": 64}
    problem(ann.post(f"{API}/virtual-machines", json=body, headers={"Accept": accept}), 406, "not-acceptable")
    assert ann.get(f"{API}/operations").json["items"] == []


@pytest.mark.parametrize(
    "accept", ["*/*", "application/*", "application/json", "text/html, application/json;q=0.1", ""]
)
def test_who_accepts_json_among_others_is_served(ann: FlaskClient, accept: str) -> None:
    assert ann.get(f"{API}/events", headers={"Accept": accept}).status_code == 200


@pytest.mark.parametrize("path", ["/healthz", "/", "/swagger.json", f"{API}/events", "/nothing", "/problems"])
def test_every_answer_forbids_sniffing_framing_and_keeping(ann: FlaskClient, path: str) -> None:
    headers = ann.get(path).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Cache-Control"] == "no-store"
    assert headers["Referrer-Policy"] == "no-referrer"


def test_an_error_that_nobody_foresaw_tells_no_internals(
    vai: Installation, ann: FlaskClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("hunter2-internals")

    monkeypatch.setattr(vai.services.machines, "page", fail)
    response = ann.get(f"{API}/virtual-machines")
    refused = problem(response, 500, "internal")
    assert "hunter2" not in response.text
    assert refused["correlation_id"] in refused["detail"]
    assert "hunter2-internals" in caplog.text
    assert refused["correlation_id"] in caplog.text


def test_the_specification_and_its_page_are_served(nobody: FlaskClient) -> None:
    published = nobody.get("/swagger.json").json
    assert (published["swagger"], published["basePath"]) == ("2.0", "/")
    assert "swagger" in nobody.get("/").text.lower()


def test_every_reference_of_the_specification_leads_somewhere(nobody: FlaskClient) -> None:
    response = nobody.get("/swagger.json")
    wanted = set(re.findall(r'"#/definitions/([^"]+)"', response.text))
    assert wanted - response.json["definitions"].keys() == set()


def test_every_problem_of_the_specification_is_of_the_published_shape(nobody: FlaskClient) -> None:
    for path, methods in nobody.get("/swagger.json").json["paths"].items():
        for method in methods.keys() - {"parameters"}:
            for status, response in methods[method]["responses"].items():
                if int(status) >= 400 and path != "/readyz":
                    assert response["schema"] == {"$ref": "#/definitions/ProblemDetails"}, (method, path, status)
