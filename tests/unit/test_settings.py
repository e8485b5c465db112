"""Settings: what is derived from them."""

import pytest

from vai_app.settings import without_credentials


@pytest.mark.parametrize(
    ("url", "bare", "credentials"),
    [
        ("", None, {}),
        ("redis://127.0.0.1:6379/0", "redis://127.0.0.1:6379/0", {}),
        ("redis://:a%2Fb%40c@host:6379/1?x=y", "redis://host:6379/1?x=y", {"password": "a/b@c"}),
        ("rediss://vai:secret@[::1]:6379", "rediss://[::1]:6379", {"username": "vai", "password": "secret"}),
    ],
)
def test_a_url_is_taken_apart_from_who_enters_by_it(url: str, bare: str | None, credentials: dict[str, str]) -> None:
    assert without_credentials(url) == (bare, credentials)
