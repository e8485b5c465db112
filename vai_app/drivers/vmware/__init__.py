"""VMware vSphere behind the driver contract: vCenter's SOAP API through pyVmomi."""

from vai_app.drivers.vmware.driver import VmwareHypervisor, connect

__all__ = ["VmwareHypervisor", "connect"]
