"""OpenStack behind the driver contract."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime

from vai_app.domain.datacenters import About, Connection, Inventory
from vai_app.domain.errors import Conflict, NotFound, ProviderBusy
from vai_app.domain.hypervisor import Capability, CreateRequest, Hypervisor, NativeTask, TaskObservation
from vai_app.domain.snapshots import SnapshotObservation
from vai_app.domain.statistics import Metric, Reading
from vai_app.domain.virtual_machines import MachineObservation, MachineSpec, Mark, Power, PowerAction, Size
from vai_app.drivers.openstack.asked import Verb, ask
from vai_app.drivers.openstack.catalog import Catalog
from vai_app.drivers.openstack.mapping import (
    DELETED,
    HOST,
    RESIZED,
    Row,
    is_busy,
    mark_in,
    marking,
    observation_of,
    power_of,
)
from vai_app.drivers.openstack.options import parse_options
from vai_app.drivers.openstack.projects import ProjectsHypervisor
from vai_app.drivers.openstack.session import Session
from vai_app.drivers.openstack.snapshots import ServerSnapshots
from vai_app.drivers.openstack.statistics import reading_of
from vai_app.drivers.openstack.tasks import TaskWatch
from vai_app.drivers.openstack.volumes import RootVolumes, is_on_volume

_ACTIONS: dict[PowerAction, tuple[Row, str]] = {
    PowerAction.START: ({"os-start": None}, "ACTIVE"),
    PowerAction.STOP: ({"os-stop": None}, "SHUTOFF"),
    PowerAction.SHUTDOWN: ({"os-stop": None}, "SHUTOFF"),
    PowerAction.REBOOT: ({"reboot": {"type": "SOFT"}}, "ACTIVE"),
    PowerAction.RESET: ({"reboot": {"type": "HARD"}}, "ACTIVE"),
    PowerAction.SUSPEND: ({"suspend": None}, "SUSPENDED"),
}
_RESUME: Row = {"resume": None}
_OF_ADMINISTRATORS = frozenset(
    {Capability.MIGRATE_RUNNING, Capability.MIGRATE_STOPPED, Capability.EVACUATE, Capability.STATISTICS}
)
_NEEDS_RUNNING = (PowerAction.REBOOT, PowerAction.RESET, PowerAction.SUSPEND)


def connect(connection: Connection) -> Hypervisor:
    """Return the hypervisor; the first call opens the session. Raises InvalidRequest for settings of no use."""
    if parse_options(connection.options).projects:
        return ProjectsHypervisor(connection, OpenStackHypervisor)
    return OpenStackHypervisor(connection)


class OpenStackHypervisor(Hypervisor):
    """The servers of one project."""

    capabilities = frozenset(
        {
            Capability.CREATE_FROM_IMAGE,
            Capability.CREATES_RUNNING,
            Capability.DELETES_RUNNING,
            Capability.RESIZE_STOPPED,
            *_OF_ADMINISTRATORS,
            Capability.SNAPSHOT,
            Capability.GUEST_SHUTDOWN,
            Capability.SUSPEND,
            Capability.ADOPT,
            Capability.FIXED_ADDRESSES,
            Capability.SECURITY_GROUPS,
            Capability.KEYPAIR,
            Capability.USER_DATA,
        }
    )

    def __init__(self, connection: Connection) -> None:
        """Check the settings; call nobody."""
        self._options = parse_options(connection.options)
        self._session = Session(connection, self._options)
        self._catalog = Catalog(self._session)
        self._tasks = TaskWatch(self._session)
        self._snapshots = ServerSnapshots(self._session)
        self._volumes = RootVolumes(self._session)
        if self._options.boot_from_volume:
            self.capabilities = self.capabilities - {Capability.SNAPSHOT} | {Capability.CHOOSE_DISK}

    def observe_capabilities(self) -> frozenset[Capability]:
        """Return what the account's roles allow: hosts are an administrator's."""
        return self.capabilities if self._session.is_administrator else self.capabilities - _OF_ADMINISTRATORS

    def verify(self) -> About:
        """Log in and ask Nova for one flavor, which proves that the catalogue leads to it."""
        self._session.get("compute", "/flavors", limit=1)
        if self._options.boot_from_volume:
            self._volumes.verify()
        version = self._session.get("compute", "/")["version"]
        return About(product="OpenStack Nova", version=version["version"], account=self._session.account)

    def close(self) -> None:
        """Close the sockets."""
        self._session.close()

    def request_create(self, request: CreateRequest) -> NativeTask:
        """Boot from an image; one call when the names are known. Nova makes the ports, and removes them with it."""
        spec, mark = request.spec, request.mark
        if spec.image is None:
            raise NotFound("An OpenStack machine is made from an image, and none was named.")
        server = {
            "name": spec.name,
            **self._disk(self._catalog.named("image", spec.image), spec.size),
            "metadata": marking(mark),
            "tags": [mark.token],
            "networks": self._networks(spec),
        }
        if spec.keypair is not None:
            server["key_name"] = spec.keypair
        if request.user_data is not None:
            server["user_data"] = request.user_data
        if spec.security_groups:
            server["security_groups"] = [{"name": each} for each in dict.fromkeys(spec.security_groups)]
        zone = request.location.cluster or self._options.availability_zone
        if zone is not None:
            server["availability_zone"] = zone
        made = self._session.post("compute", "/servers", {"server": server})
        return ask(Verb.CREATE, made["server"]["id"], "ACTIVE")

    def _disk(self, image: str, size: Size) -> Row:
        """Return flavor and disk of a new server: the flavor's, or a volume of any size."""
        if not self._options.boot_from_volume:
            return {"imageRef": image, "flavorRef": self._catalog.flavor_for(size).ref}
        flavor = self._catalog.flavor_for(replace(size, disk_gib=0))
        return {"flavorRef": flavor.ref, "block_device_mapping_v2": [self._volumes.wanted(image, size.disk_gib)]}

    def find_by_token(self, token: str) -> MachineObservation | None:
        """Ask Nova for the server that is tagged with it."""
        rows = self._session.get("compute", "/servers/detail", tags=token)["servers"]
        return next((seen for seen in self._seen(rows) if seen.mark and seen.mark.token == token), None)

    def request_delete(self, ref: str) -> NativeTask | None:
        """Delete it, whether it runs or not."""
        try:
            self._session.delete("compute", f"/servers/{ref}")
        except NotFound:
            return None
        return ask(Verb.DELETE, ref)

    def request_power(self, ref: str, action: PowerAction) -> NativeTask | None:
        """Ask Nova, which asks the guest where the action says so."""
        power = power_of(self._built(ref))
        if power is action.target and action not in (PowerAction.REBOOT, PowerAction.RESET):
            return None
        if action in _NEEDS_RUNNING and power is not Power.ON:
            raise Conflict(f"The machine is {power}; only one that runs can be asked to {action}. Start it first.")
        body, wanted = _ACTIONS[action]
        if action is PowerAction.START and power is Power.SUSPENDED:
            body = _RESUME
        self._session.post("compute", f"/servers/{ref}/action", body)
        return ask(Verb.POWER, ref, wanted)

    def request_resize(self, ref: str, size: Size) -> NativeTask | None:
        """Ask for a volume to grow, then for the flavor of that size; Nova's copy is confirmed when it is made."""
        server = self._resting(ref)
        now = self._size_of(server)
        wanted = Size(size.cpus, size.memory_mib, size.disk_gib or now.disk_gib)
        was_asked = server["status"] == RESIZED  # and is confirmed as soon as somebody looks
        if wanted == now and not was_asked:
            return None
        if wanted.disk_gib < now.disk_gib:
            raise Conflict(f"The disk has {now.disk_gib} GiB and cannot shrink to {wanted.disk_gib}.")
        if power_of(server) is not Power.OFF:
            raise Conflict("The machine runs, and OpenStack resizes only one that is stopped. Stop it first.")
        if is_on_volume(server):
            if wanted.disk_gib > now.disk_gib:
                return ask(Verb.EXTEND, ref, self._volumes.grow(server, wanted.disk_gib))
            wanted = replace(wanted, disk_gib=0)
        flavor = self._catalog.flavor_for(wanted)
        if not was_asked:
            self._session.post("compute", f"/servers/{ref}/action", {"resize": {"flavorRef": flavor.ref}})
        return ask(Verb.RESIZE, ref, flavor.name)

    def request_migrate(self, ref: str, host: str) -> NativeTask | None:
        """Ask for a live migration of a server that runs and a cold one, confirmed when made, of one that is off."""
        server = self._resting(ref)
        if server["status"] == RESIZED:
            return ask(Verb.MIGRATE, ref, host)  # asked for before; it is confirmed as soon as somebody looks
        power = _on_or_off(server, "moves")
        if server.get(HOST) == host:
            return None
        target = self._catalog.service_of(host)["host"]
        live: Row = {"os-migrateLive": {"host": target, "block_migration": "auto"}}
        body: Row = live if power is Power.ON else {"migrate": {"host": target}}
        self._session.post("compute", f"/servers/{ref}/action", body)
        return ask(Verb.MIGRATE, ref, host)

    def request_evacuate(self, ref: str, host: str) -> NativeTask | None:
        """Tell Nova that the host is down, which it must believe, and ask for the server to be rebuilt elsewhere."""
        server = self._resting(ref)
        now = server.get(HOST)
        if now == host:
            return None
        target = self._catalog.service_of(host)["host"]
        source = self._catalog.hypervisor(str(now))
        if source["state"] == "up":
            raise Conflict(f"Host {now} answers Nova: move the machine, it need not be evacuated.")
        self._session.put("compute", f"/os-services/{source['service']['id']}", {"forced_down": True})
        self._session.post("compute", f"/servers/{ref}/action", {"evacuate": {"host": target}})
        return ask(Verb.MIGRATE, ref, host)

    def request_snapshot(self, ref: str, name: str, mark: Mark) -> NativeTask:
        """Ask for an image of the server, whether it runs or not."""
        if is_on_volume(self._resting(ref)):
            raise Conflict("The machine boots from a volume, of which VAI takes no snapshots. Use those of Cinder.")
        return ask(Verb.SNAPSHOT, ref, self._snapshots.take(ref, name, mark))

    def list_snapshots(self, ref: str) -> list[SnapshotObservation]:
        """Ask Glance for the images that Nova made of the server."""
        return self._snapshots.of(ref)

    def request_restore(self, ref: str, snapshot_ref: str) -> NativeTask:
        """Rebuild the server from the image: it keeps its flavor, ports and metadata, and runs again if it ran."""
        _on_or_off(self._resting(ref), "restores")
        self._snapshots.require(ref, snapshot_ref)
        self._session.post("compute", f"/servers/{ref}/action", {"rebuild": {"imageRef": snapshot_ref}})
        return ask(Verb.RESTORE, ref, snapshot_ref)

    def request_delete_snapshot(self, ref: str, snapshot_ref: str) -> NativeTask | None:  # noqa: ARG002 - ids are unique
        """Delete the image; Glance does it at once."""
        self._snapshots.delete(snapshot_ref)
        return None

    def observe_statistics(self, refs: Collection[str], metrics: Collection[Metric]) -> list[Reading]:
        """Ask for each server's diagnostics; Nova has no call for many."""
        found = (self._diagnosed(ref) for ref in refs)
        return [each.only(metrics) for each in found if each is not None]

    def request_mark(self, ref: str, mark: Mark) -> NativeTask | None:
        """Write the mark into the metadata, and tag the server with its token."""
        if mark_in(self._server(ref)["metadata"]) == mark:
            return None
        self._session.put("compute", f"/servers/{ref}/tags/{mark.token}")
        self._session.post("compute", f"/servers/{ref}/metadata", {"metadata": marking(mark)})
        return ask(Verb.MARK, ref, mark.token)

    def observe_machine(self, ref: str) -> MachineObservation:
        """Read the server."""
        server = self._server(ref)
        return observation_of(server, self._volumes.sizes([server]))

    def list_machines(self) -> Iterator[MachineObservation]:
        """Read all servers of the project, page by page."""
        return iter(self._seen(self._session.pages("compute", "/servers/detail", "servers")))

    def wait_tasks(self, refs: Collection[str], timeout_seconds: float) -> list[TaskObservation]:
        """Look at all in one list, each half second until the timeout."""
        return self._tasks.wait(refs, timeout_seconds)

    def observe_inventory(self) -> Inventory:
        """Read what the cloud has."""
        return self._catalog.inventory()

    def _diagnosed(self, ref: str) -> Reading | None:
        try:
            diagnostics = self._session.get("compute", f"/servers/{ref}/diagnostics")
        except (NotFound, Conflict, ProviderBusy):  # it is gone, off, or between the two
            return None
        return reading_of(ref, diagnostics, datetime.now(UTC))

    def _seen(self, rows: Iterable[Row]) -> list[MachineObservation]:
        servers = [row for row in rows if row["status"] not in DELETED]
        on_volumes = self._volumes.sizes(servers)
        return [observation_of(row, on_volumes) for row in servers]

    def _size_of(self, server: Row) -> Size:
        return observation_of(server, self._volumes.sizes([server])).size

    def _server(self, ref: str) -> Row:
        server: Row = self._session.get("compute", f"/servers/{ref}")["server"]
        if server["status"] in DELETED:
            # Nova shows it for a moment when it has removed it.
            message = f"OpenStack has no machine {ref} any more."
            raise NotFound(message)
        return server

    def _built(self, ref: str) -> Row:
        """Return a server that Nova has made: of one that it is making it denies all knowledge when asked to act."""
        server = self._server(ref)
        if server["status"] == "BUILD":
            raise ProviderBusy("The machine is still being made.")
        return server

    def _resting(self, ref: str) -> Row:
        """Return a server that Nova does nothing with: what it does may have been asked for, and its answer lost."""
        server = self._built(ref)
        if is_busy(server):
            raise ProviderBusy("Nova is working on the machine.")
        return server

    def _networks(self, spec: MachineSpec) -> str | list[Row]:
        names = spec.networks or ((self._options.default_network,) if self._options.default_network else ())
        fixed = {each.network: {"fixed_ip": each.address} for each in spec.fixed_addresses}
        return [{"uuid": self._catalog.named("network", name), **fixed.get(name, {})} for name in names] or "none"


def _on_or_off(server: Row, does: str) -> Power:
    """Return the power of a server; raise Conflict for one that is suspended, with which Nova does little."""
    power = power_of(server)
    if power not in (Power.ON, Power.OFF):
        raise Conflict(f"The machine is {power}; OpenStack {does} one that runs or is off. Start or stop it first.")
    return power
