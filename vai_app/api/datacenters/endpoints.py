"""``/datacenters``, and the hosts and images that are in them."""

from flask import Response
from flask_restx import Namespace

from vai_app.api.auth import Confirmed, context, services
from vai_app.api.conventions import answer, etag, expected_revision
from vai_app.api.datacenters.requests import DatacenterBody, DatacenterChangeBody, InventoryQuery
from vai_app.api.datacenters.views import (
    CapacityView,
    DatacenterList,
    DatacenterView,
    HostList,
    ImageList,
    capacity_view,
    datacenter_view,
    host_view,
    image_view,
)
from vai_app.api.documentation import documented
from vai_app.api.requests import read_body, read_query
from vai_app.api.views import Reference
from vai_app.domain.datacenters import Datacenter, Inventory
from vai_app.domain.ports.datacenters import DatacenterChange
from vai_app.services.datacenter_registry import Registration

namespace = Namespace("datacenters", description="Datacenters and what they consist of")
hosts = Namespace("hosts", description="Hosts of all datacenters")
images = Namespace("images", description="Images and templates of all datacenters")
_PROVIDER = (502, 503, 504)


@namespace.route("")
class Datacenters(Confirmed):
    """All datacenters."""

    @documented(namespace, 200, DatacenterList, may="datacenters:read")
    def get(self) -> Response:
        """List datacenters in order of name."""
        return answer(DatacenterList([datacenter_view(each) for each in services().datacenters.list()]))

    @documented(
        namespace, 201, DatacenterView, body=DatacenterBody, problems=(409, *_PROVIDER), may="datacenters:register"
    )
    def post(self) -> Response:
        """Register a datacenter, after its endpoint accepted the credentials."""
        asking = context()
        body = read_body(DatacenterBody)
        wanted = Registration(
            name=body.name,
            kind=body.kind,
            endpoint=body.endpoint,
            credentials=body.credentials,
            verify_tls=body.verify_tls,
            ca_certificate=body.ca_certificate,
            call_timeout_seconds=body.call_timeout_seconds,
            options=body.options,
            placement=body.placement.settings(),
            statistics=body.statistics.settings(),
        )
        datacenter = services().datacenter_registry.register(asking, wanted, verify=body.verify_now)
        headers = {**etag(datacenter.revision), "Location": f"/api/v1/datacenters/{datacenter.id}"}
        return answer(datacenter_view(datacenter), 201, headers)


@namespace.route("/<string:datacenter>")
class OneDatacenter(Confirmed):
    """One datacenter, by id or name."""

    @documented(namespace, 200, DatacenterView, problems=(404,), may="datacenters:read")
    def get(self, datacenter: str) -> Response:
        """Show a datacenter."""
        return _shown(services().datacenters.get(datacenter))

    @documented(
        namespace,
        200,
        DatacenterView,
        body=DatacenterChangeBody,
        problems=(404, 409, 412, 428),
        headers=("If-Match",),
        may="datacenters:change",
    )
    def patch(self, datacenter: str) -> Response:
        """Change a datacenter; enable or disable it."""
        asking = context()
        revision = expected_revision()
        body = read_body(DatacenterChangeBody)
        change = DatacenterChange(
            **body.model_dump(exclude={"placement", "statistics"}),
            placement=body.placement.settings() if body.placement else None,
            statistics=body.statistics.settings() if body.statistics else None,
        )
        return _shown(services().datacenter_registry.change(asking, datacenter, change, revision))

    @documented(
        namespace,
        200,
        DatacenterView,
        problems=(404, 409, 412, 422, 428),
        headers=("If-Match",),
        may="datacenters:forget",
    )
    def delete(self, datacenter: str) -> Response:
        """Forget a datacenter that holds no machine of VAI's."""
        asking = context()
        revision = expected_revision()
        forgotten = services().datacenters.get(datacenter)
        services().datacenter_registry.forget(asking, datacenter, revision)
        return _shown(forgotten)


@namespace.route("/<string:datacenter>/verify")
class Verification(Confirmed):
    """A datacenter's connection."""

    @documented(namespace, 200, DatacenterView, problems=(404, 409, 422, *_PROVIDER), may="datacenters:verify")
    def post(self, datacenter: str) -> Response:
        """Try the stored connection now."""
        return _shown(services().datacenter_registry.verify(context(), datacenter))


@namespace.route("/<string:datacenter>/inventory")
class DatacenterInventory(Confirmed):
    """A datacenter's parts."""

    @documented(namespace, 200, Inventory, problems=(404,), may="datacenters:read")
    def get(self, datacenter: str) -> Response:
        """Show clusters, hosts, datastores, networks and images as last observed."""
        return answer(services().datacenters.get(datacenter).inventory)


@namespace.route("/<string:datacenter>/capacity")
class DatacenterCapacity(Confirmed):
    """A datacenter's room."""

    @documented(namespace, 200, CapacityView, problems=(404,), may="datacenters:read")
    def get(self, datacenter: str) -> Response:
        """Show what there is, what is used and reserved of it, and what is free, host by host."""
        (found,) = services().capacity.snapshot([datacenter])
        return answer(capacity_view(found))


@hosts.route("")
class Hosts(Confirmed):
    """Hosts of all datacenters, or of one."""

    @documented(hosts, 200, HostList, query=InventoryQuery, problems=(404,), may="datacenters:read")
    def get(self) -> Response:
        """List hosts as last observed."""
        views = [
            host_view(host, Reference(datacenter.id, datacenter.name))
            for datacenter in _asked()
            for host in datacenter.inventory.hosts
        ]
        return answer(HostList(views))


@images.route("")
class Images(Confirmed):
    """Images of all datacenters, or of one."""

    @documented(images, 200, ImageList, query=InventoryQuery, problems=(404,), may="datacenters:read")
    def get(self) -> Response:
        """List images and templates as last observed."""
        views = [
            image_view(image, Reference(datacenter.id, datacenter.name))
            for datacenter in _asked()
            for image in datacenter.inventory.images
        ]
        return answer(ImageList(views))


def _asked() -> list[Datacenter]:
    query = read_query(InventoryQuery)
    found = services().datacenters
    return [found.get(query.datacenter)] if query.datacenter else list(found.list())


def _shown(datacenter: Datacenter) -> Response:
    return answer(datacenter_view(datacenter), 200, etag(datacenter.revision))
