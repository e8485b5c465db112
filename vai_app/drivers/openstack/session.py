"""One session with one cloud: its token is renewed by keystoneauth, every call has a timeout, no call is repeated."""

import ssl
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from threading import Lock
from typing import Any, cast

import openstack
from keystoneauth1 import loading
from keystoneauth1.access import AccessInfoV3
from keystoneauth1.session import Session as KeystoneSession
from openstack.connection import Connection as Sdk

from vai_app.domain.datacenters import Connection
from vai_app.domain.errors import InvalidRequest, NotFound, ProviderError
from vai_app.drivers.openstack.faults import error_of, translated
from vai_app.drivers.openstack.options import Options, authentication

# By service, the least that VAI can work with and the newest that it knows. Compute 2.56 is told where a
# cold migration goes; it and what is asked of Placement came with Queens (2018). Block storage 3.42 extends a volume
# that is in use.
MICROVERSIONS: Mapping[str, tuple[str, str]] = {
    "compute": ("2.56", "2.60"),
    "placement": ("1.17", "1.17"),
    "block_storage": ("3.42", "3.42"),
}
_PAGE = 1000
_NO_CONTENT = 204

Row = dict[str, Any]


class Session:
    """Calls of a cloud's services, by service type."""

    def __init__(self, connection: Connection, options: Options) -> None:
        """Check the settings; call nobody. Raises InvalidRequest."""
        self._connection = connection
        self._options = options
        self._plugin, self._arguments = authentication(connection, options)
        self._lock = Lock()
        self._sdk: Sdk | None = None
        self._authority: Path | None = None
        self._microversions: dict[str, str] = {}
        if connection.ca_certificate:
            _check_authority(connection.ca_certificate)

    def get(self, service: str, path: str, **query: Any) -> Row:
        """Return an object. Raises VaiError."""
        return self._call(service, "GET", path, params=query or None)

    def find(self, service: str, path: str) -> Row | None:
        """Return an object, ``None`` where there is none. Raises VaiError."""
        try:
            return self.get(service, path)
        except NotFound:
            return None

    def post(self, service: str, path: str, body: Row) -> Row:
        """Return what was made, or nothing. Raises VaiError."""
        return self._call(service, "POST", path, json=body)

    def put(self, service: str, path: str, body: Row | None = None) -> None:
        """Make sure of an object, or of what is said of it. Raises VaiError."""
        self._call(service, "PUT", path, json=body)

    def delete(self, service: str, path: str) -> None:
        """Ask for an object's end. Raises VaiError."""
        self._call(service, "DELETE", path)

    def pages(self, service: str, path: str, key: str, **query: Any) -> Iterator[Row]:
        """Return every object of a list, page by page. Raises VaiError."""
        marker: dict[str, Any] = {}
        while True:
            rows: list[Row] = self.get(service, path, limit=_PAGE, **query, **marker)[key]
            yield from rows
            if len(rows) < _PAGE:
                return
            marker = {"marker": rows[-1]["id"]}

    @property
    def is_administrator(self) -> bool:
        """Whether the account has the role ``admin``, which sees hosts. Raises VaiError."""
        return "admin" in (self._access().role_names or ())

    @property
    def account(self) -> str:
        """Who VAI is there. Raises VaiError."""
        access = self._access()
        return f"{access.username} in {access.project_name}"

    def close(self) -> None:
        """Close the sockets. Keystone's token ends by itself."""
        with self._lock:
            if self._sdk is not None:
                self._sdk.close()
                self._sdk = None
            if self._authority is not None:
                self._authority.unlink(missing_ok=True)
                self._authority = None

    def _access(self) -> AccessInfoV3:
        """Return what Keystone says of the account, from the token that the session has or gets."""
        with translated():
            session = self._connected().session
            return cast("AccessInfoV3", session.auth.get_access(session))  # type: ignore[union-attr]

    def _call(self, service: str, method: str, path: str, **arguments: Any) -> Row:
        with translated():
            proxy = getattr(self._connected(), service)
            microversion = self._microversion(service, proxy)
            response = proxy.request(path, method, raise_exc=False, microversion=microversion, **arguments)
        if not response.ok:
            raise error_of(response)
        if response.status_code == _NO_CONTENT or not response.content:
            return {}
        return cast("Row", response.json())

    def _microversion(self, service: str, proxy: Any) -> str | None:
        """Return the newest microversion that both sides know. Raises ProviderError for a service that is too old."""
        if service not in MICROVERSIONS:
            return None
        if service not in self._microversions:
            response = proxy.request("/", "GET", raise_exc=False)
            if not response.ok:
                raise error_of(response)
            least, newest = MICROVERSIONS[service]
            known = _newest(response.json())
            if _numbers(known) < _numbers(least):
                message = f"The {service} service speaks microversions up to {known or 'none'}; VAI needs {least}."
                raise ProviderError(message)
            self._microversions[service] = min(newest, known, key=_numbers)
        return self._microversions[service]

    def _connected(self) -> Sdk:
        with self._lock:
            if self._sdk is None:
                plugin: Any = loading.get_plugin_loader(self._plugin).load_from_options(**self._arguments)
                session = KeystoneSession(
                    auth=plugin,
                    verify=self._trusted(),
                    timeout=self._connection.call_timeout_seconds,
                    connect_retries=0,
                    app_name="vai",
                )
                self._sdk = openstack.connection.Connection(
                    session=session,
                    region_name=self._options.region,
                    interface=self._options.interface,
                )
            return self._sdk

    def _trusted(self) -> bool | str:
        """Return what requests calls ``verify``: a given authority replaces all others, and is a file there."""
        if not self._connection.verify_tls:
            return False
        if not self._connection.ca_certificate:
            return True
        with tempfile.NamedTemporaryFile("w", suffix=".pem", delete=False) as file:
            file.write(self._connection.ca_certificate)
        self._authority = Path(file.name)
        return file.name


def _newest(document: Row) -> str:
    """Return the newest microversion that a service's version document names, of one version or of a list."""
    versions: list[Row] = document.get("versions") or [document.get("version") or {}]
    told = [str(each.get("max_version") or each.get("version") or "") for each in versions]
    return max(told, key=_numbers)


def _numbers(microversion: str) -> tuple[int, ...]:
    return tuple(int(each) for each in microversion.split(".") if each.isdigit())


def _check_authority(pem: str) -> None:
    try:
        ssl.create_default_context(cadata=pem)
    except (ssl.SSLError, ValueError) as error:
        message = "ca_certificate holds no PEM certificate. Paste it with its BEGIN and END lines."
        raise InvalidRequest(message, [{"field": "ca_certificate", "message": message}]) from error
