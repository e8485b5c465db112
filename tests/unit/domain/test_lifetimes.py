"""Lifetimes: when something is due, and what becomes of it."""

from datetime import timedelta

import pytest

from tests.builders import NOW
from vai_app.domain.lifetimes import RETRY_SECONDS, Lifetime, LifetimeTerms, Phase

HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("allowed", "asked", "granted"), [(None, None, None), (None, 5, 5), (72, None, 72), (72, 5, 5)]
)
def test_a_machine_is_kept_as_long_as_asked_or_as_policies_allow(
    allowed: int | None, asked: int | None, granted: int | None
) -> None:
    lifetime = LifetimeTerms(allowed).begin(NOW, asked)
    assert (lifetime.expires_at - NOW if lifetime else None) == (granted * HOUR if granted is not None else None)


@pytest.mark.parametrize(
    ("hours", "warning", "warned_before"),
    [(100, None, 24), (100, 10, 10), (10, None, 5), (10, 8, 5), (10, 0, 0)],
)
def test_the_end_is_told_before_and_never_at_the_beginning(hours: int, warning: int | None, warned_before: int) -> None:
    lifetime = LifetimeTerms(warning_hours=warning).begin(NOW, hours)
    assert lifetime is not None
    assert lifetime.expires_at - lifetime.due_at == warned_before * HOUR


def test_a_lifetime_is_told_then_passes_and_is_then_looked_at_until_the_machine_is_gone() -> None:
    lifetime = Lifetime(expires_at=NOW + 2 * HOUR, due_at=NOW + HOUR)
    assert lifetime.followed(NOW) == lifetime
    warned = lifetime.followed(NOW + HOUR)
    assert (warned.phase, warned.due_at) == (Phase.WARNED, lifetime.expires_at)
    assert warned.followed(NOW + HOUR) == warned
    passed = warned.followed(lifetime.expires_at)
    assert (passed.phase, passed.due_at) == (Phase.PASSED, lifetime.expires_at + timedelta(seconds=RETRY_SECONDS))
    assert passed.followed(passed.due_at).due_at > passed.due_at


def test_a_lifetime_that_passed_while_nobody_looked_passes_without_a_warning() -> None:
    lifetime = Lifetime(expires_at=NOW + 2 * HOUR, due_at=NOW + HOUR)
    assert lifetime.followed(NOW + 9 * HOUR).phase is Phase.PASSED
