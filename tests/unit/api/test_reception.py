"""Where a request ends, whatever the pieces it comes in."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vai_app.api.reception import LARGEST_HEADERS, Arrival, Reception, Refused

GET = b"GET / HTTP/1.1\r\nHost: vai\r\n\r\n"
POST = b"POST /x HTTP/1.1\r\nHost: vai\r\nContent-Length: 7\r\n\r\n{\r\n\r\n}\n"


@given(st.lists(st.sampled_from([GET, POST]), min_size=1, max_size=4), st.lists(st.integers(1, 40), min_size=1))
def test_requests_are_found_whole_and_in_order_however_they_are_cut(requests: list[bytes], cuts: list[int]) -> None:
    stream, found, reception = b"".join(requests), [], Reception(1000)
    position, number = 0, 0
    while position < len(stream):
        piece = cuts[number % len(cuts)]
        reception.add(stream[position : position + piece])
        position, number = position + piece, number + 1
        while reception.look() is Arrival.WHOLE:
            found.append(reception.take())
    assert found == requests
    assert reception.look() is Arrival.NOTHING


def test_a_client_that_waits_for_it_is_told_once_to_send_its_body() -> None:
    reception = Reception(1000)
    reception.add(b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
    assert [reception.look(), reception.look()] == [Arrival.BODY_AWAITED, Arrival.PART]
    reception.add(b"{}")
    assert reception.look() is Arrival.WHOLE


@pytest.mark.parametrize(
    ("sent", "status", "problem"),
    [
        (b"GET / HTTP/1.1\r\nX: " + b"x" * LARGEST_HEADERS, 431, "headers-too-large"),
        (b"POST / HTTP/1.1\r\ncontent-LENGTH: 1001\r\n\r\n", 413, "body-too-large"),
        (b"POST / HTTP/1.1\r\nContent-Length: 999999999999999999\r\n\r\n", 413, "body-too-large"),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", 411, "length-required"),
        (b"POST / HTTP/1.1\r\nContent-Length: 2\r\nTransfer-Encoding: x\r\n\r\n", 411, "length-required"),
    ],
)
def test_what_would_never_be_served_is_refused_before_its_body_comes(sent: bytes, status: int, problem: str) -> None:
    reception = Reception(1000)
    reception.add(sent)
    refused = reception.look()
    assert isinstance(refused, Refused)
    head, _, body = refused.answer().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert b"Content-Length: %d" % len(body) in head
    assert msgspec.json.decode(body)["type"] == f"/problems/{problem}"


def test_a_request_whose_time_is_over_is_told_so() -> None:
    assert Reception(1).too_slow().answer().startswith(b"HTTP/1.1 408 Request Timeout\r\n")
