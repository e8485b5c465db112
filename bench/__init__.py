"""Benchmarks: VAI beside a hand-written program that does the same work, in turns, in one run."""
