"""What a scan is: sorted k-space with its noise, its place in the patient and its frames; as arrays, and as a file.

In: nothing of the project; out: the types that every later folder speaks. `raki.scan.arrays` names the axes of numpy
arrays, `raki.scan.fourier` those of tensors, with the transforms (it loads torch), `raki.scan.header` reads the ISMRMRD
header that a scan carries, `raki.scan.prepared` the file between the stages.
"""

from raki.scan.frames import COUNTERS, ONE_FRAME, Frame, frame_labels, frames_in_words, slices_of_a_frame
from raki.scan.geometry import Geometry, Place
from raki.scan.interpolation import cubic_weights
from raki.scan.multiband import SliceGhosts, SliceGroups
from raki.scan.nyquist import NyquistPhase
from raki.scan.pattern import lattice_and_acs
from raki.scan.profiles import to_lines, to_profiles
from raki.scan.scan import Scan, Slab
from raki.scan.slices import (
    ChangedLines,
    LazySlices,
    LinesOfSlice,
    SliceOfKSpace,
    Slices,
    each_slice,
    in_memory,
    lines_of_slices,
)

__all__ = [
    "COUNTERS",
    "ONE_FRAME",
    "ChangedLines",
    "Frame",
    "Geometry",
    "LazySlices",
    "LinesOfSlice",
    "NyquistPhase",
    "Place",
    "Scan",
    "Slab",
    "SliceGhosts",
    "SliceGroups",
    "SliceOfKSpace",
    "Slices",
    "cubic_weights",
    "each_slice",
    "frame_labels",
    "frames_in_words",
    "in_memory",
    "lattice_and_acs",
    "lines_of_slices",
    "slices_of_a_frame",
    "to_lines",
    "to_profiles",
]
