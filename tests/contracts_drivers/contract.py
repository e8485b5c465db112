"""What every driver promises, as tests: each sentence of ``vai_app/domain/hypervisor.py``, over real objects.

A driver that lacks a capability does not have the tests of it; nothing is skipped at run time.
"""

import base64
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, TypeVar

import pytest

from tests.contracts_drivers.site import PATIENCE_SECONDS, Site, a_mark
from vai_app.domain.datacenters import HostState
from vai_app.domain.errors import (
    CapacityShort,
    Conflict,
    HostUnavailable,
    InvalidRequest,
    NameTaken,
    NotFound,
    ProviderAuthenticationFailed,
)
from vai_app.domain.hypervisor import Capability, TaskState
from vai_app.domain.statistics import Metric
from vai_app.domain.virtual_machines import Location, Making, Power, PowerAction

T = TypeVar("T", bound=Callable[..., Any])


def needs(*capabilities: Capability) -> Callable[[T], T]:
    """Mark a test as one for drivers that declare all of these."""

    def mark(test: T) -> T:
        test.needs = frozenset(capabilities)  # type: ignore[attr-defined]
        return test

    return mark


def lacks(capability: Capability) -> Callable[[T], T]:
    """Mark a test as one for drivers that do not declare this."""

    def mark(test: T) -> T:
        test.lacks = capability  # type: ignore[attr-defined]
        return test

    return mark


class HypervisorContract:
    """Inherit, declare ``capabilities`` as the driver does, and provide the fixture ``site``."""

    capabilities: ClassVar[Collection[Capability]] = frozenset()
    only: ClassVar[Collection[Capability]] = frozenset()  # where set, the tests that need one of these alone

    def __init_subclass__(cls) -> None:
        """Take away what the driver does not declare."""
        for name in dir(HypervisorContract):
            test = getattr(HypervisorContract, name)
            wanted, unwanted = getattr(test, "needs", frozenset()), getattr(test, "lacks", None)
            left_out = cls.only and name.startswith("test_") and not wanted & frozenset(cls.only)
            if left_out or not wanted <= frozenset(cls.capabilities) or unwanted in cls.capabilities:
                setattr(cls, name, None)

    # Being there

    def test_the_driver_declares_what_this_suite_holds_it_to(self, site: Site) -> None:
        assert site.hypervisor.observe_capabilities() == frozenset(self.capabilities)

    @pytest.mark.spec(3)
    def test_a_verified_connection_tells_what_answers_and_as_whom(self, site: Site) -> None:
        about = site.hypervisor.verify()
        assert all((about.product, about.version, about.account))

    @pytest.mark.spec(3)
    def test_wrong_credentials_are_refused_as_such(self, site: Site) -> None:
        stranger = site.connect(username="nobody", password="wrong")
        with pytest.raises(ProviderAuthenticationFailed):
            stranger.verify()
        stranger.close()

    def test_a_connection_may_be_closed_twice(self, site: Site) -> None:
        other = site.connect()
        other.verify()
        other.close()
        other.close()

    # Creating

    @needs(Capability.CREATE_FROM_IMAGE)
    def test_a_machine_is_made_as_asked_and_is_off_unless_the_driver_says_otherwise(self, site: Site) -> None:
        mark = a_mark()
        ended = site.end(site.request("web-1", mark=mark))
        seen = site.seen(str(ended.machine_ref))
        power = Power.ON if Capability.CREATES_RUNNING in self.capabilities else Power.OFF
        assert (seen.name, seen.power, seen.mark, seen.making) == ("web-1", power, mark, Making.MADE)
        assert (seen.size.cpus, seen.size.memory_mib) == (site.small.cpus, site.small.memory_mib)
        assert seen.networks == site.networks[:1]

    @needs(Capability.CREATES_RUNNING)
    def test_a_new_machine_runs_without_being_started(self, site: Site) -> None:
        ref = str(site.end(site.request("web-1")).machine_ref)
        site.power(ref, PowerAction.START)
        assert site.seen(ref).power is Power.ON

    @needs(Capability.CREATE_FROM_SCRATCH)
    def test_a_machine_is_made_from_scratch_with_its_disk(self, site: Site) -> None:
        ref = site.create("web-1", image=None)
        assert site.seen(ref).size == site.small

    def test_a_machine_may_have_several_networks_in_order(self, site: Site) -> None:
        ref = site.create("web-1", networks=site.networks[:2])
        assert site.seen(ref).networks == site.networks[:2]

    @needs(Capability.FIXED_ADDRESSES)
    def test_a_machine_has_the_address_that_was_asked_for(self, site: Site) -> None:
        asked = site.free_address()
        ref = site.create("web-1", networks=(asked.network,), fixed_addresses=(asked,))
        site.power(ref, PowerAction.START)
        assert site.seen(ref).addresses == (asked.address,)

    @needs(Capability.SECURITY_GROUPS)
    def test_a_machine_is_in_the_security_groups_that_were_asked_for(self, site: Site) -> None:
        group = site.new_security_group()
        assert site.security_groups_of(site.create("web-1", security_groups=(group,))) == {group}
        assert isinstance(site.error_of_create("web-2", security_groups=("gone",)), InvalidRequest | NotFound)

    @needs(Capability.KEYPAIR)
    def test_a_machine_has_the_key_pair_that_was_asked_for(self, site: Site) -> None:
        name = site.new_keypair()
        assert site.keypair_of(site.create("web-1", keypair=name)) == name
        assert isinstance(site.error_of_create("web-2", keypair="gone"), InvalidRequest | NotFound)

    @needs(Capability.USER_DATA)
    def test_a_machine_is_told_the_user_data_that_was_given(self, site: Site) -> None:
        user_data = base64.b64encode("#cloud-config\npassword: grüße & <>\n".encode()).decode()
        assert site.user_data_of(site.create("web-1", user_data=user_data)) == user_data
        assert site.user_data_of(site.create("web-2")) is None

    @needs(Capability.UNIQUE_NAMES)
    def test_a_taken_name_is_refused_and_its_bearer_left_alone(self, site: Site) -> None:
        ref = site.create("web-1")
        before, second = site.seen(ref), a_mark()
        assert isinstance(site.error_of_create("web-1", mark=second), NameTaken)
        assert site.seen(ref) == before
        assert site.hypervisor.find_by_token(second.token) is None
        assert [each.name for each in site.hypervisor.list_machines()].count("web-1") == 1

    @pytest.mark.parametrize("spec", [{"image": "gone"}, {"networks": ("gone",)}], ids=["image", "network"])
    def test_what_does_not_exist_is_not_found_and_nothing_is_made(self, site: Site, spec: dict[str, Any]) -> None:
        mark = a_mark()
        error = site.error_of_create("web-1", mark=mark, **spec)
        assert isinstance(error, NotFound)
        assert "gone" in error.detail
        assert site.hypervisor.find_by_token(mark.token) is None

    def test_more_memory_than_any_host_has_is_a_lack_of_capacity(self, site: Site) -> None:
        assert isinstance(site.error_of_making_it_run("web-1", size=site.huge), CapacityShort)

    # Choosing where

    @needs(Capability.CHOOSE_HOST)
    def test_a_machine_goes_to_the_host_that_was_asked_for(self, site: Site) -> None:
        for number, host in enumerate(site.hypervisor.observe_inventory().hosts):
            for how in (host.ref, host.name):
                ref = site.create(f"web-{number}-{how == host.ref:d}", location=Location(host=how))
                assert site.seen(ref).host == host.ref

    @needs(Capability.CHOOSE_HOST)
    def test_a_host_that_does_not_exist_is_not_found(self, site: Site) -> None:
        assert isinstance(site.error_of_create("web-1", location=Location(host="gone")), NotFound)

    @needs(Capability.CHOOSE_DATASTORE)
    def test_a_datastore_is_found_or_named(self, site: Site) -> None:
        store = site.hypervisor.observe_inventory().datastores[-1]
        site.create("web-1", location=Location(datastore=store.name))
        assert isinstance(site.error_of_create("web-2", location=Location(datastore="gone")), NotFound)

    @needs(Capability.CHOOSE_DISK)
    def test_a_disk_has_the_size_that_was_asked_for(self, site: Site) -> None:
        for disk_gib in (site.small.disk_gib + 1, site.small.disk_gib + 6):
            ref = site.create(f"web-{disk_gib}", size=replace(site.small, disk_gib=disk_gib))
            assert site.seen(ref).size == replace(site.small, disk_gib=disk_gib)

    @needs(Capability.CHOOSE_HOST, Capability.HOST_STATES)
    def test_a_host_that_fails_is_seen_and_runs_no_machine(self, site: Site) -> None:
        host = site.hypervisor.observe_inventory().hosts[0]
        site.fail_host(host.ref)
        states = {each.ref: each.state for each in site.hypervisor.observe_inventory().hosts}
        assert states[host.ref] is HostState.DOWN
        assert all(state is HostState.UP for ref, state in states.items() if ref != host.ref)
        assert isinstance(site.error_of_making_it_run("web-1", location=Location(host=host.ref)), HostUnavailable)

    # Exactly one

    def test_a_machine_is_found_by_its_token_and_only_by_it(self, site: Site) -> None:
        mark = a_mark()
        ref = site.create("web-1", mark=mark)
        found = site.hypervisor.find_by_token(mark.token)
        assert found == site.seen(ref)
        assert site.hypervisor.find_by_token(a_mark().token) is None

    @needs(Capability.ADOPT)
    def test_an_adopted_machine_bears_the_mark_and_is_found_by_it(self, site: Site) -> None:
        ref, mark = site.stranger(), a_mark()
        assert site.seen(ref).mark is None
        site.end(site.hypervisor.request_mark(ref, mark))
        assert site.hypervisor.request_mark(ref, mark) is None
        assert site.seen(ref).mark == mark
        found = site.hypervisor.find_by_token(mark.token)
        assert found is not None
        assert found.ref == ref

    # Power

    def test_a_machine_starts_once_and_stops_once(self, site: Site) -> None:
        ref = site.create("web-1")
        for action, power in ((PowerAction.START, Power.ON), (PowerAction.STOP, Power.OFF)):
            assert site.end(site.hypervisor.request_power(ref, action)).state is TaskState.SUCCEEDED
            assert site.seen(ref).power is power
            site.power(ref, action)  # asked again, it is done already
            assert site.seen(ref).power is power

    @needs(Capability.GUEST_SHUTDOWN)
    def test_a_guest_that_is_asked_to_shut_down_is_off_in_the_end(self, site: Site) -> None:
        ref = site.create("web-1")
        site.power(ref, PowerAction.START)
        site.power(ref, PowerAction.SHUTDOWN)
        assert site.seen(ref).power is Power.OFF

    @needs(Capability.SUSPEND)
    def test_a_machine_is_suspended_and_started_again(self, site: Site) -> None:
        ref = site.create("web-1")
        site.power(ref, PowerAction.START)
        site.power(ref, PowerAction.SUSPEND)
        assert site.seen(ref).power is Power.SUSPENDED
        site.power(ref, PowerAction.START)
        assert site.seen(ref).power is Power.ON

    @pytest.mark.parametrize("action", [PowerAction.REBOOT, PowerAction.RESET], ids=str)
    def test_a_machine_that_is_started_anew_runs(self, site: Site, action: PowerAction) -> None:
        ref = site.create("web-1")
        site.power(ref, PowerAction.START)
        site.power(ref, action)
        assert site.seen(ref).power is Power.ON

    @pytest.mark.parametrize("action", [PowerAction.REBOOT, PowerAction.RESET], ids=str)
    def test_what_needs_a_running_machine_is_refused_for_one_that_is_off(self, site: Site, action: PowerAction) -> None:
        ref = site.create("web-1")
        with pytest.raises(Conflict):
            site.hypervisor.request_power(ref, action)

    # Size

    @needs(Capability.RESIZE_STOPPED)
    def test_a_stopped_machine_gets_another_size(self, site: Site) -> None:
        ref = site.create("web-1")
        site.resize(ref, site.larger)
        assert site.seen(ref).size == site.larger
        assert site.seen(ref).power is Power.OFF
        assert site.hypervisor.request_resize(ref, site.larger) is None
        assert site.hypervisor.request_resize(ref, replace(site.larger, disk_gib=0)) is None

    @needs(Capability.RESIZE_STOPPED)
    def test_a_disk_never_shrinks(self, site: Site) -> None:
        ref = site.create("web-1", size=site.larger)
        with pytest.raises(Conflict, match="shrink"):
            site.hypervisor.request_resize(ref, replace(site.larger, disk_gib=site.larger.disk_gib - 1))
        assert site.seen(ref).size == site.larger

    @needs(Capability.RESIZE_RUNNING)
    def test_a_running_machine_grows_and_goes_on_running(self, site: Site) -> None:
        ref = site.create("web-1")
        site.power(ref, PowerAction.START)
        site.resize(ref, replace(site.larger, disk_gib=0))
        seen = site.seen(ref)
        wanted = (site.larger.cpus, site.larger.memory_mib, Power.ON)
        assert (seen.size.cpus, seen.size.memory_mib, seen.power) == wanted

    # Deleting

    def test_a_stopped_machine_is_deleted_and_a_missing_one_is_deleted_already(self, site: Site) -> None:
        mark = a_mark()
        ref = site.create("web-1", mark=mark)
        assert site.end(site.hypervisor.request_delete(ref)).state is TaskState.SUCCEEDED
        assert site.hypervisor.request_delete(ref) is None
        assert site.hypervisor.find_by_token(mark.token) is None
        assert ref not in {each.ref for each in site.hypervisor.list_machines()}
        assert site.create("web-1")  # the name is free again

    @needs(Capability.DELETES_RUNNING)
    def test_a_running_machine_is_deleted_as_it_is(self, site: Site) -> None:
        ref = site.create("web-1")
        site.power(ref, PowerAction.START)
        assert site.end(site.hypervisor.request_delete(ref)).state is TaskState.SUCCEEDED
        assert site.hypervisor.request_delete(ref) is None

    @lacks(Capability.DELETES_RUNNING)
    def test_a_running_machine_is_not_deleted(self, site: Site) -> None:
        ref = site.create("web-1")
        site.power(ref, PowerAction.START)
        assert isinstance(site.error_of(lambda: site.hypervisor.request_delete(ref)), Conflict)
        assert site.seen(ref).power is Power.ON

    @needs(Capability.MIGRATE_STOPPED)
    def test_a_stopped_machine_moves_to_another_host_and_stays_off(self, site: Site) -> None:
        ref = site.create("web-1")
        host = site.another_host(ref)
        assert site.end(site.hypervisor.request_migrate(ref, host)).error is None
        assert (site.seen(ref).host, site.seen(ref).power) == (host, Power.OFF)
        assert site.hypervisor.request_migrate(ref, host) is None

    @needs(Capability.MIGRATE_RUNNING)
    def test_a_running_machine_moves_to_another_host_and_goes_on_running(self, site: Site) -> None:
        ref = site.create("web-1")
        site.power(ref, PowerAction.START)
        host = site.another_host(ref)
        assert site.end(site.hypervisor.request_migrate(ref, host)).error is None
        assert (site.seen(ref).host, site.seen(ref).power) == (host, Power.ON)

    @needs(Capability.MIGRATE_STOPPED)
    def test_a_machine_does_not_move_to_a_host_that_is_not_there(self, site: Site) -> None:
        ref = site.create("web-1")
        before = site.seen(ref).host
        assert isinstance(site.error_of(lambda: site.hypervisor.request_migrate(ref, "gone")), NotFound)
        assert site.seen(ref).host == before

    @needs(Capability.EVACUATE)
    def test_a_machine_of_a_dead_host_is_made_anew_on_another_and_can_run_there(self, site: Site) -> None:
        ref = site.create_on_a_host_that_may_fail("web-1")
        site.power(ref, PowerAction.START)
        mark, dead = site.seen(ref).mark, str(site.seen(ref).host)
        host = site.another_host(ref)
        with pytest.raises(Conflict):
            site.hypervisor.request_evacuate(ref, host)  # its own is up
        site.fail_host(dead)
        try:
            error = site.end(site.hypervisor.request_evacuate(ref, host)).error
            assert error is None, error
            assert (site.seen(ref).host, site.seen(ref).mark) == (host, mark)
            assert site.hypervisor.request_evacuate(ref, host) is None
            site.power(ref, PowerAction.START)
            assert site.seen(ref).power is Power.ON
        finally:
            site.restore_host(dead)
        assert site.seen(ref).host == host

    # Snapshots

    @needs(Capability.SNAPSHOT)
    def test_a_snapshot_bears_its_mark_and_is_listed_with_its_machine(self, site: Site) -> None:
        ref, other = site.create("web-1"), site.create("web-2")
        site.power(ref, PowerAction.START)
        assert site.hypervisor.list_snapshots(ref) == []
        marks = [a_mark(), a_mark()]
        for name, mark in zip(("first", "second"), marks, strict=True):
            site.take(ref, name, mark)
        seen = site.hypervisor.list_snapshots(ref)
        assert [(each.name, each.mark, each.making) for each in seen] == [
            ("first", marks[0], Making.MADE),
            ("second", marks[1], Making.MADE),
        ]
        age = datetime.now(UTC) - seen[1].taken_at
        assert timedelta(seconds=-10) < age < timedelta(seconds=PATIENCE_SECONDS)
        assert site.seen(ref).power is Power.ON
        assert site.hypervisor.list_snapshots(other) == []

    @needs(Capability.SNAPSHOT)
    def test_a_snapshot_is_no_image_whatever_its_name(self, site: Site) -> None:
        site.take(site.create("web-1"), site.image, a_mark())
        assert [each.name for each in site.hypervisor.observe_inventory().images].count(site.image) == 1
        site.create("web-2")

    @needs(Capability.SNAPSHOT)
    def test_a_machine_is_restored_to_the_snapshot_that_was_chosen_and_keeps_all_others(self, site: Site) -> None:
        ref = site.create("web-1")
        former, later = site.take(ref, "former"), site.take(ref, "later")
        before = site.seen(ref)
        for snapshot in (former, later, former):
            assert site.end(site.hypervisor.request_restore(ref, snapshot)).error is None
            assert site.restored_to(ref) == snapshot
        site.power(ref, PowerAction.STOP)
        assert site.seen(ref) == before
        assert [each.ref for each in site.hypervisor.list_snapshots(ref)] == [former, later]
        site.power(ref, PowerAction.START)
        assert site.seen(ref).power is Power.ON

    @needs(Capability.SNAPSHOT)
    def test_a_machine_that_runs_is_restored(self, site: Site) -> None:
        ref = site.create("web-1")
        site.power(ref, PowerAction.START)
        snapshot = site.take(ref, "running")
        assert site.end(site.hypervisor.request_restore(ref, snapshot)).error is None
        assert site.restored_to(ref) == snapshot
        site.power(ref, PowerAction.START)
        assert site.seen(ref).power is Power.ON

    @needs(Capability.RESTORES_SIZE)
    def test_a_restored_machine_has_the_size_that_it_had(self, site: Site) -> None:
        ref = site.create("web-1")
        snapshot = site.take(ref, "small")
        site.resize(ref, replace(site.larger, disk_gib=0))
        assert site.seen(ref).size.memory_mib == site.larger.memory_mib
        site.end(site.hypervisor.request_restore(ref, snapshot))
        assert site.seen(ref).size == site.small

    @needs(Capability.SNAPSHOT, Capability.RESIZE_STOPPED)
    @lacks(Capability.RESTORES_SIZE)
    def test_a_restored_machine_has_the_size_that_it_has(self, site: Site) -> None:
        ref = site.create("web-1")
        snapshot = site.take(ref, "small")
        site.resize(ref, site.larger)
        assert site.end(site.hypervisor.request_restore(ref, snapshot)).error is None
        assert site.seen(ref).size == site.larger

    @needs(Capability.SNAPSHOT)
    def test_one_snapshot_is_deleted_and_a_missing_one_is_deleted_already(self, site: Site) -> None:
        ref = site.create("web-1")
        first, middle, last = (site.take(ref, name) for name in ("first", "middle", "last"))
        site.delete_snapshot(ref, middle)
        assert [each.ref for each in site.hypervisor.list_snapshots(ref)] == [first, last]
        assert site.hypervisor.request_delete_snapshot(ref, middle) is None
        assert site.end(site.hypervisor.request_restore(ref, last)).error is None
        assert site.restored_to(ref) == last

    @needs(Capability.SNAPSHOT)
    def test_a_machine_is_not_restored_to_a_snapshot_of_another(self, site: Site) -> None:
        ref, other = site.create("web-1"), site.create("web-2")
        snapshot = site.take(other, "others")
        for wrong in (snapshot, "gone"):
            assert isinstance(site.error_of(lambda wrong=wrong: site.hypervisor.request_restore(ref, wrong)), NotFound)
        assert site.restored_to(ref) is None

    @needs(Capability.SNAPSHOT)
    def test_snapshots_of_a_machine_that_is_gone_can_be_removed_wherever_they_outlive_it(self, site: Site) -> None:
        ref = site.create("web-1")
        site.take(ref, "left")
        assert site.end(site.hypervisor.request_delete(ref)).error is None
        with pytest.raises(NotFound):
            site.hypervisor.request_snapshot(ref, "late", a_mark())
        for left in site.hypervisor.list_snapshots(ref):
            site.delete_snapshot(ref, left.ref)
        assert site.hypervisor.list_snapshots(ref) == []

    def test_a_missing_machine_is_not_found(self, site: Site) -> None:
        ref = site.create("web-1")
        site.end(site.hypervisor.request_delete(ref))
        for ask in (
            lambda: site.hypervisor.observe_machine(ref),
            lambda: site.hypervisor.request_power(ref, PowerAction.START),
            lambda: site.hypervisor.request_resize(ref, site.larger),
            lambda: site.hypervisor.request_mark(ref, a_mark()),
        ):
            with pytest.raises(NotFound):
                ask()

    # Listing

    def test_the_list_tells_of_each_machine_what_a_single_look_tells(self, site: Site) -> None:
        running = site.create("web-1")
        site.power(running, PowerAction.START)
        site.create("web-2")
        listed = {each.ref: each for each in site.hypervisor.list_machines()}
        assert {each.name for each in listed.values()} >= {"web-1", "web-2"}
        assert listed == {ref: site.seen(ref) for ref in listed}

    def test_the_list_shows_strangers_without_a_mark_and_no_images(self, site: Site) -> None:
        stranger = site.stranger()
        listed = {each.ref: each for each in site.hypervisor.list_machines()}
        assert listed[stranger].mark is None
        assert site.image not in {each.name for each in listed.values()}

    # What machines use

    @needs(Capability.STATISTICS)
    def test_what_machines_that_run_use_is_measured_now_whatever_became_of_others(self, site: Site) -> None:
        runs, gone, off = site.create("web-1"), site.create("web-2"), site.create("web-3")
        site.power(runs, PowerAction.START)
        site.end(site.hypervisor.request_delete(gone))
        found = {each.ref: each for each in site.measured(gone, off, runs)}
        assert runs in found
        assert gone not in found
        reading = found[runs]
        assert timedelta(seconds=-10) < datetime.now(UTC) - reading.at < timedelta(seconds=PATIENCE_SECONDS)
        assert {Metric.CPU_PERCENT, Metric.MEMORY_MIB} <= reading.values.keys()
        assert 0 <= reading.values[Metric.CPU_PERCENT] <= 100
        assert reading.values[Metric.MEMORY_MIB] >= 0
        known = reading.values.keys() | reading.totals.keys()
        assert {Metric.NETWORK_RECEIVED_KIB_S, Metric.NETWORK_SENT_KIB_S, Metric.DISK_READ_KIB_S} <= known
        assert all(number >= 0 for number in (*reading.values.values(), *reading.totals.values()))

    @needs(Capability.STATISTICS)
    def test_only_what_is_asked_for_is_measured(self, site: Site) -> None:
        ref = site.create("web-1")
        site.power(ref, PowerAction.START)
        (reading,) = site.hypervisor.observe_statistics([ref], [Metric.MEMORY_MIB])
        assert (list(reading.values), reading.totals) == ([Metric.MEMORY_MIB], {})
        assert site.hypervisor.observe_statistics([], list(Metric)) == []

    @needs(Capability.STATISTICS)
    def test_what_is_counted_does_not_shrink_while_a_machine_runs(self, site: Site) -> None:
        ref = site.create("web-1")
        site.power(ref, PowerAction.START)
        (first,), (second,) = site.measured(ref), site.measured(ref)
        assert first.at <= second.at
        assert first.totals.keys() == second.totals.keys()
        assert all(second.totals[metric] >= total for metric, total in first.totals.items())

    # The inventory

    def test_the_inventory_names_what_machines_are_made_of(self, site: Site) -> None:
        inventory = site.hypervisor.observe_inventory()
        assert site.image in {image.name for image in inventory.images}
        assert set(site.networks) <= {network.name for network in inventory.networks}
        assert all(0 <= store.free_gib <= store.capacity_gib for store in inventory.datastores)

    @needs(Capability.HOST_STATES)
    def test_the_inventory_shows_hosts_with_their_capacity_and_state(self, site: Site) -> None:
        inventory = site.hypervisor.observe_inventory()
        assert inventory.hosts
        assert all(host.cpus > 0 and host.memory_mib > 0 and host.state is HostState.UP for host in inventory.hosts)

    @needs(Capability.HOST_STATES)
    def test_the_hosts_count_what_running_machines_were_given(self, site: Site) -> None:
        def used() -> tuple[int, int]:
            hosts = site.hypervisor.observe_inventory().hosts
            return sum(each.used_cpus for each in hosts), sum(each.used_memory_mib for each in hosts)

        before = used()
        site.power(site.create("web-1"), PowerAction.START)
        after = used()
        assert (after[0] - before[0], after[1] - before[1]) == (site.small.cpus, site.small.memory_mib)

    # Native tasks

    def test_a_task_is_followed_by_another_process(self, site: Site) -> None:
        task, other = site.request("web-1"), site.connect()
        ended = []
        while not ended:
            ended = other.wait_tasks([task.ref], 5.0)
        assert [(each.ref, each.state) for each in ended] == [(task.ref, TaskState.SUCCEEDED)]
        assert other.observe_machine(str(ended[0].machine_ref)).name == "web-1"
        other.close()

    def test_many_tasks_are_followed_in_one_wait_each_told_by_its_reference(self, site: Site) -> None:
        waiting = {site.request(f"web-{number}").ref for number in range(5)}
        made = []
        while waiting:
            ended = site.hypervisor.wait_tasks(waiting, 10.0)
            assert {each.ref for each in ended} <= waiting
            assert [each.error for each in ended] == [None] * len(ended)
            waiting -= {each.ref for each in ended}
            made += [each.machine_ref for each in ended]
        assert sorted(site.seen(str(ref)).name for ref in made) == [f"web-{number}" for number in range(5)]

    def test_a_look_does_not_wait(self, site: Site) -> None:
        task = site.request("web-1")
        assert site.hypervisor.wait_tasks([task.ref], 0) in ([], site.hypervisor.wait_tasks([task.ref], 0))
        site.end(task)
        assert [each.ref for each in site.hypervisor.wait_tasks([task.ref], 0)] == [task.ref]
        assert site.hypervisor.wait_tasks([], 0) == []

    def test_a_task_that_the_provider_has_forgotten_has_failed(self, site: Site) -> None:
        ended = site.hypervisor.wait_tasks(["task-999999"], 0)
        assert [(each.state, type(each.error)) for each in ended] == [(TaskState.FAILED, NotFound)]

    # Concurrency

    def test_many_threads_share_one_driver(self, site: Site) -> None:
        with ThreadPoolExecutor(8) as threads:
            refs = list(threads.map(site.create, [f"web-{number}" for number in range(site.many)]))
        assert len(set(refs)) == site.many
        assert {site.seen(ref).name for ref in refs} == {f"web-{number}" for number in range(site.many)}
