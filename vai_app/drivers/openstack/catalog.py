"""What a cloud has besides servers: images, networks, flavors and hosts, of which names are remembered for a while."""

from collections import defaultdict
from collections.abc import Iterator
from time import monotonic

from vai_app.domain.datacenters import Inventory
from vai_app.domain.errors import HostUnavailable, InvalidRequest, NotFound, ProviderForbidden
from vai_app.domain.virtual_machines import Size
from vai_app.drivers.openstack.mapping import (
    Flavor,
    Row,
    choose_flavor,
    flavor_of,
    host_of,
    image_of,
    network_of,
    quota_of,
)
from vai_app.drivers.openstack.session import Session
from vai_app.drivers.openstack.snapshots import is_snapshot

# An image or network that got another's name is noticed this late.
_REMEMBER_SECONDS = 300.0


class Catalog:
    """Of the cloud that one session shows."""

    def __init__(self, session: Session) -> None:
        """Ask nothing yet."""
        self._session = session
        self._names: dict[str, tuple[float, dict[str, set[str]]]] = {}
        self._flavors: tuple[float, list[Flavor]] = (0.0, [])

    def named(self, what: str, wanted: str) -> str:
        """Return the id of an image or network by name or id; a name that is not remembered is looked up anew.

        Raises NotFound, and InvalidRequest for a name that more than one of them has.
        """
        at, known = self._names.get(what, (0.0, {}))
        if wanted not in known or monotonic() - at > _REMEMBER_SECONDS:
            path, key = {"image": ("/images", "images"), "network": ("/networks", "networks")}[what]
            known = defaultdict(set)
            for row in self._session.pages(what, path, key):
                known[row["id"]].add(row["id"])
                if not is_snapshot(row):
                    known[row["name"]].add(row["id"])
            self._names[what] = (monotonic(), known)
        if wanted not in known:
            raise NotFound(f"The cloud has no {what} {wanted!r}. 'vai datacenter inventory' lists what it has.")
        if len(known[wanted]) > 1:
            ids = ", ".join(sorted(known[wanted]))
            raise InvalidRequest(f"The cloud has {len(known[wanted])} {what}s named {wanted!r}. Give one's id: {ids}.")
        (found,) = known[wanted]
        return found

    def flavor_for(self, size: Size) -> Flavor:
        """Return the flavor of exactly a size; disk 0 takes the smallest. Raises InvalidRequest with the nearest."""
        return choose_flavor(self._known_flavors(), size)

    def service_of(self, host: str) -> Row:
        """Return the service of a host that can take machines: id and name. Raises NotFound, HostUnavailable."""
        row = self.hypervisor(host)
        if row["state"] != "up":
            raise HostUnavailable(f"Host {host} does not answer Nova. Choose another, or bring it up.")
        service: Row = row["service"]
        return service

    def hypervisor(self, host: str) -> Row:
        """Return a host. Raises NotFound."""
        for row in self._hypervisors():
            if row["hypervisor_hostname"] == host:
                return row
        raise NotFound(f"There is no host {host!r} in this cloud.")

    def inventory(self) -> Inventory:
        """Read quota, images, networks and, where the account may see them, hosts with what Placement counts."""
        hosts = list(self._hypervisors()) if self._session.is_administrator else []
        counted = self._counted() if hosts else {}
        limits = self._session.get("compute", "/limits")["limits"]["absolute"]
        nothing: tuple[dict[str, Row], dict[str, int]] = ({}, {})
        return Inventory(
            hosts=tuple(host_of(row, *counted.get(row["hypervisor_hostname"], nothing)) for row in hosts),
            networks=tuple(network_of(row) for row in self._session.pages("network", "/networks", "networks")),
            images=tuple(
                image_of(row) for row in self._session.pages("image", "/images", "images") if not is_snapshot(row)
            ),
            quota=quota_of(limits),
        )

    def _hypervisors(self) -> Iterator[Row]:
        return self._session.pages("compute", "/os-hypervisors/detail", "hypervisors")

    def _known_flavors(self) -> list[Flavor]:
        at, flavors = self._flavors
        if not flavors or monotonic() - at > _REMEMBER_SECONDS:
            flavors = [flavor_of(row) for row in self._session.pages("compute", "/flavors/detail", "flavors")]
            self._flavors = (monotonic(), flavors)
        return flavors

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
