"""Drivers: one package a hypervisor, and what they share at run time: registry, gate and pool."""
