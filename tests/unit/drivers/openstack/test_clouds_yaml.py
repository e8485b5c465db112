"""Clouds of clouds.yaml as datacenters to register."""

from pathlib import Path

import pytest
import yaml

from vai_app.domain.datacenters import Connection
from vai_app.domain.errors import InvalidRequest
from vai_app.drivers.openstack import OpenStackHypervisor
from vai_app.drivers.openstack.clouds_yaml import registration_of

BY_PASSWORD = {
    "auth": {
        "auth_url": "https://keystone.example.org:5000/v3", "username": "vai", "password": "right",
        "project_name": "web",
        "user_domain_name": "Staff", "project_domain_name": "Default",
    },
    "region_name": "north", "interface": "internal", "verify": False,
}  # fmt: skip
BY_APPLICATION = {
    "auth_type": "v3applicationcredential",
    "auth": {
        "auth_url": "https://keystone.example.org:5000/v3",
        "application_credential_id": "app-1", "application_credential_secret": "deep",
    },
}  # fmt: skip


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "authority.pem").write_text("PEM")
    clouds = {
        "north": BY_PASSWORD,
        "app": {**BY_APPLICATION, "cacert": str(tmp_path / "authority.pem")},
        "empty": {"auth": {"username": "vai"}},
    }
    path = tmp_path / "clouds.yaml"
    path.write_text(yaml.safe_dump({"clouds": clouds}))
    return path


def test_a_cloud_with_user_and_password_is_registered_whole(file: Path) -> None:
    assert registration_of("north", file) == {
        "kind": "openstack",
        "endpoint": "https://keystone.example.org:5000/v3",
        "credentials": {"username": "vai", "password": "right", "project": "web"},
        "verify_tls": False,
        "ca_certificate": None,
        "options": {
            "user_domain": "Staff", "project_domain": "Default", "region": "north", "interface": "internal",
        },
    }  # fmt: skip


def test_a_cloud_with_an_application_credential_is_registered_with_the_authority_to_trust(file: Path) -> None:
    found = registration_of("app", file)
    assert found["credentials"] == {"application_credential_id": "app-1", "application_credential_secret": "deep"}
    assert (found["verify_tls"], found["ca_certificate"]) == (True, "PEM")


@pytest.mark.parametrize("cloud", ["north", "app"])
def test_the_driver_takes_what_was_read(file: Path, cloud: str) -> None:
    found = {**registration_of(cloud, file), "ca_certificate": None}
    OpenStackHypervisor(Connection("dc-1", **found)).close()


@pytest.mark.parametrize(("cloud", "word"), [("nowhere", "no cloud 'nowhere'"), ("empty", "names no auth_url")])
def test_a_cloud_that_cannot_be_entered_is_refused_by_name(file: Path, cloud: str, word: str) -> None:
    with pytest.raises(InvalidRequest, match=word):
        registration_of(cloud, file)
