"""Which points of two phase-encode directions were acquired, and the lattice behind them (3-D scans).

Once the readout of a 3-D scan is transformed, each of its positions has a plane of k-space of its own, `pe pe2`, in
which points are acquired as lines are in 2-D: every Ry-th line, of it every Rz-th point, from line to line displaced
(CAIPIRINHA), within an area that may lack its corners (elliptical scanning), and a block of all points to calibrate on.

Breuer et al. 2006, Magn Reson Med 55:549-556, doi:10.1002/mrm.20787.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from math import gcd

import numpy as np
from jaxtyping import Int

from raki.errors import UnsupportedScan
from raki.planning.kernel import Kernel
from raki.planning.plane import Block, PlaneSampling
from raki.scan.arrays import PointMask

# No scanner skips more in one direction.
MOST_STEP = 8
# Fewer lines or points than these are no calibration block.
LEAST_BLOCK = 4

Offsets = Int[np.ndarray, "offset 2"]


@dataclass(frozen=True, kw_only=True)
class Cell:
    """The unit cell of a lattice: one acquired point, and `n_pe * n_pe2 - 1` that were skipped."""

    n_pe: int
    """Lines from one line with acquired points to the next: Ry."""
    n_pe2: int
    """Points from one acquired point of such a line to the next: Rz."""
    shift: int = 0
    """By how many points the lattice of each next line is displaced, modulo Rz."""

    @property
    def acceleration(self) -> int:
        """R, of both directions together."""
        return self.n_pe * self.n_pe2

    def targets(self) -> Offsets:
        """The skipped points, relative to the acquired one."""
        every = np.stack(np.meshgrid(np.arange(self.n_pe), np.arange(self.n_pe2), indexing="ij"), axis=-1)
        return every.reshape(-1, 2)[1:]

    def taps(self, kernel: Kernel) -> Offsets:
        """The acquired points that a kernel reads: of each of its lines the nearest to the middle of the cell."""
        rows = kernel.first_tap() + np.arange(kernel.n_pe)
        found = []
        for row in rows:
            columns = self.shift * row % self.n_pe2 + self.n_pe2 * np.arange(-kernel.n_ro, kernel.n_ro + 1)
            nearest = np.argsort(np.abs(columns - (self.n_pe2 - 1) / 2), kind="stable")[: kernel.n_ro]
            found += [(int(row) * self.n_pe, int(column)) for column in np.sort(columns[nearest])]
        return np.array(found)

    def folds(self) -> list[tuple[float, float]]:
        """How far the images of one point lie apart that the lattice can't tell from each other, in fields of view."""
        return [
            (((row - self.shift * column / self.n_pe2) / self.n_pe) % 1.0, column / self.n_pe2)
            for column in range(self.n_pe2)
            for row in range(self.n_pe)
        ]


@dataclass(frozen=True, kw_only=True, eq=False)
class PointSampling(PlaneSampling):
    """One lattice of points within an area, plus at most one fully sampled block."""

    cell: Cell
    offset: tuple[int, int]
    """One point of the lattice."""

    @property
    def acceleration(self) -> int:
        """R, of both directions together; 1 where no point is missing."""
        return self.cell.acceleration

    @property
    def gap(self) -> Cell:
        """What is missing about an acquired point."""
        return self.cell

    def judged_points(self) -> PointMask:
        """Acquired points outside the block that have neighbours on all sides."""
        height, width = 2 * self.cell.n_pe + 1, 2 * self.cell.n_pe2 + 1
        return self.points_outside_acs() & ~_grown_beyond(~self.meant, height, width)

    def without_acs(self) -> "PointSampling":
        """The lattice alone."""
        lattice = self.acquired & on_lattice(self.acquired.shape, self.cell, self.offset)
        return PointSampling(acquired=lattice, cell=self.cell, offset=self.offset, block=None, meant=self.meant)

    def farther(self) -> "PointSampling":
        """The lattice half a cell farther: seen from its points the acquired ones are what is missing."""
        row, column = self.offset[0] + self.cell.n_pe // 2, self.offset[1]
        if self.cell.n_pe2 > 1:
            column += self.cell.n_pe2 // 2
        return PointSampling(
            acquired=self.acquired, cell=self.cell, offset=(row, column), block=self.block, meant=self.meant
        )

    def fold_distance(self, rows: int, columns: int) -> float:
        """Pixels between two points so far apart, or between one and the nearest fold-over of the other."""
        n_rows, n_columns = self.acquired.shape
        return min(
            max(_around(rows + row * n_rows, n_rows), _around(columns + column * n_columns, n_columns))
            for row, column in self.cell.folds()
        )

    @cached_property
    def gaps(self) -> "Gaps":
        """Lattice points with skipped points in their cell, and where these are."""
        return _gaps(self)

    def fitting(self, offsets: Offsets) -> Int[np.ndarray, "place 2"]:
        """The places from which all of these offsets lead to points that are acquired or filled."""
        return fitting(self.meant, offsets)


@dataclass(frozen=True, kw_only=True)
class Gaps:
    """Lattice points, some of them beyond the plane, and the points of their cells that are to be filled."""

    anchors: Int[np.ndarray, "gap 2"]
    targets: Int[np.ndarray, "target 3"]
    """Gap, which of the cell's targets, and place in the flattened plane."""


def find_point_sampling(acquired: PointMask) -> PointSampling:
    """The lattice of acquired points: cell, displacement, calibration block and area.

    Raises:
        UnsupportedScan: no point was acquired, or they aren't one lattice with one block.
    """
    if not acquired.any():
        raise UnsupportedScan("no phase-encode point was acquired: every sample is zero; check the file or the mask")
    blocks = _central_blocks(acquired)
    found = [_regular(acquired, *_lattice(rest)) for rest in _beside_calibration(acquired, blocks) if len(rest) > 1]
    regular = max((each for each in found if each is not None), key=lambda each: each[0].acceleration, default=None)
    if regular is None:
        raise UnsupportedScan(
            f"{int(acquired.sum())} of {acquired.size} points of the two phase-encode directions were acquired, but "
            "not on one lattice with one calibration block"
        )
    cell, offset, meant = regular
    largest = max(blocks, key=_n_points, default=None) if cell.acceleration > 1 else None
    return PointSampling(acquired=acquired, cell=cell, offset=offset, block=largest, meant=meant)


def largest_block(acquired: PointMask) -> Block | None:
    """The largest fully sampled rectangle about the centre: first and one past the last line, then of its points."""
    return max(_central_blocks(acquired), key=_n_points, default=None)


def fitting(mask: PointMask, offsets: Offsets) -> Int[np.ndarray, "place 2"]:
    """The places from which all of these offsets, one of them other than zero, lead to points of a mask."""
    margin = int(np.abs(offsets).max())
    padded = np.pad(mask, margin)
    fits = np.ones(mask.shape, bool)
    for row, column in offsets.tolist():
        fits &= np.roll(padded, (-row, -column), axis=(0, 1))[margin:-margin, margin:-margin]
    return np.argwhere(fits)


def on_lattice(shape: tuple[int, ...], cell: Cell, offset: tuple[int, int]) -> PointMask:
    """Which points of a plane are on a lattice."""
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    lattice_row, beside = np.divmod(rows - offset[0], cell.n_pe)
    return (beside == 0) & ((columns - offset[1] - cell.shift * lattice_row) % cell.n_pe2 == 0)


def grown(mask: PointMask, height: int, width: int) -> PointMask:
    """Points with one of the mask within a box of odd sides about them."""
    for axis, size in ((0, height), (1, width)):
        found = mask.copy()
        for step in range(1, size // 2 + 1):
            for sign in (1, -1):
                moved = np.roll(mask, sign * step, axis)
                edge = [slice(None)] * 2
                edge[axis] = slice(0, step) if sign > 0 else slice(-step, None)
                moved[tuple(edge)] = False
                found |= moved
        mask = found
    return mask


def _regular(
    acquired: PointMask, cell: Cell, offset: tuple[int, int]
) -> tuple[Cell, tuple[int, int], PointMask] | None:
    """The lattice and its area, if all of its points there were acquired."""
    if max(cell.n_pe, cell.n_pe2) > MOST_STEP:
        return None
    area = _area(acquired, cell)
    missing = on_lattice(acquired.shape, cell, offset) & ~acquired
    # At the edge of the area a point is as good as outside; among others it is lost.
    beyond = _grown_beyond(~area, 2 * cell.n_pe + 1, 2 * cell.n_pe2 + 1)
    lost = missing & (_among(acquired, cell) | (area & ~beyond))
    return None if lost.any() else (cell, offset, area & ~missing)


def _beside_calibration(acquired: PointMask, blocks: list[Block]) -> Iterator[Int[np.ndarray, "point 2"]]:
    """Points of the lattice alone, if all others are in a block, in its lines, or beside them within its points."""
    for first, stop, left, right in blocks or [(0, 0, 0, 0)]:
        for excluded in (np.s_[first:stop, left:right], np.s_[first:stop], np.s_[:, left:right]):
            rest = acquired.copy()
            rest[excluded] = False
            yield np.argwhere(rest)
    yield np.argwhere(acquired)


def _central_blocks(acquired: PointMask) -> list[Block]:
    """Fully sampled rectangles about the centre, grown as far as they can be in either direction first, and in turn."""
    centre = acquired.shape[0] // 2, acquired.shape[1] // 2
    if not acquired[centre]:
        return []
    block = (centre[0], centre[0] + 1, centre[1], centre[1] + 1)
    grow = {order: _block_grown(acquired, block, order) for order in ("lines", "points", "both")}
    blocks = [_block_grown(acquired, each, "both") for each in grow.values()]
    return [each for each in dict.fromkeys(blocks) if min(each[1] - each[0], each[3] - each[2]) >= LEAST_BLOCK]


def _block_grown(acquired: PointMask, block: Block, order: str) -> Block:
    first, stop, left, right = block
    n_lines, n_points = acquired.shape
    growing = True
    while growing:
        before = (first, stop, left, right)
        if order != "points":
            first -= bool(first > 0 and acquired[first - 1, left:right].all())
            stop += bool(stop < n_lines and acquired[stop, left:right].all())
        if order != "lines":
            left -= bool(left > 0 and acquired[first:stop, left - 1].all())
            right += bool(right < n_points and acquired[first:stop, right].all())
        growing = before != (first, stop, left, right)
    return first, stop, left, right


def _n_points(block: Block) -> int:
    return (block[1] - block[0]) * (block[3] - block[2])


def _lattice(points: Int[np.ndarray, "point 2"]) -> tuple[Cell, tuple[int, int]]:
    """The coarsest lattice that holds all points."""
    first_row, first_column = (int(n) for n in points[0])
    rows = points[:, 0] - first_row
    n_pe = gcd(*np.unique(rows).tolist()) or 1
    lattice_rows = rows // n_pe
    starts = {int(row): int(points[lattice_rows == row, 1].min()) for row in np.unique(lattice_rows)}
    within = np.unique([column - starts[int(row)] for row, column in zip(lattice_rows, points[:, 1], strict=True)])
    n_pe2 = gcd(*within.tolist()) or 1
    # From each line to the first: whole steps of the displacement, modulo the distance of the points.
    for shift in range(n_pe2):
        if all((start - first_column - shift * row) % n_pe2 == 0 for row, start in starts.items()):
            return Cell(n_pe=n_pe, n_pe2=n_pe2, shift=shift), (first_row, first_column)
    # Displaced by other amounts: only a finer lattice holds all.
    finer = gcd(n_pe2, *(abs(start - first_column) for start in starts.values())) or 1
    return Cell(n_pe=n_pe, n_pe2=finer), (first_row, first_column)


def _area(acquired: PointMask, cell: Cell) -> PointMask:
    """Points between acquired ones, and those at the border of the plane within a cell of them."""
    height, width = max(3, 2 * cell.n_pe - 1), max(3, 2 * cell.n_pe2 - 1)
    near = np.pad(grown(acquired, height, width), ((height,) * 2, (width,) * 2), constant_values=True)
    closed = ~grown(~near, height, width)
    return closed[height:-height, width:-width] | acquired


def _among(acquired: PointMask, cell: Cell) -> PointMask:
    """Points that have acquired ones on all sides, two cells away at most."""
    height, width = max(3, 4 * cell.n_pe - 1), max(3, 4 * cell.n_pe2 - 1)
    return ~_grown_beyond(~grown(acquired, height, width), height, width)


def _grown_beyond(mask: PointMask, height: int, width: int) -> PointMask:
    """`grown` where all is of the mask that lies beyond the plane."""
    margins = (height,) * 2, (width,) * 2
    return grown(np.pad(mask, margins, constant_values=True), height, width)[height:-height, width:-width]


def _gaps(sampling: PointSampling) -> Gaps:
    cell, (row, column) = sampling.cell, sampling.offset
    missing = np.argwhere(sampling.meant & ~on_lattice(sampling.meant.shape, cell, sampling.offset))
    lattice_rows, down = np.divmod(missing[:, 0] - row, cell.n_pe)
    start = column + cell.shift * lattice_rows
    lattice_columns, across = np.divmod(missing[:, 1] - start, cell.n_pe2)
    anchors = np.stack([row + lattice_rows * cell.n_pe, start + lattice_columns * cell.n_pe2], axis=1)
    unique, which = np.unique(anchors, axis=0, return_inverse=True)
    flat = missing[:, 0] * sampling.meant.shape[1] + missing[:, 1]
    return Gaps(anchors=unique, targets=np.stack([which.ravel(), down * cell.n_pe2 + across - 1, flat], axis=1))


def _around(distance: float, period: int) -> float:
    """The distance on a circle."""
    return min(abs(distance) % period, period - abs(distance) % period)
