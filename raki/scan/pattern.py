"""Regular undersampling with a calibration block: which lines are acquired."""

import numpy as np

from raki.scan.arrays import LineMask


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
