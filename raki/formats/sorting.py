"""Where each acquisition belongs in `slice coil pe ro`, decided from the acquisitions' headers alone."""

from dataclasses import dataclass

import ismrmrd
import numpy as np
from ismrmrd import xsd
from jaxtyping import Bool, Int

from raki.arrays import LineMask
from raki.errors import DamagedScan, UnsupportedScan
from raki.formats.ismrmrd_header import announced_slices, centre_line, matrix_size
from raki.formats.placement import image_geometry
from raki.scan import Geometry

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
COMPRESSED = (ismrmrd.ACQ_COMPRESSION1, ismrmrd.ACQ_COMPRESSION2, ismrmrd.ACQ_COMPRESSION3, ismrmrd.ACQ_COMPRESSION4)
ONE_EACH = {
    "kspace_encode_step_2": "partitions (it is 3-D)",
    "contrast": "contrasts",
    "phase": "cardiac phases",
    "repetition": "repetitions",
    "set": "sets",
}


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The shape of the sorted k-space, and for each image acquisition its slice, line and first sample."""

    shape: tuple[int, int, int, int]
    slices: Int[np.ndarray, " acquisition"]
    lines: Int[np.ndarray, " acquisition"]
    first_samples: Int[np.ndarray, " acquisition"]
    sampled: LineMask
    acs_lines: tuple[int, int] | None
    n_recorded: Int[np.ndarray, "slice pe"]
    """How often each line was recorded; averages are more than one."""
    geometry: Geometry
    readout_oversampling: float


def lay_out(heads: np.ndarray, encoding: xsd.encodingType) -> Layout:
    """Finds the place of each image acquisition.

    Args:
        heads: ISMRMRD acquisition headers of the image and calibration lines, at least one.
        encoding: the part of the ISMRMRD header that they refer to.

    Raises:
        UnsupportedScan: several of something that raki reconstructs one of, reversed or compressed lines, calibration
            lines that were acquired apart from the image, or slices that sample different lines.
        DamagedScan: lines or samples outside the encoded matrix, coils that come and go, slices or lines missing.
    """
    _require_one_image(heads, encoding)
    n_ro, n_pe, _ = matrix_size(encoding.encodedSpace)
    slices, order = _order_slices(heads, encoding)
    lines = heads["idx"]["kspace_encode_step_1"].astype(int) - centre_line(encoding) + n_pe // 2
    if lines.min() < 0 or lines.max() >= n_pe:
        raise DamagedScan(
            f"phase-encode lines {lines.min()} to {lines.max()} were found, the header announces 0 to {n_pe - 1}; "
            "matrix, centre and lines must agree: convert the scan again"
        )
    n_recorded = np.zeros((len(order), n_pe), int)
    np.add.at(n_recorded, (slices, lines), 1)
    sampled = _sampled_lines(n_recorded > 0)
    calibrates = has_flag(heads, ismrmrd.ACQ_IS_PARALLEL_CALIBRATION, ismrmrd.ACQ_IS_PARALLEL_CALIBRATION_AND_IMAGING)
    flagged = np.isin(np.arange(n_pe), lines[calibrates])
    geometry = image_geometry(heads[order], encoding)
    return Layout(
        shape=(len(order), _number_of_coils(heads), n_pe, n_ro),
        slices=slices,
        lines=lines,
        first_samples=_first_samples(heads, n_ro),
        sampled=sampled,
        acs_lines=find_acs(sampled, flagged),
        n_recorded=n_recorded,
        geometry=geometry,
        readout_oversampling=n_ro / geometry.matrix[1],
    )


def has_flag(heads: np.ndarray, *flags: int) -> Bool[np.ndarray, " acquisition"]:
    """Which acquisitions carry at least one of the flags. ISMRMRD counts flags from one."""
    bits = np.uint64(sum(1 << (flag - 1) for flag in flags))
    return (heads["flags"] & bits) != 0


def find_acs(sampled: LineMask, flagged: LineMask) -> tuple[int, int] | None:
    """First and one past the last line of the fully sampled block around the centre; None where it has no neighbours.

    Lines flagged for calibration narrow the block to what the protocol asked for: the undersampled lattice may
    happen to go on right beside it. Flags that don't agree with the lines are not believed.
    """
    centre = len(sampled) // 2
    if sampled.all():
        return 0, len(sampled)
    gaps = np.flatnonzero(~sampled)
    first = int(gaps[gaps <= centre].max(initial=-1)) + 1
    end = int(gaps[gaps >= centre].min(initial=len(sampled)))
    wanted = np.flatnonzero(flagged)
    if len(wanted) > 1 and first <= wanted[0] <= centre <= wanted[-1] < end and flagged[wanted[0] : wanted[-1]].all():
        first, end = int(wanted[0]), int(wanted[-1]) + 1
    return (first, end) if end - first > 1 else None


def _require_one_image(heads: np.ndarray, encoding: xsd.encodingType) -> None:
    for counter, meaning in ONE_EACH.items():
        n_found = len(np.unique(heads["idx"][counter]))
        if n_found > 1:
            raise UnsupportedScan(
                f"the scan has {n_found} {meaning}, counted by '{counter}'; raki reconstructs one: split the scan first"
            )
    if has_flag(heads, ismrmrd.ACQ_IS_REVERSE).any():
        raise UnsupportedScan("the scan has reversed readouts (EPI-like); raki reads lines of one direction only")
    if has_flag(heads, *COMPRESSED).any():
        raise UnsupportedScan("the samples are compressed; raki reads plain samples: convert the scan without it")
    mode: xsd.calibrationModeType = encoding.parallelImaging.calibrationMode if encoding.parallelImaging else None
    apart = mode in (xsd.calibrationModeType.SEPARATE, xsd.calibrationModeType.EXTERNAL)
    if apart and has_flag(heads, ismrmrd.ACQ_IS_PARALLEL_CALIBRATION).any():
        raise UnsupportedScan(
            f"the calibration lines were acquired apart from the image (mode '{mode.value}'); raki needs them inside "
            "the image's k-space ('embedded')"
        )


def _number_of_coils(heads: np.ndarray) -> int:
    n_coils = np.unique(heads["active_channels"])
    if len(n_coils) > 1 or n_coils[0] == 0:
        raise DamagedScan(
            f"lines with {n_coils[0]} to {n_coils[-1]} coils were found; every line needs the same coils: "
            "export the scan again"
        )
    return int(n_coils[0])


def _order_slices(heads: np.ndarray, encoding: xsd.encodingType) -> tuple[np.ndarray, np.ndarray]:
    """Slice index of each acquisition, ascending along the slice direction, and one acquisition of each slice.

    Scanners count slices in the order of time as often as in that of space; only the position tells.
    """
    counters, examples, slices = np.unique(heads["idx"]["slice"], return_index=True, return_inverse=True)
    n_announced = announced_slices(encoding)
    if len(counters) < n_announced:
        raise DamagedScan(
            f"the header announces {n_announced} slices, {len(counters)} were found; "
            "the scan was cut short: copy or acquire it again"
        )
    if not (np.isfinite(heads["position"]) & np.isfinite(heads["slice_dir"])).all():
        raise DamagedScan("a line has no position, or no direction; raki needs both as numbers: export the scan again")
    along_mm = heads["position"][examples].astype(float) @ heads["slice_dir"][examples[0]].astype(float)
    order = np.argsort(along_mm, kind="stable")
    return np.argsort(order)[slices.ravel()], examples[order]


def _sampled_lines(acquired: Bool[np.ndarray, "slice pe"]) -> LineMask:
    n_lines = acquired.sum(axis=1)
    if n_lines.min() < n_lines.max():
        raise DamagedScan(
            f"slice {n_lines.argmin()} has {n_lines.min()} lines, slice {n_lines.argmax()} has {n_lines.max()}; "
            "all need the same: the scan was cut short, copy or acquire it again"
        )
    if (acquired != acquired[0]).any():
        raise UnsupportedScan("the slices sample different phase-encode lines; raki needs the same lines in all slices")
    return acquired[0]


def _first_samples(heads: np.ndarray, n_ro: int) -> np.ndarray:
    """Where the kept samples of each line begin, so that the echo's centre comes to n_ro // 2 (asymmetric echo)."""
    before, after = heads["discard_pre"].astype(int), heads["discard_post"].astype(int)
    n_kept = heads["number_of_samples"].astype(int) - before - after
    # A full line fits in one way only; converters leave center_sample unset in such lines.
    first = np.where(n_kept == n_ro, 0, n_ro // 2 - heads["center_sample"].astype(int) + before)
    wrong = (n_kept <= 0) | (first < 0) | (first + n_kept > n_ro)
    if wrong.any():
        n = int(np.argmax(wrong))
        raise DamagedScan(
            f"a line of {n_kept[n]} samples with its centre at {heads['center_sample'][n]} was found; the header "
            f"announces {n_ro} samples, and the line must fit into them: convert the scan again"
        )
    return first
