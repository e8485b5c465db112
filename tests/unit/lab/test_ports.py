"""Ports of the lab's servers."""

import subprocess
import sys

import pytest

from tests.lab import ports

_CLAIM_ONE = "from tests.lab.ports import free_port; print(free_port(), flush=True); input()"


def test_a_port_that_another_process_chose_but_has_not_bound_yet_is_not_chosen_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    other = subprocess.Popen([sys.executable, "-c", _CLAIM_ONE], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert other.stdout is not None
    taken = int(other.stdout.readline())
    monkeypatch.setattr(ports, "_LOWEST_PORT", taken)
    monkeypatch.setattr(ports, "_PORTS", 20)

    chosen = [ports.free_port() for _ in range(10)]

    assert taken not in chosen
    assert len(set(chosen)) == len(chosen)
    other.communicate(b"\n")
