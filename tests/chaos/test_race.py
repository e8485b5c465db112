"""The short form of ``make race``: nothing is promised twice, and nothing stays reserved."""

from pathlib import Path

import pytest

from tests.chaos.race import QUOTA, Race, describe


@pytest.mark.timeout(400)
@pytest.mark.spec(16)
def test_clients_that_race_for_the_last_room_and_quota_get_what_there_is_and_no_more(tmp_path: Path) -> None:
    result = Race(tmp_path, seed=20260101, requests=250, at_once=3).run()
    print(describe(result))
    assert result.clean, describe(result)
    assert result.requests >= 250
    assert result.kills >= 1
    assert set(result.refused) == {"/problems/capacity-short", "/problems/quota-exceeded"}
    assert result.most_at_once["narrow"] == QUOTA
