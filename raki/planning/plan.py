"""What is to be done with each slice of a scan: most scans sample all slices alike, some in turn, some lost a line."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from raki.errors import UnsupportedScan
from raki.planning.points import PointSampling, find_point_sampling
from raki.planning.sampling import Sampling, find_sampling
from raki.planning.scattered import MOST_R, AnySampling, ScatteredSampling, find_scattered_sampling
from raki.scan.arrays import LineMask, LinesByImage, PointMask, PointsByFrame
from raki.scan.pattern import MOST_ACCELERATION, find_pattern, lattice_and_acs, without_losses

# Of a slice that is sampled more densely than the others: so many of its lines serve as its calibration block.
MOST_DENSE_ACS = 32
# Where no point of a lattice is missing, the hull of its points has no more than so many for each.
SPARSE = 2.0


@dataclass(frozen=True, kw_only=True)
class SlicePlan:
    """Which lines of a slice were acquired, and how those between them are filled."""

    acquired: LineMask | PointMask
    """They are put back at the end, whatever was filled."""
    regular: LineMask | PointMask
    """The lines that a method works on: acquired ones of one regular pattern, and those of it that were lost; of a
    plane all acquired points."""
    sampling: AnySampling
    """Of the regular lines, or of the points of a plane of two phase-encode directions."""
    first: tuple[LineMask, Sampling] | None = None
    """Where lines of the pattern were lost: fewer lines, regular too, from which these are filled beforehand."""

    @property
    def lost(self) -> LineMask | PointMask:
        """Lines of the regular pattern that have to be filled before it is one."""
        return self.regular & ~self.acquired


def plans_of_planes(acquired: PointMask | PointsByFrame, n_planes: int) -> Sequence[SlicePlan]:
    """A plan for each readout position of each frame of a 3-D scan; within a frame all are alike.

    Args:
        acquired: of all frames, or of each.
        n_planes: of all frames together; those of the first come first.

    Raises:
        UnsupportedScan: no point was acquired; or a frame has too few by itself.
    """
    by_frame = acquired[None] if acquired.ndim == 2 else acquired
    plans = [SlicePlan(acquired=each, regular=each, sampling=sampling) for each, sampling in _of_planes(by_frame)]
    return [plan for plan in plans for _ in range(n_planes // len(plans))]


def find_plane_sampling(acquired: PointMask | PointsByFrame) -> PointSampling | ScatteredSampling:
    """The lattice of the points of the first frame, or the area where they, or those of another frame, lie on none.

    Raises:
        UnsupportedScan: as `plans_of_planes`.
    """
    sampling = plans_of_planes(acquired, 1 if acquired.ndim == 2 else len(acquired))[0].sampling
    assert not isinstance(sampling, Sampling)
    return sampling


def _of_planes(by_frame: PointsByFrame) -> list[tuple[PointMask, PointSampling | ScatteredSampling]]:
    """Lattices where each frame has one, of the same cell; else all frames are filled as if none had."""
    alike = (by_frame == by_frame[0]).all()
    masks = by_frame[:1] if alike else by_frame
    try:
        lattices = [find_point_sampling(each) for each in masks]
    except UnsupportedScan:
        lattices = []
    if lattices and all(each.cell == lattices[0].cell for each in lattices) and not any(map(_is_sparse, lattices)):
        return list(zip(masks, lattices, strict=True))
    for number, each in enumerate(masks):
        if not each.any():
            raise UnsupportedScan(
                "no phase-encode point was acquired: every sample is zero; check the file or the mask"
                if alike
                else f"frame {number} of {len(masks)} has no phase-encode point; leave it out"
            )
    scattered = [find_scattered_sampling(each) for each in masks]
    for number, sampling in enumerate(scattered):
        if sampling.net_acceleration > MOST_R:
            of_frame = "" if alike else f" of frame {number}"
            raise UnsupportedScan(
                f"{sampling.n_acquired} of {int(sampling.meant.sum())} points{of_frame} were acquired, at no regular "
                f"places: R={sampling.net_acceleration:.1f}; raki fills such planes up to R={MOST_R:g}, each frame "
                "from its own points, and shares none between frames (no view sharing)"
            )
    return list(zip(masks, scattered, strict=True))


def _is_sparse(lattice: PointSampling) -> bool:
    """Whether points lie so far apart that each is an area of its own, in which none is missing."""
    return lattice.acceleration == 1 and find_scattered_sampling(lattice.acquired).net_acceleration > SPARSE


def plans_of(sampled: LineMask | LinesByImage, n_slices: int) -> Sequence[SlicePlan]:
    """A plan for each slice, all of the same acceleration.

    Raises:
        UnsupportedScan: no line was acquired, or the lines of a slice are not one lattice with one block; or slices
            are undersampled by factors of which one is no multiple of the other.
    """
    if sampled.ndim == 1:
        return [_plan(sampled)] * n_slices
    masks, which = np.unique(sampled, axis=0, return_inverse=True)
    plans = [_plan(mask) for mask in masks]
    acceleration = max(plan.sampling.acceleration for plan in plans)
    alike = [_brought_to(plan, acceleration) for plan in plans]
    return [alike[number] for number in which.tolist()]


def _plan(sampled: LineMask) -> SlicePlan:
    try:
        return SlicePlan(acquired=sampled, regular=sampled, sampling=find_sampling(sampled))
    except UnsupportedScan:
        pattern = find_pattern(sampled)
        fewer = None if pattern is None else without_losses(pattern)
        if pattern is None or fewer is None:
            raise
        return SlicePlan(
            acquired=sampled,
            regular=pattern.lines,
            sampling=find_sampling(pattern.lines),
            first=(fewer, find_sampling(fewer)),
        )


def _brought_to(plan: SlicePlan, acceleration: int) -> SlicePlan:
    """The same slice filled from fewer of its lines, as its neighbours are, so that what is told of all holds of it."""
    found = plan.sampling
    assert isinstance(found, Sampling)
    if found.acceleration == acceleration:
        return plan
    if acceleration % found.acceleration or acceleration > MOST_ACCELERATION:
        raise UnsupportedScan(
            f"slices are undersampled differently (R={found.acceleration} and R={acceleration}); raki needs one "
            "acceleration throughout: split the scan"
        )
    n_block = min(MOST_DENSE_ACS, found.n_pe // 4)
    lattice, block = lattice_and_acs(found.n_pe, acceleration, n_block, offset=found.offset)
    first, stop = found.acs_lines or (0, 0)
    block[:first] = block[stop:] = False
    kept = (lattice | block) & plan.regular
    return replace(plan, regular=kept, sampling=find_sampling(kept))
