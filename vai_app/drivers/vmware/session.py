"""One session at one vCenter, shared by all threads of the process: opened by the first call, renewed when it ends.

It is the stub that pyVmomi's managed objects call through, so a call of any of them logs in when needed, and is
repeated once when vCenter has forgotten the session. Nothing else is ever repeated.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from http import HTTPStatus
from time import monotonic
from typing import Any, TypeVar

from pyVmomi import SoapAdapter, vim, vmodl

from vai_app.domain.errors import ProviderAuthenticationFailed
from vai_app.drivers.vmware.faults import TRANSLATED, error_of
from vai_app.drivers.vmware.options import Endpoint
from vai_app.drivers.vmware.rows import Element, Page, Row, envelope, fault_answered, parse_page
from vai_app.drivers.vmware.transport import Line, Transport

T = TypeVar("T")

API_VERSION = "vim.version.version11"  # 6.5
# Whoever asks again and again with a wrong password locks the account; VAI asks this seldom.
REFUSED_SECONDS = 30.0
_CLOSE_SECONDS = 5.0


class Session(SoapAdapter.SoapStubAdapterBase):  # type: ignore[misc] # pyVmomi gives no types for its adapters
    """A lazily opened session. Failures of calls are pyVmomi's and the transport's own, but within ``calling``."""

    def __init__(self, endpoint: Endpoint) -> None:
        """Send nothing yet."""
        super().__init__(version=API_VERSION)
        self.requestContext = None
        self._endpoint = endpoint
        self._transport = Transport(endpoint)
        self._login_lock = threading.Lock()
        self._generation = 0
        self._open = False
        self._refused_until = 0.0
        self._content: vim.ServiceInstanceContent = None

    @property
    def generation(self) -> int:
        """The number of the session: what is bound to a session (views, filters) died with a smaller one."""
        return self._generation

    @property
    def content(self) -> vim.ServiceInstanceContent:
        """The managed objects of vCenter itself; opens the session."""
        self._ensure_open()
        return self._content

    @property
    def account(self) -> str:
        """The user name at vCenter."""
        return self._endpoint.username

    @contextmanager
    def calling(self, *, besides_seconds: float = 0.0) -> Iterator[None]:
        """Let all calls within the block end within the call timeout; what fails becomes a domain error.

        ``besides_seconds`` is what the caller itself may wait within the block.
        """
        try:
            with self._transport.deadline(self._endpoint.call_timeout_seconds + besides_seconds):
                yield
        except TRANSLATED as failure:
            raise error_of(failure, self._endpoint.address) from failure

    def InvokeMethod(self, mo: vim.ManagedObject, info: Any, args: Sequence[Any]) -> Any:  # noqa: N802 - pyVmomi's name
        """Call a method of a managed object; what pyVmomi's objects do when they are called."""
        return self.authenticated(lambda: self._call(mo, info, args))

    def retrieve(self, spec: vmodl.query.PropertyCollector.FilterSpec) -> list[Row]:
        """Read properties of many objects in one call, continued where vCenter answers in parts."""
        collector = self.content.propertyCollector
        first = ("RetrievePropertiesEx", [spec], vmodl.query.PropertyCollector.RetrieveOptions())
        page = self.authenticated(lambda: self._page(collector, *first))
        rows = page.rows
        while page.token is not None:
            token = page.token
            page = self.authenticated(lambda: self._page(collector, "ContinueRetrievePropertiesEx", token))  # noqa: B023
            rows += page.rows
        return rows

    def ask(self, mo: vim.ManagedObject, method: str, *args: Any) -> Element:
        """Call a method, and return its answer as it stands: of many objects that is read in a fraction of the time."""
        return self.authenticated(lambda: envelope(self._raw(mo, method, *args)))

    def authenticated(self, call: Callable[[], T]) -> T:
        """Return what ``call`` returns; it is made once more, in a new session, when this one has expired."""
        generation = self._ensure_open()
        try:
            return call()
        except vim.fault.NotAuthenticated:
            self._renew(generation)
            return call()

    def new_line(self) -> Line:
        """Return a line for a caller that must not hold one of the shared lines."""
        return self._transport.new_line()

    def send(self, line: Line, mo: vim.ManagedObject, method: str, *args: Any) -> None:
        """Send a call over a line; its answer is taken by ``receive``."""
        line.send(self.SerializeRequest(mo, mo._GetMethodInfo(method), args), self._transport.cookie)  # noqa: SLF001

    def receive(self, line: Line) -> bytes:
        """Return the answer to what was sent over a line. Raises the fault that it holds."""
        status, body = line.receive()
        return self._checked(status, body)

    def close(self) -> None:
        """Log out, if vCenter can still be reached, and close every line."""
        if self._open and self._content is not None:
            with suppress(*TRANSLATED), self._transport.deadline(_CLOSE_SECONDS):
                self._raw(self._content.sessionManager, "Logout")
        self._open = False
        self._transport.close()

    def _ensure_open(self) -> int:
        if not self._open:
            self._renew(self._generation)
        return self._generation

    def _renew(self, generation: int) -> None:
        """Log in, unless another thread has done so since the caller saw ``generation``."""
        if not self._login_lock.acquire(timeout=self._transport.remaining_seconds()):
            raise TimeoutError
        try:
            if self._open and self._generation != generation:
                return
            self._open = False
            self._login()
            self._generation += 1
            self._open = True
        finally:
            self._login_lock.release()

    def _login(self) -> None:
        if monotonic() < self._refused_until:
            message = "vCenter refused the user name or password. Register the datacenter's credentials again."
            raise ProviderAuthenticationFailed(message)
        if self._content is None:
            service = vim.ServiceInstance("ServiceInstance", self)
            self._content = self._call(service, service._GetMethodInfo("RetrieveContent"), ())  # noqa: SLF001
        manager = self._content.sessionManager
        info = manager._GetMethodInfo("Login")  # noqa: SLF001 - as pyVmomi's documentation has it
        request = self.SerializeRequest(manager, info, (self._endpoint.username, self._endpoint.password, None))
        try:
            self._checked(*self._transport.exchange(request, new_session=True))
        except vim.fault.InvalidLogin:
            self._refused_until = monotonic() + REFUSED_SECONDS
            raise

    def _call(self, mo: vim.ManagedObject, info: Any, args: Sequence[Any]) -> Any:
        body = self._checked(*self._transport.exchange(self.SerializeRequest(mo, info, args)))
        envelope(body)  # pyVmomi takes anything that begins like XML
        return SoapAdapter.SoapResponseDeserializer(self).Deserialize(body, info.result)

    def _raw(self, mo: vim.ManagedObject, method: str, *args: Any) -> bytes:
        request = self.SerializeRequest(mo, mo._GetMethodInfo(method), args)  # noqa: SLF001
        return self._checked(*self._transport.exchange(request))

    def _page(self, collector: vim.ManagedObject, method: str, *args: Any) -> Page:
        return parse_page(self._raw(collector, method, *args))

    def _checked(self, status: int, body: bytes) -> bytes:
        if status != HTTPStatus.OK:
            raise fault_answered(body)
        return body
