"""Which lines were acquired, and the regular pattern behind them."""

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from jaxtyping import Bool

from raki.errors import UnsupportedScan
from raki.scan.arrays import LineMask

SampledRows = Bool[np.ndarray, "pe 1"]


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """Every R-th line of one range, plus at most one fully sampled block (the ACS) among them.

    Ranges are the first and one past the last line.
    """

    n_pe: int
    acceleration: int
    """R; 1 where no line between the outermost acquired ones is missing."""
    offset: int
    """The lattice is the lines congruent to this modulo R."""
    acquired_range: tuple[int, int]
    """Outermost acquired lines; nothing was measured outside."""
    acs_lines: tuple[int, int] | None
    """The longest run of neighbouring acquired lines, or None where no two acquired lines are neighbours."""
    n_acquired: int

    @property
    def gap(self) -> int:
        """What is missing after an acquired line: R - 1 lines, told by R."""
        return self.acceleration

    @property
    def n_acs_lines(self) -> int:
        """Number of lines to calibrate on inside the k-space itself."""
        return 0 if self.acs_lines is None else self.acs_lines[1] - self.acs_lines[0]

    @property
    def net_acceleration(self) -> float:
        """Lines of the acquired range over lines acquired: R reduced by what the ACS costs."""
        return (self.acquired_range[1] - self.acquired_range[0]) / self.n_acquired

    def gaps(self) -> list[int]:
        """The line before each gap: on the lattice, or outside k-space where the lattice ends within R of the border.

        Lines beyond an end that is farther from the border were never meant to be acquired (zero-padding, partial
        Fourier): no gap.
        """
        lattice = self.lattice_lines()
        before = [lattice[0] - self.acceleration] if 0 < lattice[0] < self.acceleration else []
        return before + (lattice if self.n_pe - lattice[-1] <= self.acceleration else lattice[:-1])

    def filled_lines(self) -> tuple[int, int]:
        """First and one past the last line that is acquired or in a gap."""
        gaps = self.gaps()
        first, stop = self.acquired_range
        return max(0, min(first, gaps[0] + 1)), min(self.n_pe, max(stop, gaps[-1] + self.acceleration))

    def acs_block(self) -> tuple[slice, slice]:
        """Where the ACS is inside the k-space."""
        return slice(*(self.acs_lines or (0, 0))), slice(None)

    def known_points(self) -> SampledRows:
        """Acquired lines, of every sample."""
        known = np.zeros((self.n_pe, 1), bool)
        known[self.lattice_lines()] = True
        known[slice(*(self.acs_lines or (0, 0)))] = True
        return known

    def meant_points(self) -> SampledRows:
        """Lines that were acquired, and those to fill."""
        meant = np.zeros((self.n_pe, 1), bool)
        meant[slice(*self.filled_lines())] = True
        return meant

    def points_outside_acs(self) -> SampledRows:
        """Acquired lines that are no part of the ACS."""
        outside = np.zeros((self.n_pe, 1), bool)
        outside[self.lattice_lines()] = True
        outside[slice(*(self.acs_lines or (0, 0)))] = False
        return outside

    def judged_points(self) -> SampledRows:
        """Acquired lines outside the ACS that lie within the lattice half a gap farther."""
        lattice = self.farther().lattice_lines()
        judged = self.points_outside_acs()
        judged[: lattice[0] + 1] = judged[lattice[-1] :] = False
        return judged

    def without_acs(self) -> "Sampling":
        """The lattice alone."""
        return replace(self, acs_lines=None)

    def farther(self) -> "Sampling":
        """The lattice half a gap farther: seen from its lines the acquired ones are what is missing."""
        return shifted(self, self.acceleration // 2)

    def fold_distance(self, rows: int, columns: int) -> float:
        """Pixels between two points so far apart, or between one and the nearest fold-over of the other."""
        period = self.n_pe / self.acceleration
        folded = abs(rows) % period
        return float(max(min(folded, period - folded), abs(columns)))

    def lattice_lines(self) -> list[int]:
        """The every-R-th lines inside the acquired range, all of them acquired."""
        first, stop = self.acquired_range
        return list(range(first + (self.offset - first) % self.acceleration, stop, self.acceleration))


def shifted(sampling: Sampling, shift: int) -> Sampling:
    """A lattice `shift` lines farther over all lines that are acquired or filled."""
    offset = (sampling.offset + shift) % sampling.acceleration
    return replace(sampling, offset=offset, acquired_range=sampling.filled_lines())


def find_sampling(sampled: LineMask) -> Sampling:
    """The regular pattern of acquired lines: R, offset and ACS.

    The lattice may have any offset, and may leave lines at both edges out (zero-padding, or a
    partial Fourier scan).

    Raises:
        UnsupportedScan: no line was acquired, or the lines are not one lattice with one block.
    """
    lines = np.flatnonzero(sampled).tolist()
    if not lines:
        raise UnsupportedScan("no phase-encode line was acquired: every sample is zero; check the file or the mask")
    gaps = [after - before for before, after in pairwise(lines)]
    acceleration = max(gaps, default=1)
    # A gap of R has a lattice line at either end; between ACS and lattice the gap may be shorter.
    offset = lines[gaps.index(acceleration)] % acceleration if gaps else 0
    longest = _longest_run(lines)
    sampling = Sampling(
        n_pe=len(sampled),
        acceleration=acceleration,
        offset=offset,
        acquired_range=(lines[0], lines[-1] + 1),
        acs_lines=longest if longest[1] - longest[0] > 1 else None,
        n_acquired=len(lines),
    )
    _check_regular(sampling, lines)
    return sampling


def _longest_run(lines: list[int]) -> tuple[int, int]:
    best = (lines[0], lines[0] + 1)
    start = lines[0]
    for before, line in pairwise([lines[0] - 1, *lines]):
        if line != before + 1:
            start = line
        if line + 1 - start > best[1] - best[0]:
            best = (start, line + 1)
    return best


def _check_regular(sampling: Sampling, lines: list[int]) -> None:
    lattice = set(sampling.lattice_lines())
    missing = sorted(lattice - set(lines))
    block = range(*(sampling.acs_lines or (0, 0)))
    stray = sorted(line for line in lines if line not in lattice and line not in block)
    if not missing and not stray:
        return
    raise UnsupportedScan(
        f"{len(lines)} of {sampling.n_pe} lines were acquired, with gaps of up to {sampling.acceleration}, but not "
        f"every {sampling.acceleration}th line plus one block: {_name(missing)} would be missing and {_name(stray)} "
        f"too many; only regular undersampling with one calibration block can be filled"
    )


def _name(lines: list[int]) -> str:
    if not lines:
        return "no line"
    shown = ", ".join(str(line) for line in lines[:8])
    return f"line {shown}" if len(lines) == 1 else f"lines {shown}{', …' if len(lines) > 8 else ''}"
