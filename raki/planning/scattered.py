"""Points of two phase-encode directions that lie on no lattice: at random, as compressed sensing wants, or with losses.

Nothing says where points were meant to be skipped but those that were acquired: what lies among them was, and what lies
beyond the outermost wasn't.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, sqrt

import numpy as np
from jaxtyping import Int

from raki.planning.kernel import ADVISED_ACS_LINES
from raki.planning.plane import Block, PlaneSampling
from raki.planning.points import PointSampling, largest_block
from raki.planning.sampling import Sampling
from raki.scan.arrays import PointMask, PointsByFrame

# A kernel of three points a side has an example for each of its unknowns of four coils in a block of so many.
LEAST_SIDE = 8
# Beyond this a plane alone says too little: what is seen then is the calibration block, blurred.
MOST_R = 12.0


@dataclass(frozen=True, kw_only=True, eq=False)
class ScatteredSampling(PlaneSampling):
    """Points within an area, anywhere, plus at most one fully sampled block."""

    @property
    def acceleration(self) -> int:
        """R, to the nearest whole number, 2 at least."""
        return max(2, round(self.net_acceleration))

    def fold_distance(self, rows: int, columns: int) -> float:
        """Pixels between two points so far apart: what was skipped at random folds nowhere in particular."""
        return float(max(abs(rows), abs(columns)))

    def without(self, withheld: PointMask) -> "ScatteredSampling":
        """As if some points had not been acquired; the area stays."""
        return ScatteredSampling(acquired=self.acquired & ~withheld, block=self.block, meant=self.meant)


AnySampling = Sampling | PointSampling | ScatteredSampling
"""What a slice, or a plane of a 3-D scan, may lack: lines, points of a lattice, or points anywhere."""


def find_scattered_sampling(acquired: PointMask) -> ScatteredSampling:
    """The area and the calibration block of points that lie on no lattice; one was acquired at least."""
    block = largest_block(acquired)
    return ScatteredSampling(acquired=acquired, block=block, meant=_area(acquired, block) | acquired)


def shared_block(by_frame: PointsByFrame) -> Block | None:
    """The calibration block of the first frame that has one, or of all together, where not each has one of its own.

    None where each has, or none.
    """
    own = [block for block in map(largest_block, by_frame) if _suffices(block)]
    if len(own) == len(by_frame):
        return None
    if own:
        return own[0]
    together = largest_block(np.asarray(by_frame.any(axis=0)))
    return together if _suffices(together) else None


def _suffices(block: Block | None) -> bool:
    """Whether anything can be calibrated on a block of this size."""
    return block is not None and min(block[1] - block[0], block[3] - block[2]) >= LEAST_SIDE


def scattered_obstacle(n_lines: int, n_points: int) -> Iterator[str]:
    """The end of a sentence where a calibration block of so many lines of so many points is too small; else nothing."""
    if min(n_lines, n_points) < LEAST_SIDE:
        yield (
            f"needs a calibration block of at least {LEAST_SIDE} x {LEAST_SIDE} points where points are skipped at "
            f"random, {ADVISED_ACS_LINES} of each or more are advised; there are {n_lines} x {n_points}"
        )


def _area(acquired: PointMask, block: Block | None) -> PointMask:
    """The convex hull of the points; those within their usual distance of an edge reach it."""
    first, stop, left, right = block or (0, 0, 0, 0)
    hull = _hull(np.argwhere(acquired), acquired.shape)
    n_outside = max(1, int(acquired.sum()) - (stop - first) * (right - left))
    distance = sqrt(max(1, int(hull.sum()) - (stop - first) * (right - left)) / n_outside)
    points = np.argwhere(acquired)
    reach = ceil(distance) + 1
    for axis, size in enumerate(acquired.shape):
        for edge in (0, size - 1):
            near = points[np.abs(points[:, axis] - edge) <= reach].copy()
            near[:, axis] = edge
            points = np.concatenate([points, near])
    return _hull(points, acquired.shape)


def _hull(points: Int[np.ndarray, "point 2"], shape: tuple[int, int]) -> PointMask:
    """All points within the convex hull of some, its edges among them (Andrew's monotone chain)."""
    ordered = sorted(set(map(tuple, points.tolist())))
    corners = [*_chain(ordered), *_chain(ordered[::-1])]
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    inside = np.ones(shape, bool)
    for (row, column), (next_row, next_column) in zip(corners, [*corners[1:], *corners[:1]], strict=True):
        inside &= (next_row - row) * (columns - column) - (next_column - column) * (rows - row) >= 0
    # Where all lie on one line, all of its points do.
    low, high = points.min(axis=0), points.max(axis=0)
    inside[: low[0]] = inside[high[0] + 1 :] = inside[:, : low[1]] = inside[:, high[1] + 1 :] = False
    return inside


def _chain(ordered: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """One side of the hull, without its last corner."""
    chain: list[tuple[int, int]] = []
    for point in ordered:
        while len(chain) > 1 and _turn(chain[-2], chain[-1], point) <= 0:
            chain.pop()
        chain.append(point)
    return chain[:-1] or chain


def _turn(first: tuple[int, int], second: tuple[int, int], third: tuple[int, int]) -> int:
    (row, column), (by, across) = first, (second[0] - first[0], second[1] - first[1])
    return by * (third[1] - column) - across * (third[0] - row)
