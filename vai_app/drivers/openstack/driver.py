"""OpenStack behind the driver contract."""

from collections.abc import Collection, Iterator
from time import monotonic

from vai_app.domain.datacenters import About, Connection, Inventory
from vai_app.domain.errors import Conflict, NotFound, ProviderBusy, ProviderForbidden
from vai_app.domain.hypervisor import Capability, CreateRequest, Hypervisor, NativeTask, TaskObservation
from vai_app.domain.virtual_machines import MachineObservation, MachineSpec, Mark, Power, PowerAction, Size
from vai_app.drivers.openstack.mapping import (
    DELETED,
    MACHINE_KEY,
    TOKEN_KEY,
    Flavor,
    Row,
    choose_flavor,
    flavor_of,
    host_of,
    image_of,
    network_of,
    observation_of,
    power_of,
    quota_of,
)
from vai_app.drivers.openstack.options import parse_options
from vai_app.drivers.openstack.session import Session
from vai_app.drivers.openstack.tasks import TaskWatch, Verb, ask

# An image or network that got another's name is noticed this late.
_REMEMBER_SECONDS = 300.0
_ACTIONS: dict[PowerAction, tuple[Row, str]] = {
    PowerAction.START: ({"os-start": None}, "ACTIVE"),
    PowerAction.STOP: ({"os-stop": None}, "SHUTOFF"),
    PowerAction.SHUTDOWN: ({"os-stop": None}, "SHUTOFF"),
    PowerAction.REBOOT: ({"reboot": {"type": "SOFT"}}, "ACTIVE"),
    PowerAction.RESET: ({"reboot": {"type": "HARD"}}, "ACTIVE"),
    PowerAction.SUSPEND: ({"suspend": None}, "SUSPENDED"),
}
_RESUME: Row = {"resume": None}
_NEEDS_RUNNING = (PowerAction.REBOOT, PowerAction.RESET, PowerAction.SUSPEND)


def connect(connection: Connection) -> Hypervisor:
    """Return the hypervisor; the first call opens the session. Raises InvalidRequest for settings of no use."""
    return OpenStackHypervisor(connection)


class OpenStackHypervisor(Hypervisor):
    """The servers of one project."""

    capabilities = frozenset(
        {
            Capability.CREATE_FROM_IMAGE,
            Capability.CREATES_RUNNING,
            Capability.DELETES_RUNNING,
            Capability.RESIZE_STOPPED,
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
        self._tasks = TaskWatch(self._session)
        self._names: dict[str, tuple[float, dict[str, str]]] = {}
        self._flavors: tuple[float, list[Flavor]] = (0.0, [])

    def verify(self) -> About:
        """Log in and ask Nova for one flavor, which proves that the catalogue leads to it."""
        self._session.get("compute", "/flavors", limit=1)
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
            "imageRef": self._named("image", spec.image),
            "flavorRef": choose_flavor(self._known_flavors(), spec.size).ref,
            "metadata": {MACHINE_KEY: mark.machine_id, TOKEN_KEY: mark.token},
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

    def find_by_token(self, token: str) -> MachineObservation | None:
        """Ask Nova for the server that is tagged with it."""
        rows = self._session.get("compute", "/servers/detail", tags=token)["servers"]
        found = [
            seen
            for row in rows
            if row["status"] not in DELETED and (seen := observation_of(row)).mark and seen.mark.token == token
        ]
        return found[0] if found else None

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
        """Ask for the flavor of that size; the new copy is confirmed as soon as Nova has made it."""
        server = self._built(ref)
        now = observation_of(server).size
        wanted = Size(size.cpus, size.memory_mib, size.disk_gib or now.disk_gib)
        if wanted == now:
            return None
        if wanted.disk_gib < now.disk_gib:
            raise Conflict(f"The disk has {now.disk_gib} GiB and cannot shrink to {wanted.disk_gib}.")
        if power_of(server) is not Power.OFF:
            raise Conflict("The machine runs, and OpenStack resizes only one that is stopped. Stop it first.")
        flavor = choose_flavor(self._known_flavors(), wanted)
        self._session.post("compute", f"/servers/{ref}/action", {"resize": {"flavorRef": flavor.ref}})
        return ask(Verb.RESIZE, ref, flavor.name)

    def request_mark(self, ref: str, mark: Mark) -> NativeTask | None:
        """Write the mark into the metadata, and tag the server with its token."""
        if observation_of(self._server(ref)).mark == mark:
            return None
        self._session.put("compute", f"/servers/{ref}/tags/{mark.token}")
        metadata = {MACHINE_KEY: mark.machine_id, TOKEN_KEY: mark.token}
        self._session.post("compute", f"/servers/{ref}/metadata", {"metadata": metadata})
        return ask(Verb.MARK, ref, mark.token)

    def observe_machine(self, ref: str) -> MachineObservation:
        """Read the server."""
        return observation_of(self._server(ref))

    def list_machines(self) -> Iterator[MachineObservation]:
        """Read all servers of the project, page by page."""
        rows = self._session.pages("compute", "/servers/detail", "servers")
        return iter([observation_of(row) for row in rows if row["status"] not in DELETED])

    def wait_tasks(self, refs: Collection[str], timeout_seconds: float) -> list[TaskObservation]:
        """Look at all in one list, each half second until the timeout."""
        return self._tasks.wait(refs, timeout_seconds)

    def observe_inventory(self) -> Inventory:
        """Read quota, images, networks and, where the account may see them, hosts with what Placement counts."""
        hosts: list[Row] = []
        if self._session.is_administrator:
            hosts = list(self._session.pages("compute", "/os-hypervisors/detail", "hypervisors"))
        counted = self._counted() if hosts else {}
        limits = self._session.get("compute", "/limits")["limits"]["absolute"]
        nothing: tuple[dict[str, Row], dict[str, int]] = ({}, {})
        return Inventory(
            hosts=tuple(host_of(row, *counted.get(row["hypervisor_hostname"], nothing)) for row in hosts),
            networks=tuple(network_of(row) for row in self._session.pages("network", "/networks", "networks")),
            images=tuple(image_of(row) for row in self._session.pages("image", "/images", "images")),
            quota=quota_of(limits),
        )

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

    def _networks(self, spec: MachineSpec) -> str | list[Row]:
        names = spec.networks or ((self._options.default_network,) if self._options.default_network else ())
        fixed = {each.network: {"fixed_ip": each.address} for each in spec.fixed_addresses}
        return [{"uuid": self._named("network", name), **fixed.get(name, {})} for name in names] or "none"

    def _known_flavors(self) -> list[Flavor]:
        at, flavors = self._flavors
        if not flavors or monotonic() - at > _REMEMBER_SECONDS:
            flavors = [flavor_of(row) for row in self._session.pages("compute", "/flavors/detail", "flavors")]
            self._flavors = (monotonic(), flavors)
        return flavors

    def _named(self, what: str, wanted: str) -> str:
        """Return the id of an image or network by name or id; a name that is not remembered is looked up anew."""
        at, known = self._names.get(what, (0.0, {}))
        if wanted not in known or monotonic() - at > _REMEMBER_SECONDS:
            path, key = {"image": ("/images", "images"), "network": ("/networks", "networks")}[what]
            rows = list(self._session.pages(what, path, key))
            known = {row["name"]: row["id"] for row in rows} | {row["id"]: row["id"] for row in rows}
            self._names[what] = (monotonic(), known)
        if wanted not in known:
            raise NotFound(f"The cloud has no {what} {wanted!r}. 'vai datacenter inventory' lists what it has.")
        return known[wanted]

    def _counted(self) -> dict[str, tuple[dict[str, Row], dict[str, int]]]:
        """Return Placement's inventories and usages by the host's name; nothing where the account may not ask."""
        try:
            providers = self._session.get("placement", "/resource_providers")["resource_providers"]
        except ProviderForbidden:
            return {}
        return {
            each["name"]: (
                self._session.get("placement", f"/resource_providers/{each['uuid']}/inventories")["inventories"],
                self._session.get("placement", f"/resource_providers/{each['uuid']}/usages")["usages"],
            )
            for each in providers
        }
