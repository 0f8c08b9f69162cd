"""What the planes of a 3-D scan are calibrated on, where its frames sample points of their own."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Complex64

from raki.planning import shared_block
from raki.scan import LazySlices, Scan
from raki.scan.arrays import PointsByFrame
from raki.scan.slices import AcsSlices

# Blocks that are kept: of all positions of a readout, and no more than these.
BLOCKS_KEPT = 1024


def calibration_of(scan: Scan) -> tuple[AcsSlices | None, tuple[str, ...]]:
    """The scan's own calibration scan; or one block for all frames, where one of them has none to calibrate on.

    A frame that has the whole block is calibrated on its own. Others are on that of the first frame that has it, of
    their own contrast and set if there is one: coils are alike in all, but a mean over contrasts may cancel. Where no
    frame has it, it is the mean over those of the contrast, or over all.

    Returns it, None where each image holds its own, and a sentence where frames share one.
    """
    by_frame = scan.sampled_by_frame
    if scan.acs is not None or by_frame is None:
        return scan.acs, ()
    block = shared_block(by_frame)
    if block is None:
        return None, ()
    inside = slice(*block[:2]), slice(*block[2:])
    donors = [_donors(scan, by_frame[:, *inside], frame) for frame in range(len(scan.frames))]
    reader = _Blocks(scan, inside, tuple(donors), by_frame[:, *inside])
    n_lines, n_points = block[1] - block[0], block[3] - block[2]
    shape = (len(scan.kspace), scan.kspace.shape[1], n_lines, n_points)
    n_means, n_lent = sum(len(each) > 1 for each in donors), sum(each != (n,) for n, each in enumerate(donors))
    how = "the mean over the frames" if n_means else "those of a frame that has them"
    return LazySlices(shape, reader.read), (
        f"{n_lent} of {len(scan.frames)} frames have no block to calibrate on: they are calibrated on {how}, {n_lines} "
        f"x {n_points} points.",
    )


def _donors(scan: Scan, acquired: PointsByFrame, frame: int) -> tuple[int, ...]:
    """The frames whose block, or the mean of whose blocks, a frame is calibrated on."""
    whole = np.flatnonzero(acquired.all(axis=(1, 2)))
    if frame in whole:
        return (frame,)
    kind = scan.frames[frame].contrast, scan.frames[frame].set
    alike = [n for n, other in enumerate(scan.frames) if (other.contrast, other.set) == kind]
    if len(whole):
        return (next((int(n) for n in whole if n in alike), int(whole[0])),)
    return tuple(alike) if acquired[alike].any(axis=0).all() else tuple(range(len(scan.frames)))


@dataclass(frozen=True)
class _Blocks:
    """Reads the block of each plane: its own, another frame's, or the mean over some."""

    scan: Scan
    block: tuple[slice, slice]
    donors: tuple[tuple[int, ...], ...]
    """Of each frame."""
    acquired: PointsByFrame
    """Of the block."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "_of", lru_cache(maxsize=BLOCKS_KEPT)(self._mean))

    def read(self, index: int) -> Complex64[np.ndarray, "coil line point"]:
        n_planes = len(self.scan.kspace) // len(self.scan.frames)
        frame, plane = divmod(index, n_planes)
        donors = self.donors[frame]
        return self._block(frame, plane) if donors == (frame,) else self._of(donors, plane)  # type: ignore[attr-defined]

    def _mean(self, donors: tuple[int, ...], plane: int) -> Complex64[np.ndarray, "coil line point"]:
        """Over the frames that have each of its points."""
        total = sum(self._block(frame, plane) for frame in donors)
        return np.asarray(total / self.acquired[list(donors)].sum(axis=0), np.complex64)

    def _block(self, frame: int, plane: int) -> Complex64[np.ndarray, "coil line point"]:
        n_planes = len(self.scan.kspace) // len(self.scan.frames)
        return np.asarray(self.scan.kspace[frame * n_planes + plane][:, *self.block])
