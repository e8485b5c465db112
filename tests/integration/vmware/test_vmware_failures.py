"""What goes wrong between VAI and vCenter, and what a person is told of it."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.vmware.vmware_bench import Bench, connection_to
from tests.lab.certificates import self_signed
from tests.lab.vcsim import Vcsim
from vai_app.domain.errors import (
    CapacityShort,
    HostUnavailable,
    InvalidRequest,
    NotFound,
    ProviderAuthenticationFailed,
    ProviderBusy,
    ProviderCertificateUntrusted,
    ProviderForbidden,
    ProviderTimeout,
    ProviderUnavailable,
    VaiError,
)
from vai_app.domain.hypervisor import TaskState
from vai_app.domain.virtual_machines import PowerAction
from vai_app.drivers.vmware import VmwareHypervisor

pytestmark = pytest.mark.spec(28)

Connecting = Callable[..., VmwareHypervisor]


@pytest.mark.spec(3)
def test_the_registered_account_is_the_one_at_vcenter(connect_to: Connecting, vcsim: Vcsim) -> None:
    about = connect_to().verify()
    assert (about.product, about.account) == ("VMware vCenter Server", vcsim.username)


@pytest.mark.spec(3)
def test_a_wrong_password_is_told_and_not_tried_again_at_once(connect_to: Connecting, vcsim: Vcsim) -> None:
    hypervisor = connect_to(credentials={"username": vcsim.username, "password": "wr0ng-s3cret"})
    for _ in range(2):
        with pytest.raises(ProviderAuthenticationFailed) as refused:
            hypervisor.verify()
        assert "wr0ng-s3cret" not in str(refused.value)
    vcsim.stop()
    with pytest.raises(ProviderAuthenticationFailed):
        hypervisor.verify()


def test_a_certificate_of_an_unknown_authority_is_not_trusted(connect_to: Connecting) -> None:
    with pytest.raises(ProviderCertificateUntrusted, match="ca_certificate"):
        connect_to(verify_tls=True).verify()


@pytest.fixture
def own_certificate(tmp_path: Path) -> Iterator[tuple[Vcsim, str]]:
    """A vCenter with a certificate for 127.0.0.1 alone, and that certificate."""
    certificate, key = self_signed("127.0.0.1")
    (tmp_path / "cert.pem").write_text(certificate)
    (tmp_path / "key.pem").write_text(key)
    files = ("-tlscert", str(tmp_path / "cert.pem"), "-tlskey", str(tmp_path / "key.pem"))
    simulator = Vcsim(tmp_path / "trusted", *files)
    simulator.start()
    yield simulator, certificate
    simulator.stop()


def test_a_certificate_is_trusted_when_its_authority_is_given(own_certificate: tuple[Vcsim, str]) -> None:
    vcsim, certificate = own_certificate
    hypervisor = VmwareHypervisor(connection_to(vcsim, verify_tls=True, ca_certificate=certificate))
    assert hypervisor.verify().version
    hypervisor.close()


def test_a_certificate_for_another_name_is_not_trusted(own_certificate: tuple[Vcsim, str]) -> None:
    vcsim, certificate = own_certificate
    endpoint = vcsim.endpoint.replace("127.0.0.1", "localhost")
    settings = connection_to(vcsim, verify_tls=True, ca_certificate=certificate, endpoint=endpoint)
    with pytest.raises(ProviderCertificateUntrusted, match="localhost"):
        VmwareHypervisor(settings).verify()


def test_a_vcenter_that_is_down_cannot_be_reached_and_is_used_again_when_it_is_back(bench: Bench) -> None:
    before = bench.names()
    bench.vcsim.stop()
    with pytest.raises(ProviderUnavailable, match="cannot be reached"):
        bench.hypervisor.observe_inventory()
    bench.vcsim.start()
    assert bench.names() == before


def test_each_call_late_ends_within_the_call_timeout(connect_to: Connecting, vcsim: Vcsim) -> None:
    hypervisor = connect_to(call_timeout_seconds=1.0)
    hypervisor.verify()
    vcsim.call_delay(3000)
    started_at = time.monotonic()
    with pytest.raises(ProviderTimeout, match="in time"):
        hypervisor.observe_inventory()
    assert time.monotonic() - started_at < 2.0


def test_many_calls_that_are_each_a_little_late_end_within_the_call_timeout(
    connect_to: Connecting, vcsim: Vcsim
) -> None:
    hypervisor = connect_to(call_timeout_seconds=1.0)
    vcsim.call_delay(400)
    started_at = time.monotonic()
    with pytest.raises(ProviderTimeout):
        hypervisor.observe_inventory()
    assert time.monotonic() - started_at < 2.0


def test_http_503_is_a_vcenter_that_cannot_serve_now(bench: Bench) -> None:
    bench.hypervisor.verify()
    bench.vcsim.http_status(503)
    with pytest.raises(ProviderUnavailable, match="503"):
        bench.hypervisor.observe_inventory()
    bench.vcsim.http_status(0)
    assert bench.hypervisor.observe_inventory().hosts


def test_a_session_that_ends_is_renewed_before_every_kind_of_call(bench: Bench) -> None:
    ref = bench.create("web-1")
    expire = bench.vcsim.expire_sessions
    expire()
    bench.power(ref, PowerAction.START)
    expire()
    assert bench.hypervisor.observe_machine(ref).name == "web-1"
    expire()
    assert "web-1" in bench.names()
    expire()
    assert bench.hypervisor.observe_inventory().hosts
    expire()
    assert bench.hypervisor.find_by_token(bench.marks[-1].token) is not None
    expire()
    assert bench.create("web-2")


def test_a_session_that_ends_while_tasks_are_followed_is_renewed(bench: Bench) -> None:
    bench.create("web-1")
    bench.vcsim.task_delay(1500)
    task = bench.request("web-2")
    assert bench.hypervisor.wait_tasks([task.ref], 0.3) == []
    bench.vcsim.expire_sessions()
    assert bench.end(task).state is TaskState.SUCCEEDED


@pytest.mark.parametrize("as_task", [False, True], ids=["asked", "in-the-task"])
@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("NoDiskSpace", CapacityShort),
        ("InsufficientResourcesFault", CapacityShort),
        ("HostNotConnected", HostUnavailable),
        ("NoPermission", ProviderForbidden),
        ("TaskInProgress", ProviderBusy),
    ],
)
@pytest.mark.parametrize("image", [None, "debian-12"], ids=["scratch", "clone"])
def test_a_creation_that_vcenter_refuses_leaves_nothing(
    bench: Bench, template: str, fault: str, error: type[VaiError], image: str | None, *, as_task: bool
) -> None:
    assert template == "debian-12"
    before = bench.names()
    bench.vcsim.fault("CloneVM_Task" if image else "CreateVM_Task", fault, as_task=as_task)
    if as_task:
        ended = bench.end(bench.request("web-1", image=image))
        assert (ended.state, ended.machine_ref) == (TaskState.FAILED, None)
        assert type(ended.error) is error
    else:
        with pytest.raises(error):
            bench.request("web-1", image=image)
    assert bench.names() == before
    assert bench.hypervisor.find_by_token(bench.marks[-1].token) is None
    assert bench.create("web-1", image=image)


def test_a_start_on_a_host_that_is_disconnected_names_the_host_as_the_reason(bench: Bench) -> None:
    ref = bench.create("web-1")
    host = bench.hypervisor.observe_machine(ref).host
    names = {each.ref: each.name for each in bench.hypervisor.observe_inventory().hosts}
    bench.vcsim.host_state(names[str(host)], "disconnected")
    with pytest.raises(VaiError):
        ended = bench.end(bench.hypervisor.request_power(ref, PowerAction.START))
        assert isinstance(ended.error, HostUnavailable)
        raise ended.error


def test_a_datacenter_of_another_name_is_named_with_those_that_exist(connect_to: Connecting) -> None:
    with pytest.raises(NotFound, match=r"'Paris'.*DC0"):
        connect_to(options={"datacenter": "Paris"}).verify()
    assert connect_to(options={"datacenter": "DC0"}).verify()


def test_a_folder_and_a_pool_that_do_not_exist_are_named(bench: Bench, connect_to: Connecting) -> None:
    for option in ("folder", "resource_pool"):
        bench.hypervisor = connect_to(options={option: "gone"})
        with pytest.raises(NotFound, match="gone"):
            bench.request("web-1")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"endpoint": "http://127.0.0.1"}, "endpoint"),
        ({"endpoint": "https://user:pass@127.0.0.1"}, "endpoint"),
        ({"endpoint": "https://127.0.0.1/ui"}, "endpoint"),
        ({"endpoint": "https://127.0.0.1:seven"}, "endpoint"),
        ({"credentials": {"username": "user"}}, "credentials.password"),
        ({"credentials": {"password": "pass"}}, "credentials.username"),
        ({"ca_certificate": "no certificate"}, "ca_certificate"),
        ({"options": {"guest": "x"}}, "options.guest"),
        ({"options": {"disk_controller": "ide"}}, "options.disk_controller"),
    ],
)
def test_settings_of_no_use_are_named_before_anything_is_sent(
    connect_to: Connecting, changes: dict[str, object], field: str
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        connect_to(**changes)
    assert [error["field"] for error in refused.value.errors] == [field]
