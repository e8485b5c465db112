"""Machines of a simulated vCenter through the driver, looked at by an independent client."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from pyVmomi import vim

from tests.integration.vmware.vmware_bench import Bench, machine_of
from vai_app.domain.errors import Conflict, NameTaken, NotFound
from vai_app.domain.hypervisor import TaskState
from vai_app.domain.identifiers import uuid_of
from vai_app.domain.virtual_machines import Location, Mark, Power, PowerAction, Size
from vai_app.drivers.vmware import VmwareHypervisor

pytestmark = pytest.mark.spec(28)


def test_a_machine_from_scratch_is_what_was_asked_for(bench: Bench, vcenter: vim.ServiceInstance) -> None:
    ref = bench.create("web-1", networks=("VM Network", "DC0_DVPG0"), size=Size(3, 512, 7))
    machine = machine_of(vcenter, ref)
    assert (machine.name, machine.config.hardware.numCPU, machine.config.hardware.memoryMB) == ("web-1", 3, 512)
    assert [network.name for network in machine.network] == ["VM Network", "DC0_DVPG0"]
    disks = [each for each in machine.config.hardware.device if isinstance(each, vim.vm.device.VirtualDisk)]
    assert [disk.capacityInKB >> 20 for disk in disks] == [7]
    assert machine.runtime.powerState == "poweredOff"


def test_a_machine_bears_its_mark_and_the_uuid_of_its_token(bench: Bench, vcenter: vim.ServiceInstance) -> None:
    machine = machine_of(vcenter, bench.create("web-1"))
    options = {option.key: option.value for option in machine.config.extraConfig}
    mark = bench.marks[-1]
    assert (options["vai.machine"], options["vai.token"]) == (mark.machine_id, mark.token)
    assert machine.config.instanceUuid == str(uuid_of(mark.token))


def test_a_clone_gets_its_own_size_disk_and_networks(bench: Bench, vcenter: vim.ServiceInstance, template: str) -> None:
    ref = bench.create("web-1", image=template, size=Size(4, 1024, 9), networks=("DC0_DVPG0", "VM Network"))
    seen = bench.hypervisor.observe_machine(ref)
    assert seen.size == Size(4, 1024, 9)
    assert seen.mark == bench.marks[-1]
    nics = [
        each for each in machine_of(vcenter, ref).config.hardware.device
        if isinstance(each, vim.vm.device.VirtualEthernetCard)
    ]  # fmt: skip
    assert [type(nic.backing).__name__.rpartition(".")[2] for nic in nics] == [
        "DistributedVirtualPortBackingInfo",
        "NetworkBackingInfo",
    ]


def test_a_clone_that_asks_for_no_disk_and_no_network_has_the_templates(bench: Bench, template: str) -> None:
    seen = bench.hypervisor.observe_machine(bench.create("web-1", image=template, size=Size(1, 256)))
    assert (seen.size, seen.networks) == (Size(1, 256, 4), ("VM Network",))


def test_a_clone_leaves_its_template_as_it_was(bench: Bench, vcenter: vim.ServiceInstance, template: str) -> None:
    image = bench.hypervisor.observe_inventory().images[0]
    ref = bench.create("web-1", image=template, size=Size(1, 256, 9), networks=("DC0_DVPG0",))
    bench.end(bench.hypervisor.request_delete(ref))
    config = machine_of(vcenter, image.ref).config
    disks = [each for each in config.hardware.device if isinstance(each, vim.vm.device.VirtualDisk)]
    assert [disk.capacityInKB >> 20 for disk in disks] == [4]
    assert bench.create("web-2", image=image.ref)


def test_a_disk_smaller_than_the_templates_is_refused(bench: Bench, template: str) -> None:
    with pytest.raises(Conflict, match="cannot shrink"):
        bench.request("web-1", image=template, size=Size(1, 256, 2))


def test_a_machine_goes_where_it_was_told(bench: Bench) -> None:
    inventory = bench.hypervisor.observe_inventory()
    for host, store in zip(inventory.hosts[1:], inventory.datastores, strict=False):
        by_ref = bench.create(f"a-{host.name}", location=Location(host.cluster, host.ref, store.ref))
        by_name = bench.create(f"b-{host.name}", location=Location(host=host.name, datastore=store.name))
        for ref in (by_ref, by_name):
            assert bench.hypervisor.observe_machine(ref).host == host.ref


@pytest.mark.parametrize(
    ("what", "spec"),
    [
        ("template 'gone'", {"image": "gone"}),
        ("network 'gone'", {"networks": ("gone",)}),
        ("host 'gone'", {"location": Location(host="gone")}),
        ("cluster 'gone'", {"location": Location(cluster="gone")}),
        ("datastore 'gone'", {"location": Location(datastore="gone")}),
    ],
)
def test_what_does_not_exist_is_named(bench: Bench, what: str, spec: dict[str, object]) -> None:
    before = bench.names()
    with pytest.raises(NotFound, match=what):
        bench.request("web-1", **spec)
    assert bench.names() == before


def test_a_template_that_was_replaced_by_another_of_its_name_is_found(
    bench: Bench, vcenter: vim.ServiceInstance, template: str
) -> None:
    bench.create("web-1", image=template)
    former = bench.hypervisor.observe_inventory().images[0].ref
    machine_of(vcenter, former).Destroy_Task()
    machine_of(vcenter, bench.create("debian-12", networks=("VM Network",))).MarkAsTemplate()
    assert bench.create("web-2", image=template)


def test_a_taken_name_is_refused_and_the_stranger_left_alone(bench: Bench) -> None:
    stranger = next(iter(bench.hypervisor.list_machines()))
    ended = bench.end(bench.request(stranger.name))
    assert isinstance(ended.error, NameTaken)
    assert bench.hypervisor.observe_machine(stranger.ref) == stranger
    assert bench.hypervisor.find_by_token(bench.marks[-1].token) is None


def test_a_machine_is_found_by_its_token_also_when_its_uuid_was_changed(
    bench: Bench, vcenter: vim.ServiceInstance
) -> None:
    ref = bench.create("web-1")
    token = bench.marks[-1].token
    seen = bench.hypervisor.find_by_token(token)
    assert seen is not None
    assert seen.ref == ref
    other = "11111111-2222-3333-4444-555555555555"
    machine_of(vcenter, ref).ReconfigVM_Task(vim.vm.ConfigSpec(instanceUuid=other))
    again = bench.hypervisor.find_by_token(token)
    assert again is not None
    assert again.ref == ref


def test_an_adopted_machine_keeps_its_uuid_and_bears_the_mark(bench: Bench, vcenter: vim.ServiceInstance) -> None:
    stranger = next(iter(bench.hypervisor.list_machines()))
    before = machine_of(vcenter, stranger.ref).config.instanceUuid
    mark = Mark("vm-1", "op-0000000000000000000000000000000a")
    bench.end(bench.hypervisor.request_mark(stranger.ref, mark))
    assert bench.hypervisor.request_mark(stranger.ref, mark) is None
    assert bench.hypervisor.observe_machine(stranger.ref).mark == mark
    found = bench.hypervisor.find_by_token(mark.token)
    assert found is not None
    assert found.ref == stranger.ref
    assert machine_of(vcenter, stranger.ref).config.instanceUuid == before


def test_a_guest_that_is_asked_to_shut_down_is_followed_until_it_is_off(bench: Bench) -> None:
    ref = bench.create("web-1")
    bench.power(ref, PowerAction.START)
    task = bench.hypervisor.request_power(ref, PowerAction.SHUTDOWN)
    ended = bench.end(task)
    assert (ended.state, ended.machine_ref) == (TaskState.SUCCEEDED, ref)
    assert bench.hypervisor.observe_machine(ref).power is Power.OFF


@pytest.mark.parametrize("action", [PowerAction.REBOOT, PowerAction.RESET, PowerAction.SUSPEND], ids=str)
def test_what_needs_a_running_machine_is_refused_for_one_that_is_off(bench: Bench, action: PowerAction) -> None:
    ref = bench.create("web-1")
    with pytest.raises(Conflict, match="Start it first"):
        bench.hypervisor.request_power(ref, action)


def test_a_stopped_machine_gets_any_size_but_a_smaller_disk(bench: Bench) -> None:
    ref = bench.create("web-1", size=Size(4, 1024, 8))
    bench.end(bench.hypervisor.request_resize(ref, Size(2, 512, 16)))
    assert bench.hypervisor.observe_machine(ref).size == Size(2, 512, 16)
    assert bench.hypervisor.request_resize(ref, Size(2, 512, 16)) is None
    assert bench.hypervisor.request_resize(ref, Size(2, 512)) is None
    with pytest.raises(Conflict, match="cannot shrink"):
        bench.hypervisor.request_resize(ref, Size(2, 512, 8))


def test_a_running_machine_grows_and_does_not_shrink(bench: Bench) -> None:
    ref = bench.create("web-1", size=Size(2, 512, 4))
    bench.power(ref, PowerAction.START)
    bench.end(bench.hypervisor.request_resize(ref, Size(4, 1024, 4)))
    assert bench.hypervisor.observe_machine(ref).size == Size(4, 1024, 4)
    with pytest.raises(Conflict, match="only grow"):
        bench.hypervisor.request_resize(ref, Size(2, 1024, 4))


def test_a_running_machine_without_hot_add_is_not_resized(
    bench: Bench, connect_to: Callable[..., VmwareHypervisor]
) -> None:
    bench.hypervisor = connect_to(options={"hot_add": False})
    ref = bench.create("web-1")
    bench.power(ref, PowerAction.START)
    with pytest.raises(Conflict, match="not enabled"):
        bench.hypervisor.request_resize(ref, Size(4, 256, 4))


def test_a_running_machine_is_not_deleted_and_a_missing_one_is_deleted_already(bench: Bench) -> None:
    ref = bench.create("web-1")
    bench.power(ref, PowerAction.START)
    refused = bench.end(bench.hypervisor.request_delete(ref)).error
    assert isinstance(refused, Conflict)
    assert "Stop or start it first" in refused.detail
    bench.power(ref, PowerAction.STOP)
    assert bench.end(bench.hypervisor.request_delete(ref)).state is TaskState.SUCCEEDED
    assert bench.hypervisor.request_delete(ref) is None
    with pytest.raises(NotFound):
        bench.hypervisor.observe_machine(ref)


def test_deleting_a_machine_leaves_no_file_of_it(bench: Bench) -> None:
    def files() -> set[str]:
        return {str(path) for path in bench.datastores.rglob("*") if "web-1" in str(path)}

    ref = bench.create("web-1")
    assert files()
    bench.end(bench.hypervisor.request_delete(ref))
    assert files() == set()


def test_templates_are_images_and_no_machines(bench: Bench, template: str) -> None:
    assert template not in bench.names()
    assert [image.name for image in bench.hypervisor.observe_inventory().images] == [template]


def test_a_machine_on_a_host_that_does_not_answer_has_an_unknown_power(bench: Bench) -> None:
    ref = bench.create("web-1")
    bench.power(ref, PowerAction.START)
    before = bench.hypervisor.observe_machine(ref)
    hosts = {host.ref: host.name for host in bench.hypervisor.observe_inventory().hosts}
    bench.vcsim.host_state(hosts[str(before.host)], "notResponding")
    assert bench.hypervisor.observe_machine(ref) == replace(before, power=Power.UNKNOWN)
