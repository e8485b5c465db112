"""The simulated hypervisor: reference semantics, demo, and a cloud of any size for scale tests."""

from vai_app.drivers.simulated.control import Control
from vai_app.drivers.simulated.driver import SimulatedHypervisor, connect

__all__ = ["Control", "SimulatedHypervisor", "connect"]
