"""OpenStack: a whole control plane from PyPI (Keystone, Glance, Placement, Nova, Neutron, Cinder), MariaDB, RabbitMQ.

Everything is the real code but three small plug-ins (``plugin/``): guests without a hypervisor, ports without an agent
and volumes without bytes. What is not there: DHCP and routing agents.
"""
