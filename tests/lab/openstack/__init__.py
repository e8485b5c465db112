"""OpenStack: a whole control plane from PyPI (Keystone, Glance, Placement, Nova, Neutron) on MariaDB and RabbitMQ.

Everything is the real code but two small plug-ins (``plugin/``): guests without a hypervisor and ports without an
agent. What is not there: Cinder, DHCP and routing agents.
"""
