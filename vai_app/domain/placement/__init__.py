"""Placement, pure: where a machine fits, where it goes, and why not elsewhere.

``asks`` is what a request leaves open, ``checks`` judges a datacenter and its hosts in sentences with numbers,
``arrays`` is the same capacity as columns for fast decisions, ``choice`` picks among what fits, ``batches`` places
several machines together, ``explanation`` is what a person reads.
"""
