"""Which lines of a fully sampled scan a method gets to see."""

from dataclasses import dataclass

import torch
from torch import Tensor

from raki.kspace.sampling import SampledLines
from raki.scan import lattice_and_acs
from raki.scan.fourier import KSpace


@dataclass(frozen=True, kw_only=True)
class Undersampling:
    """Every R-th line, and a block in the centre (the ACS)."""

    n_pe: int
    acceleration: int
    n_acs_lines: int
    offset: int | None = None
    """The lattice is the lines congruent to this modulo R; None for that of the DC line, `n_pe // 2`."""

    @property
    def lattice_offset(self) -> int:
        """The first line of the lattice."""
        offset = self.n_pe // 2 if self.offset is None else self.offset
        return offset % self.acceleration

    @property
    def sampled(self) -> SampledLines:
        """The acquired lines."""
        lattice, acs = lattice_and_acs(self.n_pe, self.acceleration, self.n_acs_lines, offset=self.offset)
        return torch.from_numpy(lattice | acs)

    @property
    def calibration_lines(self) -> slice:
        """All neighbouring acquired lines about the centre: the ACS, and the lattice lines that touch it."""
        missing = (~self.sampled).nonzero().flatten().tolist()
        first = max((line + 1 for line in missing if line < self.n_pe // 2), default=0)
        stop = min((line for line in missing if line > self.n_pe // 2), default=self.n_pe)
        return slice(first, stop)

    def applied_to(self, kspace: KSpace) -> KSpace:
        """The k-space with zeros where nothing is acquired."""
        return torch.where(self.sampled[:, None], kspace, 0)

    def with_acquired(self, filled: KSpace, measured: KSpace) -> KSpace:
        """`filled` with the acquired samples, ACS included, put back."""
        return torch.where(self.sampled[:, None], measured, filled)

    def refusal(self, n_coils: int) -> str:
        """Why this is no sensible test of a scan with so many coils; nothing if it is one."""
        if 2 * self.n_acs_lines > self.n_pe:
            return f"an ACS of {self.n_acs_lines} is more than half of {self.n_pe} lines"
        if self.acceleration > n_coils:
            return f"R={self.acceleration} is more than {n_coils} coils can tell apart"
        return ""


def lattice_gaps(lines: Undersampling) -> Tensor:
    """The lattice lines that a gap follows, and the one before the first line if lines are missing there."""
    first = lines.lattice_offset - lines.acceleration
    return torch.arange(first, lines.n_pe, lines.acceleration)
