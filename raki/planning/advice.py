"""What is warned of before and after: where acceleration is high, and where calibration lines lie beside the centre."""

from collections.abc import Iterator

from raki.planning.sampling import Sampling

# Beyond this nothing was measured (benchmarks/README.md has R of 2 to 6).
HIGH_ACCELERATION = 6
# Two measured brains and a simulated head, R of 2 and 4, 24 ACS lines moved by 12 to 24 lines, and by 8 to 10.
OUTSIDE_COSTS = "1.1 to 108"
BESIDE_COSTS = "1.0 to 4.5"


def off_centre_warning(sampling: Sampling, centre: int) -> Iterator[str]:
    """A sentence where the ACS inside k-space doesn't hold the line at its centre, or hardly; else nothing.

    Nothing supposes the centre in the middle of the lines. But where the ACS isn't about it, the brightest lines are
    among those filled, and relative mistakes there are most of the error energy.
    """
    if sampling.acs_lines is None or sampling.acceleration == 1:
        return
    first, stop = sampling.acs_lines
    n_beside = min(centre - first, stop - 1 - centre)
    block = f"the ACS (lines {first} to {stop - 1})"
    if n_beside < 0:
        yield (
            f"The centre of k-space (line {centre}) is outside {block}: the brightest lines were filled, not measured, "
            f"and heads had {OUTSIDE_COSTS} times the error energy of those whose ACS lies about it."
        )
    elif n_beside < min(2 * sampling.acceleration, (stop - first) // 4):
        yield (
            f"The centre of k-space (line {centre}) is at the end of {block}: bright lines beside it were filled, not "
            f"measured, and heads had {BESIDE_COSTS} times the error energy of those whose ACS lies about it."
        )
