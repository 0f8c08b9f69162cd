"""The N/2 ghosts of slices excited at once: each slice has its own, and the sum can be corrected by one phase only.

So what a kernel sees of a sum differs between lines read forward and lines read backward, and there is one for either
(dual polarity): it takes the slices apart and corrects the ghost of each in one step.

Setsompop et al. 2012, Magn Reson Med 67:1210-1224, doi:10.1002/mrm.23097; Hoge and Polimeni 2016, Magn Reson Med
76:32-44, doi:10.1002/mrm.25839 (dual-polarity GRAPPA); Koopmans 2017, Magn Reson Med 77:998-1009,
doi:10.1002/mrm.26177 (2-D Nyquist ghosts of slices excited at once).
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from raki.kspace.caipi import GroupAcs, GroupKSpace
from raki.kspace.slice_grappa import Seen
from raki.scan import NyquistPhase
from raki.scan.fourier import SliceKSpace, lines_to_profiles, profiles_to_lines

Reversed = Bool[Tensor, " line"]
"""Which lines were read backward."""

NO_PHASE = NyquistPhase(offset_rad=0.0, slope_rad_per_pixel=0.0)


@dataclass(frozen=True, kw_only=True)
class GroupGhosts:
    """The ghosts of the slices of one group, as `raki.scan.SliceGhosts` has those of all."""

    phases: tuple[NyquistPhase, ...]
    """Of each slice, beyond the phase by which the sum was corrected."""
    is_reversed: Reversed
    """Of the lines of the sum's k-space."""
    common: NyquistPhase = NO_PHASE
    """Of the sum's correction, what the reference's navigators don't show."""

    def put_in(self, group: GroupKSpace, is_reversed: Reversed) -> GroupKSpace:
        """Slices without ghosts as they enter a sum: half of the phase in forward lines, and half of it, the other
        way round, in reversed ones."""
        n_ro = group.shape[-1]
        angles = torch.from_numpy(np.stack([0.5 * phase.along_readout(n_ro) for phase in self.phases]))
        forward = torch.polar(torch.ones_like(angles), angles).to(torch.complex64)[:, None, None].to(group.device)
        factors = torch.where(is_reversed.to(group.device)[:, None], forward.conj(), forward)
        return profiles_to_lines(lines_to_profiles(group) * factors)

    def seen(self, reference: GroupAcs, *, backward: bool) -> Seen:
        """The reference, without ghosts, as a kernel for forward lines, or for backward ones, sees it.

        In whichever direction its lines were recorded: so each line is an example for both kernels.
        """
        n_lines = reference.shape[-2]
        same, other = (
            self.put_in(reference, torch.full((n_lines,), direction)) for direction in (backward, not backward)
        )
        return same, other


def corrected(measured: SliceKSpace, is_reversed: Reversed, phase: NyquistPhase) -> SliceKSpace:
    """A sum without this phase between its forward and its reversed lines."""
    ghosts = GroupGhosts(phases=(phase,), is_reversed=~is_reversed)
    return ghosts.put_in(measured[None], ghosts.is_reversed)[0]
