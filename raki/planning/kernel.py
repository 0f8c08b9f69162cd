"""What of k-space a method reads at once, and whether the calibration lines hold it."""

from collections.abc import Iterator
from dataclasses import dataclass

from raki.planning.sampling import Sampling

# What most scans of benchmarks/README.md were measured with.
ADVISED_ACS_LINES = 24
# Two lines, one on either side of the gap, are the fewest that tell anything of it.
N_NARROW_LINES = 2
N_KERNEL_SAMPLES = 7


@dataclass(frozen=True, kw_only=True)
class Kernel:
    """Acquired neighbours that predict a gap: `n_pe` lines R apart, half on either side, `n_ro` samples of each."""

    n_pe: int
    n_ro: int

    def first_tap(self) -> int:
        """The first line read, in lattice steps from the acquired line before the gap."""
        return 1 - self.n_pe // 2

    def n_lines_needed(self, acceleration: int) -> int:
        """Neighbouring lines that an ACS needs to hold this kernel once."""
        return (self.n_pe - 1) * acceleration + 1


def slice_kernel(n_ro: int) -> Kernel:
    """The least kernel that a slice is calibrated with; narrower where it would be longer than half the readout."""
    return Kernel(n_pe=N_NARROW_LINES, n_ro=min(N_KERNEL_SAMPLES, n_ro // 4 * 2 + 1))


def kernel_obstacle(kernel: Kernel, sampling: Sampling, n_lines: int, n_ro: int) -> Iterator[str]:
    """The end of a sentence where `n_lines` ACS lines of `n_ro` samples are too few for a kernel; else nothing."""
    needed = kernel.n_lines_needed(sampling.acceleration)
    if n_lines < needed or n_ro < kernel.n_ro:
        yield (
            f"needs at least {needed} calibration lines of {kernel.n_ro} samples at R={sampling.acceleration}, "
            f"{ADVISED_ACS_LINES} or more are advised; there are {n_lines} of {n_ro}"
        )
