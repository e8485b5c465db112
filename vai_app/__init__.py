"""VAI, the Virtual Abstraction Interface: one API over datacenters that run different hypervisors."""

__version__ = "0.1.0"
