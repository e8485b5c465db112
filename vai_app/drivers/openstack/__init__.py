"""The OpenStack driver: machines are Nova's servers of one project, through openstacksdk."""

from vai_app.drivers.openstack.driver import OpenStackHypervisor, connect

__all__ = ["OpenStackHypervisor", "connect"]
