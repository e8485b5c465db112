"""What becomes of an operation when vCenter fails it: one machine or none, and a reason that a person understands."""

from collections.abc import Callable

import pytest

from tests.integration.platform.conftest import Site
from tests.lab.ports import free_port
from tests.lab.process import wait_until
from tests.lab.vai import Vai
from vai_app.cli.client import Json
from vai_app.domain.errors import VaiError

pytestmark = pytest.mark.spec(28)


def await_waiting(vai: Vai, operation: Json, word: str = "") -> None:
    """Wait until the operation says what it waits for."""

    def told() -> bool:
        waiting = vai.client.get(f"/operations/{operation['id']}")["waiting_for"]
        return waiting is not None and word in waiting["detail"]

    try:
        wait_until(told, seconds=20, what="the operation says that it waits")
    except TimeoutError as error:
        error.add_note(f"{vai.client.get('/operations/' + operation['id'])}\n{vai.condition()}")
        raise


def test_a_machine_is_made_shown_and_removed_with_nothing_left(vai: Vai, site: Site) -> None:
    made = vai.end(vai.create("web-1", site.name))
    assert made["state"] == "succeeded"
    [seen] = site.witness.machines()
    assert (seen.name, seen.machine_id, seen.powered_on) == ("web-1", made["machine_id"], True)
    shown = vai.client.get(f"/virtual-machines/{made['machine_id']}")
    assert (shown["state"], shown["observed"]["power"], shown["operation"]) == ("active", "on", None)
    removed = vai.end(vai.client.delete(f"/virtual-machines/{made['machine_id']}"))
    assert removed["state"] == "succeeded"
    assert (site.witness.machines(), site.witness.orphaned_files()) == ([], [])


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("NoDiskSpace", "no room for the machine's disks"),
        ("InsufficientResourcesFault", "No host has room for the machine"),
        ("HostNotConnected", "Reconnect it"),
    ],
)
def test_a_task_that_always_fails_ends_the_creation_with_its_reason(
    vai: Vai, site: Site, fault: str, words: str
) -> None:
    site.vcsim.fault("CreateVM_Task", fault, times=1000, as_task=True)
    ended = vai.end(vai.create(f"web-{fault.lower()}", site.name))
    assert ended["state"] in ("failed", "rejected")
    assert words in ended["problem"]["detail"]
    assert ended["residue"] == []
    assert (site.witness.machines(), site.witness.orphaned_files()) == ([], [])


def test_a_host_that_fails_once_is_passed_over_for_another(vai: Vai, site: Site) -> None:
    site.vcsim.fault("CreateVM_Task", "HostNotConnected", times=1, as_task=True)
    ended = vai.end(vai.create("web-host", site.name))
    assert ended["state"] == "succeeded"
    assert site.names() == ["web-host"]


def test_a_name_that_a_stranger_has_is_refused_and_the_stranger_left_alone(vai: Vai, site: Site) -> None:
    stranger = "web-stranger"
    site.witness.rename("DC0_C0_RP0_VM0", stranger)
    ended = vai.end(vai.create(stranger, site.name))
    assert ended["state"] in ("failed", "rejected")
    assert "Choose another name" in ended["problem"]["detail"]
    assert [seen.machine_id for seen in site.witness.machines()] == [None]

    def shown() -> list[bool]:
        found = vai.client.items("/virtual-machines", name=stranger, datacenter=site.name)
        return [each["managed"] for each in found if each["state"] == "active"]

    wait_until(lambda: shown() == [False], seconds=20, what="the stranger is listed as such")


def test_a_template_that_is_missing_is_named(vai: Vai, site: Site) -> None:
    ended = vai.end(vai.create("web-template", site.name, image="debian-99"))
    assert ended["state"] in ("failed", "rejected")
    assert "debian-99" in ended["problem"]["detail"]
    assert site.witness.machines() == []


def test_a_vcenter_that_answers_503_is_waited_for(vai: Vai, site: Site) -> None:
    site.vcsim.http_status(503)
    operation = vai.create("web-503", site.name)
    await_waiting(vai, operation)
    site.vcsim.http_status(0)
    assert vai.end(operation, seconds=90)["state"] == "succeeded"
    assert site.names() == ["web-503"]


def test_a_session_that_expires_in_the_middle_is_renewed(vai: Vai, new_site: Callable[..., Site]) -> None:
    site = new_site("-task-delay", "1000ms")
    operation = vai.create("web-session", site.name)
    wait_until(lambda: site.names() != [] or _is_creating(vai, operation), seconds=20, what="the creation is under way")
    site.vcsim.expire_sessions()
    assert vai.end(operation)["state"] == "succeeded"
    assert [seen["state"] for seen in vai.client.items("/virtual-machines", name="web-session")] == ["active"]


def test_a_vcenter_whose_calls_are_seconds_late_makes_one_machine(vai: Vai, site: Site) -> None:
    site.vcsim.call_delay(1500)
    assert vai.end(vai.create("web-slow", site.name), seconds=110)["state"] == "succeeded"
    site.vcsim.call_delay(0)
    assert site.names() == ["web-slow"]


def test_one_datacenter_that_hangs_does_not_hold_up_the_others(vai: Vai, new_site: Callable[..., Site]) -> None:
    hanging, working = new_site(call_timeout_seconds=3), new_site()
    hanging.vcsim.call_delay(600_000)
    stuck = [vai.create(f"stuck-{number}", hanging.name) for number in range(30)]
    assert vai.end(vai.create("web-free", working.name), seconds=15)["state"] == "succeeded"
    hanging.vcsim.call_delay(0)
    for operation in stuck:
        assert vai.end(operation, seconds=100)["state"] == "succeeded"
    assert len(hanging.names()) == len(stuck)


def test_a_machine_changed_or_removed_behind_vais_back_is_shown_as_such(vai: Vai, site: Site) -> None:
    made = vai.end(vai.create("web-behind", site.name))
    path = f"/virtual-machines/{made['machine_id']}"
    site.witness.power_off("web-behind")
    wait_until(lambda: vai.client.get(path)["observed"]["power"] == "off", seconds=20, what="the power is seen")
    assert vai.client.get(path)["state"] == "active"
    site.witness.destroy("web-behind")
    wait_until(lambda: vai.client.get(path)["state"] == "missing", seconds=20, what="the loss is seen")
    kinds = {event["kind"] for event in vai.client.items("/events", machine=made["machine_id"])}
    assert "machine.missing" in kinds


def test_a_strangers_machine_is_listed_adopted_and_only_then_deleted(vai: Vai, site: Site) -> None:
    name = "DC0_C0_RP0_VM1"

    def found() -> list[Json]:
        return list(vai.client.items("/virtual-machines", name=name, datacenter=site.name))

    wait_until(lambda: len(found()) == 1, seconds=20, what="the stranger is listed")
    [stranger] = found()
    assert stranger["managed"] is False
    with pytest.raises(VaiError, match="Adopt it first"):
        vai.client.delete(f"/virtual-machines/{stranger['id']}")
    adopted = vai.end(vai.client.post(f"/virtual-machines/{stranger['id']}/actions/adopt", {}))
    assert adopted["state"] == "succeeded"
    removed = vai.end(vai.client.delete(f"/virtual-machines/{stranger['id']}"))
    assert removed["state"] == "succeeded"
    assert name not in site.witness.all_names()


@pytest.mark.spec(3)
@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"credentials": {"username": "user", "password": "wrong"}}, "username|password|login|credentials"),
        ({"verify_tls": True}, "certificate"),
        ({"endpoint": "unreachable"}, "reach"),
    ],
    ids=["wrong password", "untrusted certificate", "unreachable"],
)
def test_a_datacenter_that_cannot_be_used_is_refused_with_the_way_out(
    vai: Vai, site: Site, changes: Json, problem: str
) -> None:
    if "endpoint" in changes:
        changes = {"endpoint": f"https://127.0.0.1:{free_port()}"}
    with pytest.raises(VaiError, match=rf"(?i){problem}"):
        vai.register("refused", site.vcsim, **changes)
    assert "refused" not in [each["name"] for each in vai.client.get("/datacenters")["items"]]


def _is_creating(vai: Vai, operation: Json) -> bool:
    return vai.client.get(f"/operations/{operation['id']}")["step"] == "vai.create_vm"
