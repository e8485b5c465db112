"""A worker that is connected and does not consume ends; one that waits for its broker, or is ready, does not."""

import os
import subprocess
import sys
import textwrap

PRELUDE = """
import time
from vai_app.domain.errors import ServiceUnavailable
from vai_app.consumer_guard import ConsumerGuard

def away():
    raise ServiceUnavailable("away")
"""


def run(program: str) -> "subprocess.CompletedProcess[str]":
    """Run a process that is guarded."""
    return subprocess.run(
        [sys.executable, "-c", PRELUDE + textwrap.dedent(program)],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_a_worker_that_hangs_though_the_broker_answers_says_where_and_ends() -> None:
    ended = run(
        """
        def waits_for_an_answer_that_was_lost():
            time.sleep(50)

        ConsumerGuard(lambda: None, 0.05).begin()
        waits_for_an_answer_that_was_lost()
        """
    )
    assert ended.returncode == os.EX_SOFTWARE
    assert "does not consume" in ended.stderr
    assert "in waits_for_an_answer_that_was_lost" in ended.stderr


def test_a_worker_whose_broker_is_away_is_left_alone_however_long() -> None:
    ended = run(
        """
        looks = []

        def ping():
            looks.append(1)
            if len(looks) % 2:
                away()

        ConsumerGuard(ping, 0.01).begin()
        while len(looks) < 20:
            time.sleep(0.01)
        """
    )
    assert ended.returncode == 0, ended.stderr


def test_a_worker_that_got_ready_is_asked_about_no_more() -> None:
    ended = run(
        """
        looks = []
        guard = ConsumerGuard(lambda: looks.append(1), 0.2)
        guard.begin()
        guard.end()
        time.sleep(1)
        assert not looks
        """
    )
    assert ended.returncode == 0, ended.stderr
