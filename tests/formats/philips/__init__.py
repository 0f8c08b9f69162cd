"""Philips pairs of .list and .data."""
