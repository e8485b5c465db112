"""Machines: what is asked of them, done with them and shown of them."""
