"""What acquisitions are marked as: by their flags, and which calibration lines are no lines of the image."""

import ismrmrd
import numpy as np
from ismrmrd import xsd
from jaxtyping import Bool, Int

from raki.formats.acquisitions import flag_bits
from raki.scan import COUNTERS

# Recorded for the scanner's own use; no line of the image's k-space.
NOT_IMAGE = (
    ismrmrd.ACQ_IS_NOISE_MEASUREMENT,
    ismrmrd.ACQ_IS_NAVIGATION_DATA,
    ismrmrd.ACQ_IS_PHASECORR_DATA,
    ismrmrd.ACQ_IS_HPFEEDBACK_DATA,
    ismrmrd.ACQ_IS_DUMMYSCAN_DATA,
    ismrmrd.ACQ_IS_RTFEEDBACK_DATA,
    ismrmrd.ACQ_IS_SURFACECOILCORRECTIONSCAN_DATA,
    ismrmrd.ACQ_IS_PHASE_STABILIZATION_REFERENCE,
    ismrmrd.ACQ_IS_PHASE_STABILIZATION,
)
APART = xsd.calibrationModeType.SEPARATE, xsd.calibrationModeType.EXTERNAL
# Of the image lines among those for calibration alone: so many, and the calibration is a scan of its own.
MOST_REPEATED = 0.5

Mask = Bool[np.ndarray, " acquisition"]


def has_flag(heads: np.ndarray, *flags: int) -> Mask:
    """Which acquisitions carry at least one of the flags."""
    return (heads["flags"] & flag_bits(*flags)) != 0


def calibration_only(heads: np.ndarray) -> Mask:
    """Lines of k-space that serve calibration and, by their flags, no image."""
    both = has_flag(heads, ismrmrd.ACQ_IS_PARALLEL_CALIBRATION_AND_IMAGING, *NOT_IMAGE)
    return has_flag(heads, ismrmrd.ACQ_IS_PARALLEL_CALIBRATION) & ~both


def acquired_apart(heads: np.ndarray, encoding: xsd.encodingType) -> Mask:
    """Calibration lines of a scan of its own, with its own contrast: no lines of the image.

    They are where the header says so and no line serves both. But headers are silent or wrong about it as often, and a
    calibration line that repeats a line of the image can't belong to it; nor do its neighbours, then.
    """
    only = calibration_only(heads)
    image = ~has_flag(heads, *NOT_IMAGE) & ~only
    if not only.any() or not image.any():
        return np.zeros(len(heads), bool)
    serves_both = has_flag(heads, ismrmrd.ACQ_IS_PARALLEL_CALIBRATION_AND_IMAGING).any()
    mode = encoding.parallelImaging.calibrationMode if encoding.parallelImaging else None
    if mode in APART and not serves_both:
        return only
    frames = numbered(heads, *COUNTERS)
    without_image = only & ~np.isin(frames, frames[image])
    repeated = _part_repeated(heads, only, image)
    return only if repeated > (MOST_REPEATED if serves_both else 0.0) else without_image


def numbered(heads: np.ndarray, *counters: str) -> Int[np.ndarray, " acquisition"]:
    """One number for each combination of these counters, in their order."""
    numbers = np.zeros(len(heads), np.int64)
    for name in counters:  # one after the other: sorting numbers is eight times as fast as sorting rows
        values = heads["idx"][name].astype(np.int64)
        codes = numbers * (int(values.max(initial=0)) + 1) + values
        numbers = np.unique(codes, return_inverse=True)[1].ravel()
    return numbers


def grouped(numbers: Int[np.ndarray, " _"], n_groups: int) -> list[Int[np.ndarray, " _"]]:
    """For each number from 0 on, the places where it stands, in their order."""
    order = np.argsort(numbers, kind="stable")
    return np.split(order, np.searchsorted(numbers[order], np.arange(1, n_groups)))


def _part_repeated(heads: np.ndarray, only: Mask, image: Mask) -> float:
    """Of the image lines among the calibration lines, those that are calibration lines too."""
    steps = heads["idx"]["kspace_encode_step_1"], heads["idx"]["kspace_encode_step_2"]
    # Slices that are sampled in turn share the lines of each other's calibration.
    slices = heads["idx"]["slice"]
    same_slices = ("slice",) if np.isin(slices[only], slices[image]).any() else ()
    places = numbered(heads, "kspace_encode_step_1", "kspace_encode_step_2", *same_slices, *COUNTERS)
    among = image & np.all([(step >= step[only].min()) & (step <= step[only].max()) for step in steps], axis=0)
    return float(np.isin(np.unique(places[among]), places[only]).mean()) if among.any() else 0.0
