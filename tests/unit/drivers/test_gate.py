"""A datacenter's share of calls and its circuit breaker."""

from threading import Thread

import pytest

from vai_app.domain.errors import NotFound, ProviderBusy, ProviderTimeout, ProviderUnavailable
from vai_app.drivers.gate import FAILURES_TO_OPEN, OPEN_SECONDS, SLOW_SECONDS, Gate


class Seconds:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def fail(gate: Gate, times: int = FAILURES_TO_OPEN) -> None:
    for _ in range(times):
        with pytest.raises(ProviderTimeout), gate.call():
            message = "no answer"
            raise ProviderTimeout(message)


def test_failures_in_a_row_stop_the_calls_without_making_one() -> None:
    gate = Gate("berlin", share=2, clock=Seconds())
    fail(gate)
    with pytest.raises(ProviderUnavailable, match="berlin failed 3 times"), gate.call():
        pytest.fail("the call was made")


def test_one_caller_tries_after_a_while_and_success_lets_all_through() -> None:
    clock = Seconds()
    gate = Gate("berlin", share=4, clock=clock)
    fail(gate)
    clock.now += OPEN_SECONDS
    with gate.call(), pytest.raises(ProviderUnavailable), gate.call():
        pytest.fail("a second caller was let in before the first one's answer")
    with gate.call(), gate.call():
        assert not gate.open


def test_an_answer_that_is_an_error_is_an_answer() -> None:
    gate = Gate("berlin", share=1, clock=Seconds())
    for _ in range(FAILURES_TO_OPEN * 2):
        with pytest.raises(NotFound), gate.call():
            message = "no such machine"
            raise NotFound(message)
    assert not gate.open


def test_a_slow_datacenter_is_refused_beyond_its_share() -> None:
    clock = Seconds()
    gate = Gate("berlin", share=1, clock=clock)
    with gate.call():
        clock.now += SLOW_SECONDS
        with pytest.raises(ProviderBusy, match="slow"), gate.call():
            pytest.fail("the share was exceeded")


def test_a_quick_datacenter_lets_the_next_caller_wait_for_a_place() -> None:
    gate = Gate("berlin", share=1)
    entered: list[str] = []

    def second() -> None:
        with gate.call():
            entered.append("second")

    with gate.call():
        thread = Thread(target=second)
        thread.start()
        entered.append("first")
    thread.join(timeout=SLOW_SECONDS)
    assert entered == ["first", "second"]
