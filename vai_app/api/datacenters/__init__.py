"""Datacenters: how they are registered, and what is in them."""
