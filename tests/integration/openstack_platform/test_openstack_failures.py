"""What goes wrong between VAI and OpenStack's services, on the real ones behind a proxy, and what a person is told."""

import secrets
import ssl
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from openstack.connection import Connection as Sdk

from tests.contracts_drivers.site import a_mark
from tests.lab.certificates import self_signed
from tests.lab.http_proxy import HttpProxy, answer, delay, drop_answer
from tests.lab.openstack.cloud import Account, Cloud
from tests.lab.openstack.configuration import PASSWORD
from tests.lab.openstack.content import IMAGE, NETWORKS
from tests.lab.ports import free_port
from tests.lab.process import wait_until
from vai_app.domain.datacenters import Connection, HostState
from vai_app.domain.errors import (
    CapacityShort,
    Conflict,
    InvalidRequest,
    ProviderAuthenticationFailed,
    ProviderBusy,
    ProviderCertificateUntrusted,
    ProviderError,
    ProviderForbidden,
    ProviderTimeout,
    ProviderUnavailable,
    QuotaExceeded,
    VaiError,
)
from vai_app.domain.hypervisor import CreateRequest, NativeTask, TaskObservation
from vai_app.domain.virtual_machines import Location, MachineSpec, Making, Mark, Power, PowerAction, Size
from vai_app.drivers.openstack import OpenStackHypervisor

pytestmark = [pytest.mark.spec(27), pytest.mark.spec(29)]

TINY = Size(cpus=1, memory_mib=512, disk_gib=1)
LARGER = Size(cpus=1, memory_mib=2048, disk_gib=20)
PATIENCE_SECONDS = 120.0


def _connect(account: Account, *, options: dict[str, Any] | None = None, **settings: Any) -> OpenStackHypervisor:
    credentials = {"username": account.username, "password": account.password, "project": account.project}
    given = {"endpoint": account.auth_url, "credentials": credentials, **settings}
    return OpenStackHypervisor(
        Connection("dc-1", "openstack", options={"region": account.region, **(options or {})}, **given)
    )


def _request(name: str, mark: Mark, **spec: Any) -> CreateRequest:
    wanted = {"name": name, "size": TINY, "image": IMAGE, "networks": tuple(NETWORKS)[:1], **spec}
    return CreateRequest(MachineSpec(**wanted), mark, Location())


def _end(hypervisor: OpenStackHypervisor, task: NativeTask | None) -> TaskObservation:
    assert task is not None
    ends_at = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < ends_at:
        for ended in hypervisor.wait_tasks([task.ref], 5.0):
            return ended
    raise AssertionError(f"{task.ref} did not end")


def _remove(hypervisor: OpenStackHypervisor, ref: str) -> None:
    """Delete, asking again what Nova is too busy for, as steps of VAI do."""
    asked: list[NativeTask | None] = []

    def accepted() -> bool:
        try:
            asked.append(hypervisor.request_delete(ref))
        except VaiError as error:
            if not error.retryable:
                raise
            return False
        return True

    wait_until(accepted, seconds=PATIENCE_SECONDS, what=f"{ref} may be deleted")
    assert asked[0] is None or _end(hypervisor, asked[0]).error is None


def _made(hypervisor: OpenStackHypervisor) -> str:
    ended = _end(hypervisor, hypervisor.request_create(_request(_name(), a_mark())))
    assert ended.machine_ref is not None, ended.error
    return ended.machine_ref


def _name() -> str:
    return f"failing-{secrets.token_hex(4)}"


@pytest.fixture
def proxy(openstack_cloud: Cloud) -> Iterator[HttpProxy]:
    with HttpProxy(openstack_cloud.layout.ports.by_name).running() as proxy:
        yield proxy


@pytest.fixture
def proxied(openstack_cloud: Cloud, proxy: HttpProxy) -> Iterator[OpenStackHypervisor]:
    hypervisor = _connect(openstack_cloud.demo.through(proxy.ports["keystone"]), call_timeout_seconds=60.0)
    yield hypervisor
    hypervisor.close()


@pytest.fixture
def direct(openstack_cloud: Cloud) -> Iterator[OpenStackHypervisor]:
    hypervisor = _connect(openstack_cloud.demo)
    yield hypervisor
    hypervisor.close()


@pytest.fixture
def demo(openstack_cloud: Cloud) -> Iterator[Sdk]:
    with openstack_cloud.demo.connect() as connection:
        yield connection


@pytest.fixture
def admin(openstack_cloud: Cloud) -> Iterator[Sdk]:
    with openstack_cloud.admin.connect() as connection:
        yield connection


def _servers(sdk: Sdk, name: str) -> list[Any]:
    return [each for each in sdk.compute.servers() if each.name == name]


def _ports(sdk: Sdk, server: str) -> list[Any]:
    return list(sdk.network.ports(device_id=server))


def test_a_service_that_asks_for_patience_is_quoted(proxied: OpenStackHypervisor, proxy: HttpProxy) -> None:
    proxied.verify()
    for status in (429, 503):
        proxy.add(answer("GET", "/servers/detail", status=status, retry_after=17, service="nova"))
        with pytest.raises(ProviderUnavailable, match="17 s"):
            list(proxied.list_machines())
    list(proxied.list_machines())


def test_a_failing_service_can_be_asked_again(proxied: OpenStackHypervisor, proxy: HttpProxy) -> None:
    proxied.verify()
    proxy.add(answer("GET", "/servers/detail", status=500, service="nova"))
    with pytest.raises(ProviderUnavailable):
        list(proxied.list_machines())
    list(proxied.list_machines())


def test_a_call_ends_within_its_timeout(openstack_cloud: Cloud, proxy: HttpProxy) -> None:
    hypervisor = _connect(openstack_cloud.demo.through(proxy.ports["keystone"]), call_timeout_seconds=10.0)
    hypervisor.verify()
    proxy.add(delay("GET", "/servers/detail", seconds=25.0, service="nova"))
    began = time.monotonic()
    with pytest.raises(ProviderTimeout):
        list(hypervisor.list_machines())
    assert time.monotonic() - began < 20.0
    hypervisor.close()


def test_an_expired_token_is_renewed_unnoticed_and_a_refused_one_is_told(
    proxied: OpenStackHypervisor, proxy: HttpProxy
) -> None:
    proxied.verify()
    proxy.clear()
    expired = proxy.add(answer("GET", "/servers/detail", status=401, service="nova"))
    list(proxied.list_machines())
    assert expired.used == 1
    assert "keystone" in {call.service for call in proxy.calls}
    proxy.add(answer("GET", "/servers/detail", status=401, service="nova", times=2))
    with pytest.raises(ProviderAuthenticationFailed):
        list(proxied.list_machines())


def test_an_endpoint_that_the_catalogue_lacks_is_named(openstack_cloud: Cloud) -> None:
    hypervisor = _connect(openstack_cloud.demo, options={"region": "nowhere"})
    with pytest.raises(ProviderError, match="catalogue"):
        hypervisor.verify()
    hypervisor.close()


def test_a_keystone_that_does_not_listen_is_unavailable(openstack_cloud: Cloud) -> None:
    hypervisor = _connect(openstack_cloud.demo.through(free_port()))
    with pytest.raises(ProviderUnavailable):
        hypervisor.verify()
    hypervisor.close()


def test_a_wrong_password_is_told_without_it(openstack_cloud: Cloud) -> None:
    account = openstack_cloud.demo
    credentials = {"username": account.username, "password": "wr0ng-s3cret", "project": account.project}
    hypervisor = _connect(account, credentials=credentials)
    with pytest.raises(ProviderAuthenticationFailed) as refused:
        hypervisor.verify()
    assert "wr0ng-s3cret" not in str(refused.value)
    hypervisor.close()


class _NeverAsked(BaseHTTPRequestHandler):
    """Nobody who verifies the certificate gets this far."""


@pytest.fixture
def untrusted(tmp_path: Path) -> Iterator[str]:
    """The address of a server whose certificate no authority signed."""
    certificate, key = self_signed("127.0.0.1")
    (tmp_path / "cert.pem").write_text(certificate)
    (tmp_path / "key.pem").write_text(key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    server = ThreadingHTTPServer(("127.0.0.1", 0), _NeverAsked)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield f"https://127.0.0.1:{server.server_address[1]}/v3"
    server.shutdown()
    server.server_close()


def test_a_certificate_of_an_unknown_authority_is_not_trusted(openstack_cloud: Cloud, untrusted: str) -> None:
    hypervisor = _connect(openstack_cloud.demo, endpoint=untrusted)
    with pytest.raises(ProviderCertificateUntrusted, match="ca_certificate"):
        hypervisor.verify()
    hypervisor.close()


@pytest.mark.spec(3)
def test_an_application_credential_enters_without_a_password(openstack_cloud: Cloud, demo: Sdk) -> None:
    made = demo.identity.create_application_credential(user=demo.current_user_id, name=_name())
    credentials = {"application_credential_id": made.id, "application_credential_secret": made.secret}
    hypervisor = _connect(openstack_cloud.demo, credentials=credentials)
    assert openstack_cloud.demo.project in hypervisor.verify().account
    hypervisor.close()
    demo.identity.delete_application_credential(demo.current_user_id, made.id)


def test_a_size_that_no_host_can_bear_is_a_lack_of_capacity_and_leaves_no_port(
    direct: OpenStackHypervisor, admin: Sdk, demo: Sdk
) -> None:
    huge = Size(cpus=1, memory_mib=2**22, disk_gib=1)
    flavor = admin.compute.create_flavor(name=_name(), vcpus=huge.cpus, ram=huge.memory_mib, disk=huge.disk_gib)
    name = _name()
    task = direct.request_create(_request(name, a_mark(), size=huge))
    assert isinstance(_end(direct, task).error, CapacityShort)
    _remove(direct, str(task.machine_ref))
    assert not _servers(demo, name)
    assert not _ports(demo, str(task.machine_ref))
    admin.compute.delete_flavor(flavor)


@pytest.fixture
def project_without_room(openstack_cloud: Cloud, admin: Sdk) -> Iterator[Account]:
    """A project whose quota allows no server."""
    name = _name()
    project = admin.identity.create_project(name=name, domain_id="default")
    user = admin.identity.create_user(name=name, password=PASSWORD, domain_id="default")
    admin.identity.assign_project_role_to_user(project, user, admin.identity.find_role("member", ignore_missing=False))
    admin.compute.update_quota_set(project, instances=0)
    account = openstack_cloud.demo
    yield Account(account.auth_url, account.region, name, PASSWORD, name)
    admin.identity.delete_user(user)
    admin.identity.delete_project(project)


def test_a_quota_that_is_used_up_is_named_and_nothing_is_made(project_without_room: Account) -> None:
    hypervisor, mark = _connect(project_without_room), a_mark()
    with pytest.raises(QuotaExceeded):
        hypervisor.request_create(_request(_name(), mark))
    assert hypervisor.find_by_token(mark.token) is None
    hypervisor.close()


def test_what_the_policy_forbids_is_told(openstack_cloud: Cloud) -> None:
    zone_of_one_host = f"nova:{openstack_cloud.hosts[0]}"  # only administrators may name a host
    hypervisor, mark = _connect(openstack_cloud.demo, options={"availability_zone": zone_of_one_host}), a_mark()
    with pytest.raises(ProviderForbidden):
        hypervisor.request_create(_request(_name(), mark))
    assert hypervisor.find_by_token(mark.token) is None
    hypervisor.close()


def test_an_image_without_data_is_refused_and_named(direct: OpenStackHypervisor, demo: Sdk) -> None:
    image = demo.image.create_image(
        name=_name(), disk_format="raw", container_format="bare", allow_duplicates=True, validate_checksum=False
    )
    mark = a_mark()
    with pytest.raises(InvalidRequest, match="not active"):
        direct.request_create(_request(_name(), mark, image=image.id))
    assert direct.find_by_token(mark.token) is None
    demo.image.delete_image(image.id)


def test_a_name_that_two_images_have_is_refused_and_an_id_is_not(direct: OpenStackHypervisor, demo: Sdk) -> None:
    name, mark = _name(), a_mark()
    contents = {"disk_format": "raw", "container_format": "bare", "data": b"two", "allow_duplicates": True}
    images = [demo.image.create_image(name=name, wait=True, **contents).id for _ in range(2)]
    with pytest.raises(InvalidRequest, match=images[0]):
        direct.request_create(_request(_name(), mark, image=name))
    assert direct.find_by_token(mark.token) is None
    made = _end(direct, direct.request_create(_request(_name(), mark, image=images[1])))
    assert made.machine_ref is not None, made.error
    assert demo.compute.get_server(made.machine_ref).image.id == images[1]
    _remove(direct, made.machine_ref)
    for image in images:
        demo.image.delete_image(image)


def test_a_machine_that_no_host_may_take_stays_where_it_is(openstack_cloud: Cloud) -> None:
    administrator = _connect(openstack_cloud.admin)
    ref = _made(administrator)
    before = administrator.observe_machine(ref)
    error: VaiError | None = None
    with openstack_cloud.spare_alone() as closed:
        try:
            error = _end(administrator, administrator.request_migrate(ref, closed)).error
        except VaiError as raised:
            error = raised
    assert isinstance(error, CapacityShort), error
    seen = administrator.observe_machine(ref)
    assert (seen.host, seen.power) == (before.host, before.power)
    _remove(administrator, ref)
    administrator.close()


def test_an_image_that_nova_does_not_finish_is_seen_as_failed_and_can_be_removed(
    direct: OpenStackHypervisor, demo: Sdk
) -> None:
    ref, mark = _made(direct), a_mark()
    begun = demo.image.create_image(
        name="half", disk_format="raw", container_format="bare", instance_uuid=ref,
        **{"vai.machine": mark.machine_id, "vai.token": mark.token},
    )  # fmt: skip
    (seen,) = direct.list_snapshots(ref)
    assert (seen.ref, seen.mark, seen.making) == (begun.id, mark, Making.FAILED)
    assert direct.request_delete_snapshot(ref, seen.ref) is None
    assert direct.list_snapshots(ref) == []
    _remove(direct, ref)


def test_a_snapshot_whose_image_is_removed_meanwhile_fails_and_says_so(direct: OpenStackHypervisor, demo: Sdk) -> None:
    ref = _made(direct)
    task = direct.request_snapshot(ref, "short-lived", a_mark())
    image = task.ref.rpartition("|")[2]
    demo.image.delete_image(image)
    error = _end(direct, task).error
    assert isinstance(error, ProviderError)
    assert "gone" in error.detail
    _remove(direct, ref)


def test_a_suspended_machine_is_not_restored(direct: OpenStackHypervisor) -> None:
    ref = _made(direct)
    assert _end(direct, direct.request_snapshot(ref, "gold", a_mark())).error is None
    (snapshot,) = direct.list_snapshots(ref)
    assert _end(direct, direct.request_power(ref, PowerAction.SUSPEND)).error is None
    with pytest.raises(Conflict, match="Start or stop it first"):
        direct.request_restore(ref, snapshot.ref)
    direct.request_delete_snapshot(ref, snapshot.ref)
    _remove(direct, ref)


@pytest.mark.parametrize("what", ["move", "resize"])
def test_what_copies_a_machine_is_not_asked_for_twice_when_the_answer_is_lost_and_confirmed(
    openstack_cloud: Cloud, proxy: HttpProxy, what: str
) -> None:
    administrator = _connect(openstack_cloud.admin.through(proxy.ports["keystone"]), call_timeout_seconds=60.0)
    ref = _made(administrator)
    stop = administrator.request_power(ref, PowerAction.STOP)
    assert _end(administrator, stop).error is None
    hosts = {each.ref for each in administrator.observe_inventory().hosts if each.state is HostState.UP}
    (target, *_) = sorted(hosts - {administrator.observe_machine(ref).host})

    def request() -> NativeTask | None:
        if what == "move":
            return administrator.request_migrate(ref, target)
        return administrator.request_resize(ref, LARGER)

    proxy.add(drop_answer("POST", rf"/servers/{ref}/action$", service="nova"))
    with pytest.raises(ProviderUnavailable):
        request()
    proxy.clear()

    asked: list[NativeTask | None] = []
    wait_until(lambda: _accepted(asked, request), seconds=PATIENCE_SECONDS, what="Nova is at rest")
    if asked[0] is not None:
        assert _end(administrator, asked[0]).error is None

    with openstack_cloud.admin.connect() as admin:
        compute: Any = admin.compute
        told = compute.get(f"/os-migrations?instance_uuid={ref}", microversion="2.59").json()["migrations"]
    assert [each["status"] for each in told] == ["confirmed"]
    seen = administrator.observe_machine(ref)
    assert seen.power is Power.OFF
    assert (seen.host == target) if what == "move" else (seen.size == LARGER)
    _remove(administrator, ref)
    administrator.close()


def _accepted(asked: list[NativeTask | None], request: Callable[[], NativeTask | None]) -> bool:
    """Ask again, as the step does; whether that was answered."""
    try:
        asked.append(request())
    except ProviderBusy:
        return False
    return True
