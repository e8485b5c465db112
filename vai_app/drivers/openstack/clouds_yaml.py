"""A cloud of ``clouds.yaml`` (and ``secure.yaml``) as a datacenter to register, read as OpenStack's clients read it.

https://docs.openstack.org/openstacksdk/latest/user/config/configuration.html
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from openstack import exceptions
from openstack.config import OpenStackConfig

from vai_app.domain.errors import InvalidRequest

_CREDENTIALS = {
    "username": "username",
    "password": "password",
    "project_name": "project",
    "application_credential_id": "application_credential_id",
    "application_credential_secret": "application_credential_secret",
}
_OPTIONS = {"user_domain_name": "user_domain", "project_domain_name": "project_domain"}


def registration_of(cloud: str, file: Path | None = None) -> dict[str, Any]:
    """Return what registers the cloud: kind, endpoint, credentials, options and whom to trust.

    Without ``file``, the places where clouds.yaml is looked for: this folder, ``~/.config/openstack``,
    ``/etc/openstack``. Raises InvalidRequest where the cloud is not there, or cannot be entered by what it says.
    """
    try:
        found = OpenStackConfig(config_files=[str(file)] if file else None, load_envvars=False).get_one(
            cloud, validate=False
        )
    except exceptions.ConfigException as error:
        raise InvalidRequest(f"There is no cloud {cloud!r} to read: {error}.") from error
    config: Mapping[str, Any] = found.config
    auth: Mapping[str, Any] = config.get("auth") or {}
    if not auth.get("auth_url"):
        raise InvalidRequest(f"The cloud {cloud!r} names no auth_url.")
    options = {name: auth[known] for known, name in _OPTIONS.items() if auth.get(known)}
    options |= {"region": found.region_name} if found.region_name else {}
    options |= {"interface": config["interface"]} if config.get("interface") else {}
    authority = config.get("cacert")
    return {
        "kind": "openstack",
        "endpoint": auth["auth_url"],
        "credentials": {name: str(auth[known]) for known, name in _CREDENTIALS.items() if auth.get(known)},
        "verify_tls": bool(config.get("verify", True)),
        "ca_certificate": Path(authority).expanduser().read_text() if authority else None,
        "options": options,
    }
