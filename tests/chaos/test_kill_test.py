"""The short form of ``make chaos``: a few machines, half a minute of killing, the same count of what is left."""

from pathlib import Path

import pytest

from tests.chaos.__main__ import describe
from tests.chaos.kill_test import KillTest

SEED = 20260101


@pytest.mark.timeout(400)
@pytest.mark.spec(28)
def test_nothing_is_lost_doubled_left_or_endless_while_processes_are_killed(tmp_path: Path) -> None:
    report = KillTest(tmp_path, seed=SEED, machines=24, seconds=20).run()
    print(describe(report))
    assert report.clean, describe(report)
    assert (report.created, report.deleted) == (24, 24)
    assert report.kills.total() >= 2
