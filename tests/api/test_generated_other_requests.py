"""Random requests to all of the specification but machines: no server error, nothing undocumented."""

import pytest

from tests.api.generated_requests import MACHINES, answers_of
from tests.api.installation import Installation

FEWEST = 2800  # of the 5,000 that the files test_generated_* ask together


@pytest.mark.timeout(600)
def test_random_requests_to_all_but_machines_are_answered_as_documented(vai: Installation) -> None:
    assert answers_of(vai, "fuzzing", part=lambda schema: schema.exclude(path_regex=MACHINES)).asked >= FEWEST
