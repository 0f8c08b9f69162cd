"""Fill the lines that the scanner skipped: k-space with gaps in; filled k-space and a report on it out.

Each way to fill them is a `Method`, an entry point in the group `raki.methods`.
"""

from raki.kspace.arrays import complete_kspace
from raki.kspace.completion import FillReport, complete, complete_slices
from raki.kspace.cross_validation import HIGH_ACCELERATION, CrossValidation, off_centre_warning
from raki.kspace.measured import slice_kernel
from raki.kspace.method import ADVISED_ACS_LINES, Method, TrainingPoint
from raki.kspace.patches import Kernel
from raki.kspace.registry import find_method, methods
from raki.kspace.sampling import Sampling, find_sampling

__all__ = [
    "ADVISED_ACS_LINES",
    "HIGH_ACCELERATION",
    "CrossValidation",
    "FillReport",
    "Kernel",
    "Method",
    "Sampling",
    "TrainingPoint",
    "complete",
    "complete_kspace",
    "complete_slices",
    "find_method",
    "find_sampling",
    "methods",
    "off_centre_warning",
    "slice_kernel",
]
