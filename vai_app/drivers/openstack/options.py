"""What a datacenter of the kind ``openstack`` is told beyond endpoint and credentials, checked before anything is sent.

The endpoint is Keystone's, such as ``https://keystone.example.org:5000/v3``. Credentials are either ``username``,
``password`` and ``project``, or ``application_credential_id`` and ``application_credential_secret``.
"""

from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from vai_app.domain.datacenters import Connection
from vai_app.domain.errors import InvalidRequest

_APPLICATION = ("application_credential_id", "application_credential_secret")
_PASSWORD = ("username", "password", "project")
Name = Annotated[str, StringConstraints(min_length=1, max_length=128)]


class Options(BaseModel):
    """Options of a datacenter of the kind ``openstack``."""

    model_config = ConfigDict(extra="forbid")

    region: str | None = Field(default=None, description="The region; may be left out where there is only one.")
    interface: Literal["public", "internal", "admin"] = Field(
        default="public", description="Which endpoints of the catalogue are used."
    )
    user_domain: str = Field(default="Default", description="Domain of the user, by name.")
    project_domain: str = Field(default="Default", description="Domain of the project, by name.")
    availability_zone: str | None = Field(
        default=None, description="Availability zone of machines that name none; else Nova's own default."
    )
    default_network: str | None = Field(
        default=None, description="The network of a machine that names none; else it has no port."
    )
    boot_from_volume: bool = Field(
        default=False,
        description="Give machines volumes of Cinder as disks, of any size; flavors are matched without their disks.",
    )
    projects: dict[Name, Name] = Field(
        default={},
        max_length=200,
        description="The project of each tenant, by name; tenants that are not named share the credentials' project.",
    )


def parse_options(options: dict[str, Any]) -> Options:
    """Raise InvalidRequest naming each wrong option."""
    try:
        return Options.model_validate(options)
    except ValidationError as error:
        errors = [
            {"field": "options." + ".".join(map(str, each["loc"])), "message": each["msg"]} for each in error.errors()
        ]
        raise InvalidRequest("The options of the OpenStack datacenter are not valid.", errors) from error


def authentication(connection: Connection, options: Options) -> tuple[str, dict[str, str]]:
    """Return keystoneauth's plug-in and its arguments. Raises InvalidRequest for an endpoint or account of no use."""
    given = connection.credentials
    address = {"auth_url": _keystone(connection.endpoint)}
    if _APPLICATION[0] in given:
        return "v3applicationcredential", address | {name: _credential(given, name) for name in _APPLICATION}
    known = password_credentials(given)
    return "v3password", address | {
        "username": known["username"],
        "password": known["password"],
        "project_name": known["project"],
        "user_domain_name": options.user_domain,
        "project_domain_name": options.project_domain,
    }


def password_credentials(given: dict[str, str]) -> dict[str, str]:
    """Return the credentials that enter any project. Raises InvalidRequest for an application's, which has but one."""
    if _APPLICATION[0] in given:
        message = "An application credential enters one project only. Map tenants to projects with a user's password."
        raise InvalidRequest(message, [{"field": "options.projects", "message": message}])
    return {name: _credential(given, name) for name in _PASSWORD}


def _keystone(endpoint: str) -> str:
    parts = urlsplit(endpoint)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query or parts.fragment:
        message = f"{endpoint!r} is no endpoint of Keystone. Use https://host:5000/v3."
        raise InvalidRequest(message, [{"field": "endpoint", "message": message}])
    return endpoint.rstrip("/")


def _credential(credentials: dict[str, str], name: str) -> str:
    value = credentials.get(name)
    if not value:
        message = (
            "An OpenStack datacenter needs the credentials 'username', 'password' and 'project', or "
            f"'application_credential_id' and 'application_credential_secret'; {name!r} is missing."
        )
        raise InvalidRequest(message, [{"field": f"credentials.{name}", "message": message}])
    return value
