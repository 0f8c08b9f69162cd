"""What is to be filled, and by what: the pattern of the acquired lines, the methods there are and what each needs.

No torch: whoever inspects a scan asks here, and need not load what would fill it.
"""

from raki.planning.advice import HIGH_ACCELERATION, off_centre_warning
from raki.planning.kernel import ADVISED_ACS_LINES, Kernel, kernel_obstacle, slice_kernel
from raki.planning.known import (
    FOR_SCATTERED,
    IRAKI_FIELD,
    IRAKI_GRAPPA_KERNEL,
    RAKI2019_FIELD,
    extended_lines,
)
from raki.planning.machine import default_device, n_cores
from raki.planning.method import Method, loaded_when_called
from raki.planning.plan import SlicePlan, find_plane_sampling, plans_of, plans_of_planes
from raki.planning.plane import Block
from raki.planning.points import Cell, PointSampling, find_point_sampling, fitting
from raki.planning.registry import find_method, methods, origin_of
from raki.planning.sampling import Sampling, find_sampling, shifted
from raki.planning.scattered import AnySampling, ScatteredSampling, find_scattered_sampling, shared_block

__all__ = [
    "ADVISED_ACS_LINES",
    "FOR_SCATTERED",
    "HIGH_ACCELERATION",
    "IRAKI_FIELD",
    "IRAKI_GRAPPA_KERNEL",
    "RAKI2019_FIELD",
    "AnySampling",
    "Block",
    "Cell",
    "Kernel",
    "Method",
    "PointSampling",
    "Sampling",
    "ScatteredSampling",
    "SlicePlan",
    "default_device",
    "extended_lines",
    "find_method",
    "find_plane_sampling",
    "find_point_sampling",
    "find_sampling",
    "find_scattered_sampling",
    "fitting",
    "kernel_obstacle",
    "loaded_when_called",
    "methods",
    "n_cores",
    "off_centre_warning",
    "origin_of",
    "plans_of",
    "plans_of_planes",
    "shared_block",
    "shifted",
    "slice_kernel",
]
