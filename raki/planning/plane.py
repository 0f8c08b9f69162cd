"""What is known of points that were acquired of two phase-encode directions, whether they lie on a lattice or not."""

from dataclasses import dataclass, field

import numpy as np

from raki.scan.arrays import PointMask

Block = tuple[int, int, int, int]


@dataclass(frozen=True, kw_only=True, eq=False)
class PlaneSampling:
    """Points within an area, plus at most one fully sampled block."""

    acquired: PointMask
    block: Block | None
    """The calibration block inside k-space: first and one past the last line, first and one past the last point."""
    meant: PointMask = field(repr=False)
    """Points that were acquired or skipped; beyond them nothing was meant to be (corners, partial Fourier)."""

    @property
    def net_acceleration(self) -> float:
        """Points of the area over points acquired: R reduced by what the calibration block costs."""
        return float(self.meant.sum() / self.acquired.sum())

    @property
    def n_pe(self) -> int:
        """Lines of the plane."""
        return self.acquired.shape[0]

    @property
    def n_acquired(self) -> int:
        """Acquired points."""
        return int(self.acquired.sum())

    @property
    def acs_lines(self) -> tuple[int, int] | None:
        """Lines of the calibration block, or None where there is none."""
        return None if self.block is None else self.block[:2]

    @property
    def n_acs_lines(self) -> int:
        """Number of these."""
        return 0 if self.block is None else self.block[1] - self.block[0]

    @property
    def acquired_range(self) -> tuple[int, int]:
        """Outermost lines with an acquired point."""
        lines = np.flatnonzero(self.acquired.any(axis=1))
        return int(lines[0]), int(lines[-1]) + 1

    def filled_lines(self) -> tuple[int, int]:
        """First and one past the last line with a point that is acquired or filled."""
        lines = np.flatnonzero(self.meant.any(axis=1))
        return int(lines[0]), int(lines[-1]) + 1

    def acs_block(self) -> tuple[slice, slice]:
        """Where the calibration block is inside the plane."""
        first, stop, left, right = self.block or (0, 0, 0, 0)
        return slice(first, stop), slice(left, right)

    def known_points(self) -> PointMask:
        """Acquired points."""
        return self.acquired

    def meant_points(self) -> PointMask:
        """Acquired points, and those to fill."""
        return self.meant

    def points_outside_acs(self) -> PointMask:
        """Acquired points that are no part of the calibration block."""
        outside = self.acquired.copy()
        outside[self.acs_block()] = False
        return outside
