"""Where each acquisition belongs in `slice coil pe ro`, decided from the acquisitions' headers alone."""

from dataclasses import dataclass

import ismrmrd
import numpy as np
from ismrmrd import xsd
from jaxtyping import Bool, Int

from raki.errors import DamagedScan, UnsupportedScan
from raki.formats.acquisitions import flag_bits
from raki.formats.sorting.placement import image_geometry
from raki.scan import COUNTERS, Frame, Geometry
from raki.scan.arrays import LineMask
from raki.scan.header import announced_slices, centre_line, matrix_size

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
# Far more than any protocol has; a counter full of rubbish is not taken for frames.
MOST_FRAMES = 4096

OfEachLine = Int[np.ndarray, " line"]
Places = Int[np.ndarray, " _"]  # of some lines or others: several kinds meet in one function


@dataclass(frozen=True, kw_only=True)
class Lines:
    """Where some acquisitions belong: for each of them its slice, line and first sample."""

    indices: OfEachLine
    """Of the acquisitions in the file."""
    slices: OfEachLine
    lines: OfEachLine
    first_samples: OfEachLine
    n_recorded: Int[np.ndarray, "slice pe"]
    """How often each line was recorded; averages are more than one."""

    @property
    def n_averages(self) -> int:
        """The smallest number of recordings of a line that was recorded at all."""
        return int(self.n_recorded[self.n_recorded > 0].min())


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The shape of the sorted k-space, and where each acquisition belongs in it."""

    shape: tuple[int, int, int, int]
    """Axes `slice coil pe ro`; the slices of the first frame, then those of the next."""
    frames: tuple[Frame, ...]
    image: Lines
    acs: Lines | None
    """Calibration lines that were acquired apart from the image."""
    sampled: LineMask
    acs_lines: tuple[int, int] | None
    """Of the calibration lines, wherever they were acquired: first and one past the last."""
    geometry: Geometry
    readout_oversampling: float


def lay_out(heads: np.ndarray, encoding: xsd.encodingType) -> Layout:
    """Finds the place of each image acquisition.

    Args:
        heads: ISMRMRD heads of all acquisitions, at least one of the image.
        encoding: the part of the ISMRMRD header that the image lines refer to.

    Raises:
        UnsupportedScan: one line alone, partitions or compressed lines, or slices that sample different lines.
        DamagedScan: lines or samples outside the encoded matrix, coils that come and go, slices or lines missing.
    """
    apart = _acquired_apart(heads, encoding)
    is_image = ~has_flag(heads, *NOT_IMAGE)
    image = np.flatnonzero(is_image & ~apart)
    _require_supported_lines(heads[is_image])
    n_ro, n_pe, _ = matrix_size(encoding.encodedSpace)
    spatial, examples = _order_slices(heads[image], encoding)
    frames, frame_of = _frames(heads[image])
    n_slices = len(examples)
    shape = (len(frames) * n_slices, _number_of_coils(heads[is_image]), n_pe, n_ro)
    lines = _lines(heads, image, frame_of * n_slices + spatial, shape, encoding)
    sampled = _sampled_lines(lines.n_recorded > 0, "line")
    geometry = image_geometry(heads[image][examples], encoding)
    acs, acs_lines = None, None
    if apart.any():
        slices = _slices_apart(heads, np.flatnonzero(apart), image[examples])
        one_frame = (n_slices, *shape[1:])
        acs = _lines(heads, np.flatnonzero(apart), slices, one_frame, encoding)
        acs_lines = find_acs(_sampled_lines(acs.n_recorded > 0, "calibration line"), np.zeros(n_pe, bool))
    else:
        flags = ismrmrd.ACQ_IS_PARALLEL_CALIBRATION, ismrmrd.ACQ_IS_PARALLEL_CALIBRATION_AND_IMAGING
        flagged = np.isin(np.arange(n_pe), lines.lines[has_flag(heads[image], *flags)])
        acs_lines = find_acs(sampled, flagged)
    return Layout(
        shape=shape,
        frames=frames,
        image=lines,
        acs=acs,
        sampled=sampled,
        acs_lines=acs_lines,
        geometry=geometry,
        readout_oversampling=n_ro / geometry.matrix[1],
    )


def has_flag(heads: np.ndarray, *flags: int) -> Bool[np.ndarray, " acquisition"]:
    """Which acquisitions carry at least one of the flags."""
    return (heads["flags"] & flag_bits(*flags)) != 0


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


def _acquired_apart(heads: np.ndarray, encoding: xsd.encodingType) -> Bool[np.ndarray, " acquisition"]:
    """Calibration lines of a scan of its own, with its own contrast: no lines of the image.

    Lines that serve both are the image's own, whatever mode the header claims.
    """
    mode: xsd.calibrationModeType = encoding.parallelImaging.calibrationMode if encoding.parallelImaging else None
    embedded = has_flag(heads, ismrmrd.ACQ_IS_PARALLEL_CALIBRATION_AND_IMAGING).any()
    if embedded or mode not in (xsd.calibrationModeType.SEPARATE, xsd.calibrationModeType.EXTERNAL):
        return np.zeros(len(heads), bool)
    return has_flag(heads, ismrmrd.ACQ_IS_PARALLEL_CALIBRATION) & ~has_flag(heads, *NOT_IMAGE)


def _require_supported_lines(heads: np.ndarray) -> None:
    n_partitions = len(np.unique(heads["idx"]["kspace_encode_step_2"]))
    if n_partitions > 1:
        raise UnsupportedScan(
            f"the scan has {n_partitions} partitions (it is 3-D), counted by 'kspace_encode_step_2'; raki reconstructs "
            "2-D scans only"
        )
    lines = np.unique(heads["idx"]["kspace_encode_step_1"])
    if len(lines) == 1:
        raise UnsupportedScan(
            f"the scan has no phase-encode line but line {lines[0]} ({len(heads)} recorded), which makes a spectrum or "
            "a projection and no image, as in spectroscopy; raki reconstructs images: if this is one, its lines were "
            "cut off or not counted, convert it again"
        )
    if has_flag(heads, *COMPRESSED).any():
        raise UnsupportedScan("the samples are compressed; raki reads plain samples: convert the scan without it")


def _lines(
    heads: np.ndarray,
    indices: Places,
    slices: Places,
    shape: tuple[int, int, int, int],
    encoding: xsd.encodingType,
) -> Lines:
    n_slices, _, n_pe, n_ro = shape
    lines = heads["idx"]["kspace_encode_step_1"][indices].astype(int) - centre_line(encoding) + n_pe // 2
    if lines.min() < 0 or lines.max() >= n_pe:
        raise DamagedScan(
            f"phase-encode lines {lines.min()} to {lines.max()} were found, the header announces 0 to {n_pe - 1}; "
            "matrix, centre and lines must agree: convert the scan again"
        )
    n_recorded = np.zeros((n_slices, n_pe), int)
    np.add.at(n_recorded, (slices, lines), 1)
    first_samples = _first_samples(heads[indices], n_ro)
    return Lines(indices=indices, slices=slices, lines=lines, first_samples=first_samples, n_recorded=n_recorded)


def _number_of_coils(heads: np.ndarray) -> int:
    n_coils = np.unique(heads["active_channels"])
    if len(n_coils) > 1 or n_coils[0] == 0:
        raise DamagedScan(
            f"lines with {n_coils[0]} to {n_coils[-1]} coils were found; every line needs the same coils: "
            "export the scan again"
        )
    return int(n_coils[0])


def _order_slices(heads: np.ndarray, encoding: xsd.encodingType) -> tuple[Places, Places]:
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


def _frames(heads: np.ndarray) -> tuple[tuple[Frame, ...], Places]:
    """The combinations of counters that were found, in ascending order, and which of them each acquisition is of."""
    counters = np.stack([heads["idx"][name] for name in COUNTERS], axis=1)
    found, frame_of = np.unique(counters, axis=0, return_inverse=True)
    if len(found) > MOST_FRAMES:
        raise UnsupportedScan(
            f"the scan counts {len(found)} contrasts, phases, repetitions and sets; raki takes {MOST_FRAMES} at most: "
            "split the scan first"
        )
    return tuple(Frame(**dict(zip(COUNTERS, map(int, counters), strict=True))) for counters in found), frame_of.ravel()


def _slices_apart(heads: np.ndarray, apart: Places, examples: Places) -> Places:
    """The slice of each separate calibration line, by its position: its slices may be counted in another order.

    Calibration comes once for all frames, so all of it belongs to the slices of the first.
    """
    direction = heads["slice_dir"][examples[0]].astype(float)
    along_mm = heads["position"][examples].astype(float) @ direction
    found_mm = heads["position"][apart].astype(float) @ direction
    slices = np.abs(found_mm[:, None] - along_mm).argmin(axis=1)
    if set(slices.tolist()) != set(range(len(examples))):
        raise DamagedScan(
            f"calibration lines of {len(set(slices.tolist()))} slices were found, the image has {len(examples)}; raki "
            "needs them for every slice: export the scan again"
        )
    return slices


def _sampled_lines(acquired: Bool[np.ndarray, "slice pe"], kind: str) -> LineMask:
    n_lines = acquired.sum(axis=1)
    if n_lines.min() < n_lines.max():
        raise DamagedScan(
            f"slice {n_lines.argmin()} has {n_lines.min()} {kind}s, slice {n_lines.argmax()} has {n_lines.max()}; "
            "all need the same: the scan was cut short, copy or acquire it again"
        )
    if (acquired != acquired[0]).any():
        raise UnsupportedScan("the slices sample different phase-encode lines; raki needs the same lines in all slices")
    return acquired[0]


def _first_samples(heads: np.ndarray, n_ro: int) -> Places:
    """Where the kept samples of each line begin, so that the echo's centre comes to n_ro // 2 (asymmetric echo)."""
    before, after = heads["discard_pre"].astype(int), heads["discard_post"].astype(int)
    n_kept = heads["number_of_samples"].astype(int) - before - after
    centre = heads["center_sample"].astype(int) - before
    # A full line fits in one way only; converters leave center_sample unset in such lines.
    first = np.where(n_kept == n_ro, 0, n_ro // 2 - centre)
    wrong = (n_kept <= 0) | (first < 0) | (first + n_kept > n_ro)
    if wrong.any():
        n = int(np.argmax(wrong))
        raise DamagedScan(
            f"a line of {n_kept[n]} samples with its centre at {heads['center_sample'][n]} was found; the header "
            f"announces {n_ro} samples, and the line must fit into them: convert the scan again"
        )
    return first
