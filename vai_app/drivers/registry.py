"""The driver registry: which package speaks to which kind of hypervisor. An SDK is loaded when first needed."""

from collections.abc import Mapping
from importlib import import_module
from typing import cast

from vai_app.domain.errors import InvalidRequest
from vai_app.domain.hypervisor import Connect

DRIVERS: Mapping[str, str] = {
    "openstack": "vai_app.drivers.openstack",
    "simulated": "vai_app.drivers.simulated",
    "vmware": "vai_app.drivers.vmware",
}


def connector(kind: str) -> Connect:
    """Return the ``connect`` of the kind's driver. Raises InvalidRequest for a kind that has none."""
    package = DRIVERS.get(kind)
    if package is None:
        message = f"There is no driver for {kind!r}. Kinds are: {', '.join(sorted(DRIVERS))}."
        raise InvalidRequest(message, [{"field": "kind", "message": message}])
    return cast("Connect", import_module(package).connect)
