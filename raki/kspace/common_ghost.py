"""What the navigators of slices excited at once don't tell: a phase that all ghosts of a sum have in common.

The navigators of a sum show the phase of a sum, to which slices contribute by the phases of their excitation. Pulses
that excite several slices give each another one, to keep their peak low (Wong 2012, Proc Intl Soc Magn Reson Med
20:2209), and the reference's may not. Where slices cancel in the sum, its navigators then show a phase that none of
them has. With the right one the separated slices agree with their references, with another one much less: it is looked
for near that which the sum's navigators show, and near that which the reference's show.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import product

import numpy as np

from raki.kspace.caipi import GroupAcs
from raki.kspace.ghosts import NO_PHASE
from raki.kspace.separation import Calibrated, agreement
from raki.scan import NyquistPhase
from raki.scan.fourier import SliceKSpace

# Offsets over a whole turn that are tried first; then steps are halved: to a hundredth of a radian in the middle and at
# the edge of the field of view.
N_OFFSETS = 6
N_HALVINGS = 6
EDGE_STEP_RAD = 0.6
# Mean correlation of the slices with their references. Where navigators told all, simulated scans gain 1e-5.
LEAST_GAIN = 1e-3


def with_common_ghost(calibrated: Calibrated, measured: SliceKSpace, reference: GroupAcs) -> Calibrated:
    """The calibration with a further correction of the sums, where slices agree better with their references by it.

    Lines read in one direction have none.

    Args:
        measured: a sum of the group.
        reference: as of `raki.kspace.separation.calibrate_separation`.
    """
    ghosts = calibrated.ghosts
    if ghosts is None:
        return calibrated
    n_lines, n_pe, n_ro = reference.shape[-2], *measured.shape[-2:]
    middle = slice(n_pe // 2 - n_lines // 2, n_pe // 2 - n_lines // 2 + n_lines)
    about_centre = replace(calibrated, ghosts=replace(ghosts, is_reversed=ghosts.is_reversed[middle]))

    def agreed(phase: NyquistPhase) -> float:
        apart = replace(about_centre, common=phase).separate(measured[:, middle])
        return float(agreement(apart, reference).mean())

    as_said = most = agreed(best := NO_PHASE)
    offset_step, slope_step = 2 * np.pi / N_OFFSETS, EDGE_STEP_RAD / (n_ro / 2)
    for start, number in product((NO_PHASE, ghosts.common.inverse()), range(N_OFFSETS)):
        phase = replace(start, offset_rad=start.offset_rad + number * offset_step)
        if (found := agreed(phase)) > most:
            most, best = found, phase
    for _ in range(N_HALVINGS):
        offset_step, slope_step = offset_step / 2, slope_step / 2
        for phase in _beside(best, offset_step, slope_step):
            if (found := agreed(phase)) > most:
                most, best = found, phase
    # A whole turn more would only change the sign of the slices.
    best = replace(best, offset_rad=float(np.angle(np.exp(1j * best.offset_rad))))
    return replace(calibrated, common=best) if most > as_said + LEAST_GAIN else calibrated


def _beside(phase: NyquistPhase, offset_step: float, slope_step: float) -> Iterator[NyquistPhase]:
    for sign in (-1, 1):
        yield replace(phase, offset_rad=phase.offset_rad + sign * offset_step)
        yield replace(phase, slope_rad_per_pixel=phase.slope_rad_per_pixel + sign * slope_step)
