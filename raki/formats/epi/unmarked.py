"""EPI whose file doesn't say which lines were recorded backward: seen in how alike neighbouring lines are.

Open sequences (Pulseq) and plain arrays carry no mark of a reversed line. Neighbouring lines of an object are much
alike; where one of two was recorded backward, they are alike once it is turned round, and less so as it stands.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import ismrmrd
import numpy as np
from ismrmrd import xsd
from jaxtyping import Complex64, Float64, Int

from raki.errors import UnsupportedScan
from raki.formats.acquisitions import Acquisitions, flag_bits
from raki.formats.sorting.marks import NOT_IMAGE, Mask, calibration_only, grouped, has_flag, numbered
from raki.formats.sorting.selection import with_heads
from raki.scan import COUNTERS, to_profiles

Pairs = Float64[np.ndarray, " pair"]
Train = Int[np.ndarray, " _"]  # several, of any length, meet in one function

# Consecutive lines one step apart; fewer tell too little.
SHORTEST_TRAIN = 12
IMAGES_LOOKED_AT = 4
MOST_LINES_LOOKED_AT = 128
# An echo may stand this part of the readout off its place in lines of one direction; tried in quarters of a sample.
LARGEST_SHIFT, PARTS_OF_SAMPLE = 1 / 8, 4
# Neighbours less alike than this are noise.
LEAST_ALIKE = 0.3
# Of what neighbours differ, turning explains more than this, in lines with most of the signal. Measured: 0.53 and more
# in open EPI; at most 0.03 in heads, hearts, spheres and bottles recorded one way, and 0.06 in a point.
CLEARLY_TURNED, MOST_OF_SIGNAL = 0.2, 0.9
# Or it leaves more unexplained, in lines with most of the signal.
CLEARLY_NOT = 0.05
# Neighbours that differ by less differ by where their echoes lie between samples.
LEAST_UNLIKE = 0.1
# Lines half a train apart: measured 0.94 in a reference scan, 0.39 at most in objects.
ALIKE_THROUGHOUT = 0.9
# Siemens counts time in steps of 2.5 ms. Nothing excites between lines twice in one.
TICK_MS, LEAST_TICKS = 2.5, 4

REMARK = (
    "Every other line was recorded backward (EPI), which the file doesn't say and the lines show: they were turned "
    "round. The first line of each train is taken for a forward one; were it the backward one, left and right of the "
    "readout would be exchanged. Nor does the file say whether samples were taken on the gradient's ramps: if so, the "
    "image is stretched along the readout, and striped."
)
ALL_ALIKE = (
    "Lines from either side of the centre of k-space are all but equal: the scan was recorded without phase encoding, "
    "as a reference, or its object is narrower than a pixel."
)


class Direction(Enum):
    """How alternate lines of a train were recorded, as far as they tell."""

    ALTERNATING = "alternating"
    SAME = "same"
    UNDECIDED = "undecided"


@dataclass(frozen=True)
class Alikeness:
    """Of pairs of neighbouring lines: how alike they are as they stand, and with the second turned round."""

    as_stored: Pairs
    turned: Pairs
    weights: Pairs
    """The signal's energy in each pair."""

    @property
    def direction(self) -> Direction:
        """What the pairs say together; undecided where the object looks the same from both sides, or there is none."""
        total = self.weights.sum()
        if len(self.weights) < SHORTEST_TRAIN - 1 or total == 0:
            return Direction.UNDECIDED
        as_stored, turned = (float(self.weights @ alike / total) for alike in (self.as_stored, self.turned))
        if max(as_stored, turned) < LEAST_ALIKE:
            return Direction.UNDECIDED
        in_favour = float(self.weights[self.turned > self.as_stored].sum() / total)
        if turned - as_stored > CLEARLY_TURNED * max(1 - as_stored, LEAST_UNLIKE) and in_favour > MOST_OF_SIGNAL:
            return Direction.ALTERNATING
        if as_stored - turned > CLEARLY_NOT * max(1 - turned, LEAST_UNLIKE) and in_favour < 1 / 2:
            return Direction.SAME
        return Direction.UNDECIDED


def with_reversals_marked(
    acquisitions: Acquisitions, encoding: xsd.encodingType
) -> tuple[Acquisitions, tuple[str, ...]]:
    """The acquisitions with the lines marked that were recorded backward, and a sentence where the file didn't.

    Looked for only where no line of the image is marked, in consecutive lines one step apart.

    Raises:
        UnsupportedScan: by header or times it is an EPI, and its lines don't tell their directions.
    """
    heads = acquisitions.heads
    lines = ~has_flag(heads, *NOT_IMAGE)
    if has_flag(heads[lines], ismrmrd.ACQ_IS_REVERSE).any():
        return acquisitions, ()
    trains = _trains(heads, lines)
    if not trains:
        return acquisitions, ()
    looked_at = _looked_at(heads, trains)
    if not looked_at:
        return acquisitions, ()
    compared = [np.stack(list(acquisitions.samples(train))) for train in looked_at]
    direction = alikeness(compared).direction
    if direction is Direction.ALTERNATING:
        turned = heads.copy()
        for train in trains:
            turned["flags"][train[1::2]] |= flag_bits(ismrmrd.ACQ_IS_REVERSE)
        return with_heads(acquisitions, turned), (REMARK, *((ALL_ALIKE,) if _are_all_alike(compared) else ()))
    if direction is Direction.UNDECIDED and (encoding.trajectory is xsd.trajectoryType.EPI or _is_quick(heads, trains)):
        raise UnsupportedScan(
            f"the scan is an EPI (trains of {max(map(len, trains))} lines), none of its lines is marked as recorded "
            "backward, and its signal looks alike from both sides or is lost in noise, so that the lines don't tell "
            "either; raki needs to know: convert the scan with its flags (ACQ_IS_REVERSE)"
        )
    return acquisitions, ()


def alikeness(trains: Sequence[Complex64[np.ndarray, "_ coil _"]]) -> Alikeness:
    """Compares each line with the next: the largest cross-correlation near the centre over the norms, 0 to 1.

    Args:
        trains: lines as recorded, in that order, neighbours one step apart in k-space.
    """
    found = [(_correlations(train[:-1], train[1:]), _correlations(train[:-1], train[1:, :, ::-1])) for train in trains]
    norms = [np.linalg.norm(train, axis=(1, 2)).astype(float) for train in trains]
    return Alikeness(
        as_stored=np.concatenate([as_stored for as_stored, _ in found]),
        turned=np.concatenate([turned for _, turned in found]),
        weights=np.concatenate([norm[:-1] * norm[1:] for norm in norms]),
    )


def spread(n_all: int, n_wanted: int) -> list[int]:
    """Up to so many numbers below `n_all`, evenly apart and none at its ends if it can be helped."""
    return sorted({(2 * number + 1) * n_all // (2 * n_wanted) for number in range(n_wanted)} if n_all else set())


def _correlations(some: Complex64[np.ndarray, "pair coil ro"], others: Complex64[np.ndarray, "pair coil ro"]) -> Pairs:
    """All coils together: echoes of one line shift alike in all, and turn by one phase."""
    n_ro = some.shape[-1]
    products = (to_profiles(some).conj() * to_profiles(others)).sum(axis=1)
    shifted = np.abs(np.fft.fft(products, PARTS_OF_SAMPLE * n_ro, axis=-1))
    reach = max(1, int(LARGEST_SHIFT * n_ro)) * PARTS_OF_SAMPLE
    peaks = np.maximum(shifted[:, : reach + 1].max(axis=1), shifted[:, -reach:].max(axis=1))
    norms = np.linalg.norm(some, axis=(1, 2)) * np.linalg.norm(others, axis=(1, 2))
    return np.asarray(np.divide(peaks, norms, out=np.zeros(len(peaks)), where=norms > 0), float)


def _are_all_alike(trains: Sequence[Complex64[np.ndarray, "_ coil _"]]) -> bool:
    """Whether lines half a train apart are, where those of an object share nothing but noise."""
    half = [2 * (len(train) // 4) for train in trains]  # even: of one direction
    alike = [_correlations(train[:-n], train[n:]) for train, n in zip(trains, half, strict=True)]
    return float(np.median(np.concatenate(alike))) > ALIKE_THROUGHOUT


def _trains(heads: np.ndarray, lines: Mask) -> list[Train]:
    """Consecutive lines of one image, one step apart: by index, in the order of the file."""
    indices = np.flatnonzero(lines)
    kinds = numbered(heads[indices], "slice", *COUNTERS, "average")
    kinds = 2 * kinds + calibration_only(heads[indices])
    trains = []
    for places in grouped(kinds, int(kinds.max(initial=0)) + 1):
        of_image = indices[places]
        steps = np.diff(heads["idx"]["kspace_encode_step_1"][of_image].astype(int))
        if len(steps) < SHORTEST_TRAIN - 1:
            continue
        step = int(np.bincount(np.abs(steps)).argmax())
        breaks = np.flatnonzero((np.abs(steps) != step) | (steps * np.roll(steps, 1) < 0)) + 1
        trains += [train for train in np.split(of_image, breaks) if step and len(train) >= SHORTEST_TRAIN]
    return trains


def _looked_at(heads: np.ndarray, trains: list[Train]) -> list[Train]:
    """A few trains from all over the scan whose lines have one size, and of long ones the middle."""
    sizes = heads[["number_of_samples", "active_channels", "discard_pre", "discard_post"]]
    alike = [train for train in trains if len(np.unique(sizes[train])) == 1]
    chosen = [alike[number] for number in spread(len(alike), IMAGES_LOOKED_AT)]
    cut = [max(0, len(train) - MOST_LINES_LOOKED_AT) // 2 for train in chosen]
    return [train[first : first + MOST_LINES_LOOKED_AT] for train, first in zip(chosen, cut, strict=True)]


def _is_quick(heads: np.ndarray, trains: list[Train]) -> bool:
    """Whether several lines of a train were recorded in one step of the clock, which leaves no time to excite."""
    stamps = heads["acquisition_time_stamp"].astype(np.int64)
    n_ticks = np.array([np.ptp(stamps[train]) for train in trains])
    n_lines = np.array([len(train) for train in trains])
    return bool(((n_ticks >= LEAST_TICKS) & (n_lines >= 2 * n_ticks)).all())
