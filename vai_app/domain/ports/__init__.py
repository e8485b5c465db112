"""Ports: what services need from outside, as protocols. ``store``, ``dispatch`` and ``drivers`` provide them."""
