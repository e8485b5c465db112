"""Tests of VAI, and what they stand on."""
