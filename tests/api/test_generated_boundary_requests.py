"""Each boundary of the specification, and requests that build on answers: no server error, nothing undocumented."""

import pytest

from tests.api.generated_requests import answers_of
from tests.api.installation import Installation

FEWEST = 1800  # of the 5,000 that the files test_generated_* ask together


@pytest.mark.timeout(600)
def test_each_boundary_and_each_chain_of_requests_is_answered_as_documented(vai: Installation) -> None:
    assert answers_of(vai, "examples", "coverage", "stateful").asked >= FEWEST
