"""What the planes of a 3-D scan are calibrated on, where its frames sample points of their own."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Complex64, Int

from raki.planning import shared_block
from raki.scan import LazySlices, Scan
from raki.scan.slices import AcsSlices


def calibration_of(scan: Scan) -> tuple[AcsSlices | None, tuple[str, ...]]:
    """The scan's own calibration scan; or the mean over the frames, where one of them has no block to calibrate on.

    Returns it, None where each image holds its own, and a sentence where it is a mean.
    """
    by_frame = scan.sampled_by_frame
    if scan.acs is not None or by_frame is None:
        return scan.acs, ()
    block = shared_block(by_frame)
    if block is None:
        return None, ()
    inside = slice(*block[:2]), slice(*block[2:])
    mean = _MeanOverFrames(scan, inside, by_frame[:, *inside].sum(axis=0))
    n_lines, n_points = mean.n_recorded.shape
    shape = (len(scan.kspace) // len(scan.frames), scan.kspace.shape[1], n_lines, n_points)
    return LazySlices(shape, mean.read), (
        f"Not every frame has a block to calibrate on: raki calibrates on the mean over the frames, {n_lines} x "
        f"{n_points} points.",
    )


@dataclass(frozen=True)
class _MeanOverFrames:
    """Reads the block of each frame, and divides by how many have each of its points."""

    scan: Scan
    block: tuple[slice, slice]
    n_recorded: Int[np.ndarray, "line point"]

    def read(self, index: int) -> Complex64[np.ndarray, "coil line point"]:
        kspace, n_planes = self.scan.kspace, len(self.scan.kspace) // len(self.scan.frames)
        total = sum(kspace[index + frame * n_planes][:, *self.block] for frame in range(len(self.scan.frames)))
        return np.asarray(total / self.n_recorded, np.complex64)
