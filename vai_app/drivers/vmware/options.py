"""What a datacenter of the kind ``vmware`` is told beyond endpoint and credentials, checked before anything is sent."""

import ssl
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vai_app.domain.datacenters import Connection
from vai_app.domain.errors import InvalidRequest

_HTTPS_PORT = 443


class Options(BaseModel):
    """Options of a datacenter of the kind ``vmware``."""

    model_config = ConfigDict(extra="forbid")

    datacenter: str | None = Field(
        default=None, description="The vSphere datacenter's name; may be left out where vCenter has only one."
    )
    folder: str | None = Field(
        default=None, description="The VM folder for new machines, such as 'vai/tenants'; else the topmost one."
    )
    resource_pool: str | None = Field(
        default=None, description="The resource pool for new machines, by name; else the cluster's own."
    )
    default_network: str | None = Field(
        default=None, description="The network of a machine made from scratch that names none; else it has no NIC."
    )
    guest_id: str = Field(
        default="otherGuest64", description="vSphere's guest operating system id of machines made from scratch."
    )
    firmware: Literal["bios", "efi"] = Field(default="bios", description="Firmware of machines made from scratch.")
    disk_controller: Literal["pvscsi", "lsilogic"] = Field(
        default="pvscsi", description="Disk controller of machines made from scratch."
    )
    thin_provisioned: bool = Field(default=True, description="Whether the disks of machines made from scratch grow.")
    hot_add: bool = Field(
        default=True, description="Whether new machines may get CPUs and memory while they run; it disables vNUMA."
    )


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A vCenter's address and how it is reached."""

    host: str
    port: int
    username: str
    password: str = field(repr=False)
    context: ssl.SSLContext = field(repr=False)
    call_timeout_seconds: float

    @property
    def address(self) -> str:
        """``host:port``, for people."""
        return f"{self.host}:{self.port}"


def parse_options(options: dict[str, Any]) -> Options:
    """Raise InvalidRequest naming each wrong option."""
    try:
        return Options.model_validate(options)
    except ValidationError as error:
        errors = [
            {"field": "options." + ".".join(map(str, each["loc"])), "message": each["msg"]} for each in error.errors()
        ]
        raise InvalidRequest("The options of the VMware datacenter are not valid.", errors) from error


def parse_endpoint(connection: Connection) -> Endpoint:
    """Return where and how vCenter is reached. Raises InvalidRequest for an address, account or CA of no use."""
    host, port = _host_and_port(connection.endpoint)
    return Endpoint(
        host=host,
        port=port,
        username=_credential(connection, "username"),
        password=_credential(connection, "password"),
        context=_tls_context(connection),
        call_timeout_seconds=connection.call_timeout_seconds,
    )


def _host_and_port(endpoint: str) -> tuple[str, int]:
    message = f"{endpoint!r} is no endpoint of a vCenter. Use https://host or https://host:port."
    refusal = InvalidRequest(message, [{"field": "endpoint", "message": message}])
    try:
        parts = urlsplit(endpoint)
        port = parts.port or _HTTPS_PORT
    except ValueError as error:
        raise refusal from error
    known = parts.scheme == "https" and parts.hostname and parts.username is None
    if not known or parts.path.rstrip("/") not in ("", "/sdk") or parts.query or parts.fragment:
        raise refusal
    return str(parts.hostname), port


def _credential(connection: Connection, name: str) -> str:
    value = connection.credentials.get(name)
    if not value:
        message = f"A VMware datacenter needs the credentials 'username' and 'password'; {name!r} is missing."
        raise InvalidRequest(message, [{"field": f"credentials.{name}", "message": message}])
    return value


def _tls_context(connection: Connection) -> ssl.SSLContext:
    """Return a context that verifies, unless the settings say otherwise. A given CA replaces all others."""
    try:
        context = ssl.create_default_context(cadata=connection.ca_certificate or None)
    except (ssl.SSLError, ValueError) as error:
        message = "ca_certificate holds no PEM certificate. Paste it with its BEGIN and END lines."
        raise InvalidRequest(message, [{"field": "ca_certificate", "message": message}]) from error
    # vCenter's own authority leaves out extensions that Python 3.13 and later insist on.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if not connection.verify_tls:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
