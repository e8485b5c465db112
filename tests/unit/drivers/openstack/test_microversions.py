"""The microversion that is asked for is the newest that the cloud and VAI both know."""

from types import SimpleNamespace
from typing import Any

import pytest

from vai_app.domain.datacenters import Connection
from vai_app.domain.errors import ProviderError, ProviderUnavailable
from vai_app.drivers.openstack.options import Options
from vai_app.drivers.openstack.session import Session

CREDENTIALS = {"username": "vai", "password": "right", "project": "web"}


class Cloud:
    """Services that tell a version document and remember which microversions they were asked with."""

    def __init__(self, document: Any, status: int = 200) -> None:
        self.asked: list[tuple[str, str | None]] = []
        self.compute = self.placement = SimpleNamespace(request=self._answer)
        self._document, self._status = document, status

    def _answer(self, path: str, _: str, *, raise_exc: bool, microversion: str | None = None, **__: Any) -> Any:
        assert not raise_exc
        self.asked.append((path, microversion))
        status = self._status if path == "/" else 200
        return SimpleNamespace(
            ok=status < 300, status_code=status, content=b"{}", headers={},
            json=lambda: self._document if path == "/" else {"servers": []},
        )  # fmt: skip


def session_with(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Session:
    session = Session(Connection("dc-1", "openstack", "https://cloud.example.org/v3", CREDENTIALS), Options())
    monkeypatch.setattr(session, "_connected", lambda: cloud)
    return session


@pytest.mark.parametrize(("newest", "asked"), [("2.56", "2.56"), ("2.9", None), ("2.60", "2.60"), ("2.100", "2.60")])
def test_the_newest_that_both_know_is_asked_for_and_looked_up_once(
    newest: str, asked: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud = Cloud({"version": {"id": "v2.1", "version": newest, "min_version": "2.1"}})
    session = session_with(cloud, monkeypatch)
    if asked is None:
        with pytest.raises(ProviderError, match=f"up to {newest}; VAI needs 2.56"):
            session.get("compute", "/servers")
        return
    for _ in range(2):
        session.get("compute", "/servers")
    assert cloud.asked == [("/", None), ("/servers", asked), ("/servers", asked)]


def test_a_list_of_versions_is_read_too(monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = Cloud({"versions": [{"id": "v1.0", "max_version": "1.39", "min_version": "1.0"}]})
    session_with(cloud, monkeypatch).get("placement", "/usages")
    assert cloud.asked[-1] == ("/usages", "1.17")


def test_a_version_document_that_is_lost_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = Cloud({"version": {"version": "2.96"}}, status=503)
    session = session_with(cloud, monkeypatch)
    with pytest.raises(ProviderUnavailable):
        session.get("compute", "/servers")
    cloud._status = 200
    assert session.get("compute", "/servers") == {"servers": []}
