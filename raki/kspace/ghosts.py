"""The N/2 ghosts of slices excited at once: each slice has its own, and the sum can be corrected by one phase only.

So what a kernel sees of a sum differs between lines read forward and lines read backward, and there is one for either
(dual polarity): it takes the slices apart and corrects the ghost of each in one step.

Setsompop et al. 2012, Magn Reson Med 67:1210-1224, doi:10.1002/mrm.23097; Hoge and Polimeni 2016, Magn Reson Med
76:32-44, doi:10.1002/mrm.25839 (dual-polarity GRAPPA); Koopmans 2017, Magn Reson Med 77:998-1009,
doi:10.1002/mrm.26177 (2-D Nyquist ghosts of slices excited at once).
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from raki.kspace.caipi import GroupAcs, GroupKSpace
from raki.planning import Kernel
from raki.scan import NyquistPhase
from raki.scan.fourier import lines_to_profiles, profiles_to_lines

Reversed = Bool[Tensor, " line"]
"""Which lines were read backward."""


@dataclass(frozen=True, kw_only=True)
class GroupGhosts:
    """The ghosts of the slices of one group, as `raki.scan.SliceGhosts` has those of all."""

    phases: tuple[NyquistPhase, ...]
    """Of each slice, beyond the phase by which the sum was corrected."""
    is_reversed: Reversed
    """Of the lines of the sum's k-space."""
    of_reference: Reversed | None
    """Of the reference's lines; None where that isn't known, or differs between its slices."""

    def put_in(self, group: GroupKSpace, is_reversed: Reversed) -> GroupKSpace:
        """Slices without ghosts as they enter a sum: half of the phase in forward lines, and half of it, the other
        way round, in reversed ones."""
        n_ro = group.shape[-1]
        angles = torch.from_numpy(np.stack([0.5 * phase.along_readout(n_ro) for phase in self.phases]))
        forward = torch.polar(torch.ones_like(angles), angles).to(torch.complex64)[:, None, None].to(group.device)
        factors = torch.where(is_reversed.to(group.device)[:, None], forward.conj(), forward)
        return profiles_to_lines(lines_to_profiles(group) * factors)

    def seen(self, reference: GroupAcs, *, backward: bool) -> tuple[GroupAcs, GroupAcs]:
        """The reference as a kernel for forward lines, or backward ones, sees it: on such lines, and on the others."""
        n_lines = reference.shape[-2]
        same, other = (
            self.put_in(reference, torch.full((n_lines,), direction)) for direction in (backward, not backward)
        )
        return same, other

    def as_recorded(self, kernel: Kernel, step: int, *, backward: bool) -> Bool[Tensor, " place"] | None:
        """About which lines of the reference a kernel that fits sees directions in which they were recorded.

        There the ghost is a measured one in all its parts, elsewhere the phase that navigators showed.
        """
        if self.of_reference is None:
            return None
        above = kernel.n_pe // 2
        n_places = len(self.of_reference) - 2 * above * step
        taps = torch.arange(kernel.n_pe)
        lines = torch.arange(max(n_places, 0))[:, None] + step * taps
        wanted = torch.where((taps - above) % 2 == 0, backward, not backward)
        return (self.of_reference[lines] == wanted).all(dim=1)

    def less(self, common: NyquistPhase) -> "GroupGhosts":
        """Those that are left where the sum is corrected by a further phase."""
        return replace(self, phases=tuple(phase.beyond(common) for phase in self.phases))
