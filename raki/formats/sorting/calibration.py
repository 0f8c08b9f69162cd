"""The calibration lines (ACS) of a scan: in each image, in a scan of their own, or in some of the frames for all."""

from dataclasses import replace

import ismrmrd
import numpy as np
from ismrmrd import xsd
from jaxtyping import Bool, Int

from raki.errors import DamagedScan, UnsupportedScan
from raki.formats.sorting.marks import has_flag, numbered
from raki.formats.sorting.places import Lines, Places, lines_at
from raki.scan import COUNTERS
from raki.scan.arrays import LineMask, LinesByImage

# Lines calibrated on where more could be: with 64 the error was half as large again (phantom, 8 coils, R = 4), and what
# lies farther out moves with the patient.
MOST_SHARED = 32
FLAGS = ismrmrd.ACQ_IS_PARALLEL_CALIBRATION, ismrmrd.ACQ_IS_PARALLEL_CALIBRATION_AND_IMAGING

Calibration = tuple[Lines | None, tuple[int, int] | None, tuple[str, ...]]
"""Lines that were acquired apart from the images or are shared by them; the first and one past the last of the
calibration lines, wherever they are; sentences."""


def find_calibration(
    heads: np.ndarray,
    lines: Lines,
    acquired: LinesByImage,
    *,
    n_slices: int,
    kinds: Int[np.ndarray, " frame"],
) -> Calibration:
    """The calibration lines of a scan that has none acquired apart.

    Where some images have none of their own, those of the first frame that has serve all frames; where none has, but
    the lattice shifts from frame to frame, the mean over the frames does (TGRAPPA: Breuer et al. 2005, Magn Reson Med
    53:981-985, doi:10.1002/mrm.20430).

    Args:
        kinds: a number for each frame; the mean is over frames of one, as others' phase is another.
    """
    n_pe = acquired.shape[1]
    flagged = np.isin(np.arange(n_pe), lines.lines[has_flag(heads[lines.indices], *FLAGS)])
    different = np.asarray(np.unique(acquired, axis=0))
    blocks = [find_acs(of_image, flagged) for of_image in different]
    own = [block for block in blocks if block is not None]
    if len(own) == len(blocks) or len(acquired) == n_slices:
        return None, _common(own) if len(own) == len(blocks) else None, ()
    first_of = [_donor(acquired[slice_::n_slices], flagged) for slice_ in range(n_slices)]
    if all(found is not None for found in first_of):
        donors = {number * n_slices + slice_ for slice_, (number, _) in enumerate(first_of)}  # type: ignore[misc]
        block = _common([block for _, block in first_of])  # type: ignore[misc]
        said = "Some frames have no calibration lines of their own: those of the first frame that has serve all."
        return *_shared(lines, np.array(sorted(donors)), block, n_slices), (said,)
    for kind in np.unique(kinds):
        images = np.flatnonzero(np.repeat(kinds == kind, n_slices))
        together = np.asarray(acquired[images].reshape(-1, n_slices, n_pe).any(axis=0))
        of_slices = [find_acs(of_slice, np.zeros(n_pe, bool)) for of_slice in together]
        if all(block is not None for block in of_slices):
            block = _common([block for block in of_slices if block is not None])
            which = "all of them" if len(images) == len(acquired) else "those of one contrast and set"
            said = f"The frames sample other lines in turn: raki calibrates on the mean over {which} (TGRAPPA)."
            return *_shared(lines, images, block, n_slices), (said,)
    return None, None, ()


def separate_calibration(
    heads: np.ndarray,
    apart: Places,
    examples: Places,
    shape: tuple[int, int, int, int],
    encoding: xsd.encodingType,
) -> Calibration:
    """The calibration lines of a scan of its own, which serves all frames.

    Args:
        apart: of the acquisitions, those lines.
        examples: of the acquisitions, one of the image in each slice.
        shape: of one frame's k-space, `slice coil pe ro`.

    Raises:
        DamagedScan: slices without calibration lines, or with fewer than others.
        UnsupportedScan: slices that were calibrated on different lines.
    """
    apart, slices = _of_one_frame(heads, *_slices_apart(heads, apart, examples))
    acs = lines_at(heads, apart, slices, shape, encoding)
    return acs, find_acs(_same_lines(acs.n_recorded > 0), np.zeros(shape[2], bool)), ()


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


def _donor(of_slice: LinesByImage, flagged: LineMask) -> tuple[int, tuple[int, int]] | None:
    """The first frame that has calibration lines, and these."""
    blocks = ((number, find_acs(of_frame, flagged)) for number, of_frame in enumerate(of_slice))
    return next(((number, block) for number, block in blocks if block is not None), None)


def _common(blocks: list[tuple[int, int]]) -> tuple[int, int] | None:
    first, end = max(block[0] for block in blocks), min(block[1] for block in blocks)
    return (first, end) if end - first > 1 else None


def _shared(
    lines: Lines, donors: Places, block: tuple[int, int] | None, n_slices: int
) -> tuple[Lines | None, tuple[int, int] | None]:
    """Lines of some images as those of a calibration scan; several recordings of one become their mean."""
    if block is None:
        return None, None
    n_pe = lines.n_recorded.shape[1]
    first, end = max(block[0], n_pe // 2 - MOST_SHARED // 2), min(block[1], n_pe // 2 + MOST_SHARED // 2)
    is_donor = np.isin(lines.slices, donors) & (lines.lines >= first) & (lines.lines < end)
    slices, of_lines = lines.slices[is_donor] % n_slices, lines.lines[is_donor]
    n_recorded = np.zeros((n_slices, n_pe), int)
    np.add.at(n_recorded, (slices, of_lines), 1)
    shared = replace(
        lines,
        indices=lines.indices[is_donor],
        slices=slices,
        lines=of_lines,
        first_samples=lines.first_samples[is_donor],
        n_recorded=n_recorded,
    )
    return shared, (first, end)


def _slices_apart(heads: np.ndarray, apart: Places, examples: Places) -> tuple[Places, Places]:
    """The separate calibration lines of the image's slices, and the slice of each.

    It is told by the position: the slices may be counted in another order. Calibration comes once for all frames, so
    all of it belongs to the slices of the first. Where it has more slices than the image, which may have been stopped,
    each line has to lie nearer to a slice than half of their distance.
    """
    direction = heads["slice_dir"][examples[0]].astype(float)
    along_mm = heads["position"][examples].astype(float) @ direction
    found_mm = heads["position"][apart].astype(float) @ direction
    away_mm = np.abs(found_mm[:, None] - along_mm)
    slices = away_mm.argmin(axis=1)
    calibrated_mm = np.unique(found_mm.round(2))
    if len(calibrated_mm) > len(examples):
        is_here = away_mm.min(axis=1) < np.diff(calibrated_mm).min() / 2
        apart, slices = apart[is_here], slices[is_here]
    if set(slices.tolist()) != set(range(len(examples))):
        raise DamagedScan(
            f"calibration lines of {len(set(slices.tolist()))} slices were found, the image has {len(examples)}; raki "
            "needs them for every slice: export the scan again"
        )
    return apart, slices


def _of_one_frame(heads: np.ndarray, apart: Places, slices: Places) -> tuple[Places, Places]:
    """Of each slice the lines of the first frame that has the most: others may be of another contrast and phase.

    Frames that repeat no line of each other are parts of one calibration.
    """
    frames = numbered(heads[apart], *COUNTERS)
    lines = heads["idx"]["kspace_encode_step_1"][apart].astype(int)
    places = np.unique(np.stack([slices, frames, lines]), axis=1)
    if len(np.unique(places[::2], axis=1)[0]) == len(places[0]):
        return apart, slices
    (of_slices, of_frames), n_lines = np.unique(places[:2], axis=1, return_counts=True)
    order = np.lexsort((of_frames, -n_lines, of_slices))
    firsts = np.unique(of_slices[order], return_index=True)[1]  # a slice without lines was refused
    is_chosen = frames == of_frames[order][firsts][slices]
    return apart[is_chosen], slices[is_chosen]


def _same_lines(acquired: Bool[np.ndarray, "slice pe"]) -> LineMask:
    n_lines = acquired.sum(axis=1)
    if n_lines.min() < n_lines.max():
        raise DamagedScan(
            f"slice {n_lines.argmin()} has {n_lines.min()} calibration lines, slice {n_lines.argmax()} has "
            f"{n_lines.max()}; all need the same: copy the file again if the scanner's is longer"
        )
    if (acquired != acquired[0]).any():
        raise UnsupportedScan("the slices were calibrated on different lines; raki needs the same in all slices")
    return acquired[0]
