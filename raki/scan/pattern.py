"""Regular undersampling with a calibration block: which lines are acquired, and which of them were lost."""

from dataclasses import dataclass

import numpy as np

from raki.scan.arrays import LineMask

# Of the lines of a pattern; where more are missing, it is another pattern, or none.
MOST_LOST = 0.03
# No scanner skips more; beyond it a pattern is not looked for.
MOST_ACCELERATION = 32
# A lattice with lost lines is thinned to one in so many of its own lines, which avoids them.
MOST_THINNED = 4
# Lost lines are filled in from every 6th line at most: from every 8th, with 8 coils, the image's error was three times
# that of an image without losses (phantom, R = 4), from every 12th worse.
MOST_FILLED = 6


@dataclass(frozen=True, kw_only=True)
class Pattern:
    """Every R-th line of a range and one block among them, of which a few lines may be missing.

    Ranges are the first and one past the last line.
    """

    acceleration: int
    offset: int
    """The lattice is the lines congruent to this modulo R."""
    acquired_range: tuple[int, int]
    lines: LineMask
    """All lines of the pattern, those that were lost too."""
    lost: LineMask

    @property
    def has_losses(self) -> bool:
        """Whether lines of the pattern are missing."""
        return bool(self.lost.any())


def lattice_and_acs(
    n_pe: int, acceleration: int, n_acs_lines: int, *, offset: int | None = None
) -> tuple[LineMask, LineMask]:
    """Every R-th line, and the `n_acs_lines` about the centre of k-space; together they are what is acquired.

    Args:
        offset: the lattice is the lines congruent to this modulo R; by default that of the central line, `n_pe // 2`.
    """
    lines = np.arange(n_pe)
    first = n_pe // 2 - n_acs_lines // 2
    on_lattice = (lines - (n_pe // 2 if offset is None else offset)) % acceleration == 0
    return on_lattice, (lines >= first) & (lines < first + n_acs_lines)


def find_pattern(sampled: LineMask) -> Pattern | None:
    """The regular pattern of which the fewest lines are missing; None where these are too many, or all are."""
    lines = np.flatnonzero(sampled)
    if not len(lines):
        return None
    gaps = np.diff(lines)
    found: Pattern | None = None
    for acceleration in range(1, min(int(gaps.max(initial=1)), MOST_ACCELERATION) + 1):
        for offset in range(acceleration):
            pattern = _pattern(sampled, acceleration, offset)
            if found is None or pattern.lost.sum() < found.lost.sum():
                found = pattern
    assert found is not None
    return found if found.lost.sum() <= max(1, MOST_LOST * found.lines.sum()) else None


def thinned(sampled: LineMask, acceleration: int) -> LineMask | None:
    """Fewer lines of a pattern: a lattice of this R over its range that lacks none, and its longest run of lines.

    None where there is no such lattice, or too few lines for one.
    """
    lines = np.flatnonzero(sampled)
    on_lattice = np.zeros(len(sampled), bool)
    for offset in range(acceleration):
        lattice = np.arange(lines[0] + (offset - lines[0]) % acceleration, lines[-1] + 1, acceleration)
        if len(lattice) > 1 and sampled[lattice].all():
            on_lattice[lattice] = True
            first, stop = longest_run(sampled)
            on_lattice[first:stop] = True
            return on_lattice
    return None


def without_losses(pattern: Pattern) -> LineMask | None:
    """The lines of a pattern from which those that were lost can be filled in; None where there aren't enough."""
    acquired = pattern.lines & ~pattern.lost
    for factor in range(1, MOST_THINNED + 1):
        fewer = thinned(acquired, factor * pattern.acceleration)
        if fewer is not None and (factor == 1 or factor * pattern.acceleration <= MOST_FILLED):
            return fewer
    return None


def longest_run(sampled: LineMask) -> tuple[int, int]:
    """First and one past the last of the most lines that follow each other."""
    edges = np.diff(np.concatenate([[0], sampled.astype(np.int8), [0]]))
    starts, stops = np.flatnonzero(edges > 0), np.flatnonzero(edges < 0)
    longest = int((stops - starts).argmax())
    return int(starts[longest]), int(stops[longest])


def _pattern(sampled: LineMask, acceleration: int, offset: int) -> Pattern:
    lines = np.flatnonzero(sampled)
    first, stop = int(lines[0]), int(lines[-1]) + 1
    wanted = np.zeros(len(sampled), bool)
    wanted[first + (offset - first) % acceleration : stop : acceleration] = True
    beside = np.flatnonzero(sampled & ~wanted)
    if len(beside):
        wanted[beside[0] : beside[-1] + 1] = True
    return Pattern(
        acceleration=acceleration,
        offset=offset,
        acquired_range=(first, stop),
        lines=wanted,
        lost=wanted & ~sampled,
    )
