"""The client of the REST API, against an API that says it was asked too much."""

import httpx
import pytest

from vai_app.cli.client import ApiClient
from vai_app.domain.errors import TooManyRequests


class Api(httpx.BaseTransport):
    """Refuses so many requests, then serves."""

    def __init__(self, refused: int, retry_after: str = "", status: int = 429) -> None:
        self.refused, self.retry_after, self.status, self.asked = refused, retry_after, status, 0
        self.keys: set[str | None] = set()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.asked += 1
        self.keys.add(request.headers.get("Idempotency-Key"))
        if self.asked > self.refused:
            return httpx.Response(200, json={"path": request.url.path})
        problem = {"type": "/problems/too-many-requests", "title": "Too many requests", "detail": "Go on later."}
        return httpx.Response(self.status, json=problem, headers={"Retry-After": self.retry_after})


def test_a_request_that_was_too_many_is_repeated_when_the_api_says_so() -> None:
    api = Api(refused=2, retry_after="0")
    assert ApiClient("http://vai", "t", api).get("/events") == {"path": "/api/v1/events"}
    assert api.asked == 3


@pytest.mark.parametrize(("retry_after", "asked"), [("0", 4), ("3600", 1), ("soon", 1)])
def test_a_wait_that_is_long_or_without_end_is_told(retry_after: str, asked: int) -> None:
    api = Api(refused=9, retry_after=retry_after)
    with pytest.raises(TooManyRequests, match="Go on later"):
        ApiClient("http://vai", "t", api).get("/events")
    assert api.asked == asked


def test_a_change_that_arrived_too_slowly_is_sent_anew_under_its_key() -> None:
    api = Api(refused=2, status=408)
    assert ApiClient("http://vai", "t", api).post("/events") == {"path": "/api/v1/events"}
    assert (api.asked, len(api.keys)) == (3, 1)
