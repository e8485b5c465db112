"""What a machine is to be, as vSphere's specifications; pure."""

import uuid
from collections.abc import Sequence
from copy import copy
from typing import Any

from pyVmomi import vim

from vai_app.domain.errors import Conflict
from vai_app.domain.hypervisor import CreateRequest
from vai_app.domain.identifiers import uuid_of
from vai_app.domain.virtual_machines import Mark, Size
from vai_app.drivers.vmware.catalog import Catalog, Target
from vai_app.drivers.vmware.mapping import MACHINE_KEY, TOKEN_KEY
from vai_app.drivers.vmware.options import Options

USER_DATA_KEY = "guestinfo.userdata"
_KIB_PER_GIB = 1 << 20
_CONTROLLER_KEY = 1000
_TOKENS = uuid.UUID("6f1c3f0e-6a3c-4d3b-9a55-0d6c9b5d4f10")

Operation = vim.vm.device.VirtualDeviceSpec.Operation


def instance_uuid_of(token: str) -> str:
    """Return the UUID under which vCenter finds a machine with this token."""
    try:
        return str(uuid_of(token))
    except ValueError:
        return str(uuid.uuid5(_TOKENS, token))


def extra_config_of(mark: Mark) -> list[vim.option.OptionValue]:
    """Return the mark as extra configuration."""
    return [
        vim.option.OptionValue(key=MACHINE_KEY, value=mark.machine_id),
        vim.option.OptionValue(key=TOKEN_KEY, value=mark.token),
    ]


def clone_spec(
    request: CreateRequest, target: Target, catalog: Catalog, template: vim.vm.ConfigInfo
) -> vim.vm.CloneSpec:
    """Return how a template becomes the machine. Raises NotFound for a network, Conflict for a disk that shrinks."""
    location = vim.vm.RelocateSpec(pool=vim.ResourcePool(target.pool, None))
    if target.host is not None:
        location.host = vim.HostSystem(target.host, None)
    if target.datastore:
        location.datastore = vim.Datastore(target.datastore, None)
    config = _common(request, catalog.options)
    config.deviceChange = _nic_changes(request.spec.networks, catalog, template.hardware.device)
    if request.spec.size.disk_gib:
        growth = disk_growth(template.hardware.device, request.spec.size.disk_gib)
        config.deviceChange += [] if growth is None else [growth]
    return vim.vm.CloneSpec(location=location, config=config, powerOn=False, template=False)


def create_spec(request: CreateRequest, target: Target, catalog: Catalog) -> vim.vm.ConfigSpec:
    """Return a machine made from scratch. Raises NotFound for a network."""
    options = catalog.options
    config = _common(request, options)
    config.name = request.spec.name
    config.guestId = options.guest_id
    config.firmware = options.firmware
    config.files = vim.vm.FileInfo(vmPathName=f"[{target.datastore_name}]")
    networks = request.spec.networks or ((options.default_network,) if options.default_network else ())
    config.deviceChange = [_added(_nic(index, name, catalog)) for index, name in enumerate(networks)]
    if request.spec.size.disk_gib:
        config.deviceChange += _new_disk(request.spec.size.disk_gib, options)
    return config


def resize_spec(now: Size, wanted: Size, growth: vim.vm.device.VirtualDeviceSpec | None) -> vim.vm.ConfigSpec | None:
    """Return what changes from ``now`` (its disk aside), ``None`` for nothing."""
    changes: dict[str, Any] = {}
    if wanted.cpus != now.cpus:
        changes["numCPUs"] = wanted.cpus
    if wanted.memory_mib != now.memory_mib:
        changes["memoryMB"] = wanted.memory_mib
    if growth is not None:
        changes["deviceChange"] = [growth]
    return vim.vm.ConfigSpec(**changes) if changes else None


def disk_growth(
    devices: Sequence[vim.vm.device.VirtualDevice], disk_gib: int
) -> vim.vm.device.VirtualDeviceSpec | None:
    """Return how the first disk grows, ``None`` when it has the size. Raises Conflict when it would shrink."""
    disks = [device for device in devices if isinstance(device, vim.vm.device.VirtualDisk)]
    if not disks:
        raise Conflict("The machine has no disk that could grow. Ask with disk_gib 0, or add a disk in vCenter.")
    disk = min(disks, key=lambda each: each.key)
    has_gib = -(-disk.capacityInKB // _KIB_PER_GIB)
    if disk_gib == has_gib:
        return None
    if disk_gib < has_gib:
        raise Conflict(f"The disk has {has_gib} GiB and cannot shrink to {disk_gib}. Ask for at least {has_gib} GiB.")
    larger = copy(disk)
    larger.capacityInKB = disk_gib * _KIB_PER_GIB
    larger.capacityInBytes = None  # vCenter would believe this one rather than the other
    return vim.vm.device.VirtualDeviceSpec(operation=Operation.edit, device=larger)


def _common(request: CreateRequest, options: Options) -> vim.vm.ConfigSpec:
    return vim.vm.ConfigSpec(
        numCPUs=request.spec.size.cpus,
        memoryMB=request.spec.size.memory_mib,
        instanceUuid=instance_uuid_of(request.mark.token),
        extraConfig=[*extra_config_of(request.mark), *_guest_info(request.user_data)],
        cpuHotAddEnabled=options.hot_add,
        memoryHotAddEnabled=options.hot_add,
    )


def _guest_info(user_data: str | None) -> list[vim.option.OptionValue]:
    """Return user data as cloud-init's data source for VMware reads it."""
    if user_data is None:
        return []
    return [
        vim.option.OptionValue(key=USER_DATA_KEY, value=user_data),
        vim.option.OptionValue(key=f"{USER_DATA_KEY}.encoding", value="base64"),
    ]


def _nic_changes(
    networks: Sequence[str], catalog: Catalog, devices: Sequence[vim.vm.device.VirtualDevice]
) -> list[vim.vm.device.VirtualDeviceSpec]:
    """Plug the template's NICs into the networks, in order; add NICs that it lacks, remove those left over."""
    if not networks:
        return []
    nics = [device for device in devices if isinstance(device, vim.vm.device.VirtualEthernetCard)]
    changes = []
    for nic, name in zip(nics, networks, strict=False):
        edited = copy(nic)
        edited.backing = catalog.network_backing(name)
        edited.connectable = _connected()
        edited.addressType, edited.macAddress = "generated", None  # the template keeps its address for itself
        changes.append(vim.vm.device.VirtualDeviceSpec(operation=Operation.edit, device=edited))
    changes += [
        vim.vm.device.VirtualDeviceSpec(operation=Operation.remove, device=nic) for nic in nics[len(networks) :]
    ]
    missing = networks[len(nics) :]
    return changes + [_added(_nic(index, name, catalog)) for index, name in enumerate(missing)]


def _nic(index: int, network: str, catalog: Catalog) -> vim.vm.device.VirtualEthernetCard:
    return vim.vm.device.VirtualVmxnet3(
        key=-100 - index, backing=catalog.network_backing(network), connectable=_connected(), addressType="generated"
    )


def _connected() -> vim.vm.device.VirtualDevice.ConnectInfo:
    return vim.vm.device.VirtualDevice.ConnectInfo(startConnected=True, allowGuestControl=True, connected=True)


def _new_disk(disk_gib: int, options: Options) -> list[vim.vm.device.VirtualDeviceSpec]:
    pvscsi = options.disk_controller == "pvscsi"
    kind = vim.vm.device.ParaVirtualSCSIController if pvscsi else vim.vm.device.VirtualLsiLogicController
    controller = kind(key=_CONTROLLER_KEY, busNumber=0, sharedBus=vim.vm.device.VirtualSCSIController.Sharing.noSharing)
    backing = vim.vm.device.VirtualDisk.FlatVer2BackingInfo(
        diskMode=vim.vm.device.VirtualDiskOption.DiskMode.persistent,
        thinProvisioned=options.thin_provisioned,
        fileName="",
    )
    disk = vim.vm.device.VirtualDisk(
        key=-1, controllerKey=_CONTROLLER_KEY, unitNumber=0, backing=backing, capacityInKB=disk_gib * _KIB_PER_GIB
    )
    return [_added(controller), _added(disk, vim.vm.device.VirtualDeviceSpec.FileOperation.create)]


def _added(
    device: vim.vm.device.VirtualDevice, file_operation: vim.vm.device.VirtualDeviceSpec.FileOperation | None = None
) -> vim.vm.device.VirtualDeviceSpec:
    return vim.vm.device.VirtualDeviceSpec(operation=Operation.add, fileOperation=file_operation, device=device)
