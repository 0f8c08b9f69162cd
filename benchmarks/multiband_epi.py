"""Slices excited at once and read back and forth (EPI): each with a ghost of its own, taken apart in two ways.

The simple way corrects the sum by the phase that its own navigators show, which is a mean over its slices, and takes it
apart as if nothing were left. The other one is raki's: kernels for lines of either direction, which see what is left.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import product

import numpy as np
import torch
from jaxtyping import Complex64
from rich.table import Table
from torch import Tensor

from benchmarks.records import CONSOLE
from raki.coils import root_sum_of_squares
from raki.formats.epi.ghost import ghost_level, nyquist_phase
from raki.images import nmse
from raki.images.metrics import object_mask
from raki.kspace import GroupGhosts, complete
from raki.kspace.caipi import GroupAcs, GroupKSpace, collapsed
from raki.kspace.separation import Calibrated, calibrate_separation
from raki.scan import NyquistPhase
from raki.scan.fourier import to_image

DIFFERENCES_RAD = (0.0, 0.1, 0.3, 0.6)
# Slices at once, N of the shift by one N-th of the field of view over R, and R.
EPI_CASES = ((2, 2, 1), (3, 3, 1), (4, 3, 1), (2, 2, 2))
N_REFERENCE_LINES, N_NAVIGATORS = 32, 3
COMMON = NyquistPhase(offset_rad=0.4, slope_rad_per_pixel=0.03)


@dataclass(frozen=True, kw_only=True)
class EpiMeasurement:
    """One sum of slices with ghosts."""

    scan: str
    n_bands: int
    acceleration: int
    difference_rad: float
    """Of the ghost's phase between neighbouring slices: in the middle, and once more at the edge."""
    errors: dict[str, float]
    """NMSE of the root-sum-of-squares images inside the object, all slices, gaps filled by GRAPPA."""
    ghosts: dict[str, float]
    """`raki.formats.epi.ghost.ghost_level`, mean over the slices; of the truth too."""


def epi_measurements(groups: Iterator[tuple[str, GroupKSpace]], noise: float) -> Iterator[EpiMeasurement]:
    """Every difference of phase for every group, for the cases of as many slices.

    Args:
        noise: level over the brightest pixel of a coil's image.
    """
    for name, slices in groups:
        cases = [case for case in EPI_CASES if case[0] == len(slices)]
        for (_, shift, acceleration), difference in product(cases, DIFFERENCES_RAD):
            yield _measure(name, slices, shift, acceleration, difference, noise)


def epi_table(found: list[EpiMeasurement]) -> Table:
    """All of them."""
    table = Table(
        "slices", "at once", "R", "difference, rad", "NMSE: mean phase", "dual", "ghost: mean", "dual", "truth"
    )
    for one in found:
        levels = [f"{100 * one.ghosts[way]:.1f} %" for way in ("mean", "dual", "truth")]
        errors = [f"{one.errors[way]:.2e}" for way in ("mean", "dual")]
        table.add_row(one.scan, str(one.n_bands), str(one.acceleration), f"{one.difference_rad}", *errors, *levels)
    return table


def _measure(
    name: str, slices: GroupKSpace, shift: int, acceleration: int, difference_rad: float, noise: float
) -> EpiMeasurement:
    n_bands, _, n_pe, n_ro = slices.shape
    turns = tuple(band / shift / acceleration for band in range(n_bands))
    lines = torch.arange(n_pe // 2 % acceleration, n_pe, acceleration)
    is_reversed = torch.zeros(n_pe, dtype=torch.bool)
    is_reversed[lines[1::2]] = True
    own = tuple(
        NyquistPhase(
            offset_rad=COMMON.offset_rad + difference_rad * (band - (n_bands - 1) / 2),
            slope_rad_per_pixel=COMMON.slope_rad_per_pixel + (-1) ** band * difference_rad / n_ro,
        )
        for band in range(n_bands)
    )
    generator = torch.Generator().manual_seed(0)
    sigma = noise * float(to_image(slices).abs().max())

    def noisy(kspace: Tensor) -> Tensor:
        return kspace + sigma * torch.randn(kspace.shape, generator=generator, dtype=torch.complex64)

    def navigators(of: GroupKSpace) -> tuple[Complex64[np.ndarray, "navigator coil ro"], np.ndarray]:
        turned = torch.arange(N_NAVIGATORS) % 2 == 1
        centres = of[:, :, n_pe // 2].unsqueeze(2).expand(-1, -1, N_NAVIGATORS, -1)
        played = GroupGhosts(phases=own, is_reversed=is_reversed).put_in(centres, turned)
        return noisy(played.sum(dim=0)).movedim(1, 0).numpy(), turned.numpy()

    common = nyquist_phase(*navigators(slices))
    found = tuple(
        nyquist_phase(*navigators(slices * (torch.arange(n_bands) == band)[:, None, None, None]))
        for band in range(n_bands)
    )
    measured = GroupGhosts(phases=tuple(phase.beyond(common) for phase in own), is_reversed=is_reversed)
    known = GroupGhosts(phases=tuple(phase.beyond(common) for phase in found), is_reversed=is_reversed)
    # Each slice of the reference is corrected by what its navigators showed, and keeps their error.
    rest = GroupGhosts(phases=tuple(map(NyquistPhase.beyond, own, found)), is_reversed=is_reversed)
    first = n_pe // 2 - N_REFERENCE_LINES // 2
    of_shots = torch.arange(n_pe) // acceleration % 2 == 1
    reference = noisy(rest.put_in(slices, of_shots)[:, :, first : first + N_REFERENCE_LINES])
    total = torch.zeros_like(slices[0])
    total[:, lines] = noisy(collapsed(measured.put_in(slices, is_reversed), turns))[:, lines]
    ways = {
        "mean": calibrate_separation(reference, turns, acceleration),
        "dual": calibrate_separation(reference, turns, acceleration, ghosts=known),
    }
    wanted = root_sum_of_squares(to_image(slices))
    images = {way: _images(each, total, reference) for way, each in ways.items()}
    mask = object_mask(wanted)
    one = EpiMeasurement(
        scan=name,
        n_bands=n_bands,
        acceleration=acceleration,
        difference_rad=difference_rad,
        errors={way: nmse(image, wanted, mask) for way, image in images.items()},
        ghosts={
            way: float(np.mean([ghost_level(one.numpy()) for one in image]))
            for way, image in {**images, "truth": wanted}.items()
        },
    )
    CONSOLE.print(asdict(one))
    return one


def _images(calibrated: Calibrated, total: Tensor, reference: GroupAcs) -> Tensor:
    sampled = (total != 0).any(dim=0).any(dim=-1)
    filled, _ = complete(calibrated.separate(total), "grappa", sampled=sampled, acs=reference)
    return root_sum_of_squares(to_image(filled))
