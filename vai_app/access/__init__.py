"""Clients of access services: each implements the ``TokenClient`` port for one protocol."""
