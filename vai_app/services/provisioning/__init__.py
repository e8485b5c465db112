"""Provisioning: the steps that do something to a machine at its hypervisor."""
