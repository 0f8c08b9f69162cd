"""Scans whose answer is known: a head as drawn, seen by coils as simulated, sampled and written as scanners do."""

from raki.phantom.multiband import simulate_multiband
from raki.phantom.multiband_epi import simulate_multiband_epi
from raki.phantom.phantom import phantom_kspace, phantom_slices
from raki.phantom.simulation import SLICES_AT_WORK, bytes_needed, simulate_scan
from raki.phantom.volume import simulate_volume, volume_bytes_needed

__all__ = [
    "SLICES_AT_WORK",
    "bytes_needed",
    "phantom_kspace",
    "phantom_slices",
    "simulate_multiband",
    "simulate_multiband_epi",
    "simulate_scan",
    "simulate_volume",
    "volume_bytes_needed",
]
