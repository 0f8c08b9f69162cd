"""Scans whose answer is known: a head as drawn, seen by coils as simulated, sampled and written as scanners do."""

from raki.phantom.phantom import phantom_kspace, phantom_slices
from raki.phantom.simulation import bytes_needed, simulate_scan
from raki.phantom.volume import simulate_volume

__all__ = ["bytes_needed", "phantom_kspace", "phantom_slices", "simulate_scan", "simulate_volume"]
