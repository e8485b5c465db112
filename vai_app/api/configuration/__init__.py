"""Roles, policies and tenants: who may do what, and how much of it."""
