"""What a filling gets wrong, all over k-space: it predicts the acquired lines from those that it filled.

Seen from the lines between them the acquired lines are what is missing, and these are known. Lines beside the ACS,
where a part of it could be held out, are bright and easy, and say little of the rest.
"""

from dataclasses import replace

import torch
from jaxtyping import Complex64
from torch import Tensor

from raki.kspace.measured import LinearlyFilling, MeasuredSlice
from raki.planning import PointSampling, Sampling
from raki.scan.fourier import SliceKSpace

# Noise to probe with where there is none, relative to the root mean square of the k-space.
LEAST_PROBE = 1e-4
# Draws of noise by which its energy and the scatter of that are known, and how far above the mean one draw may lie.
NOISE_DRAWS = 8
NOISE_DEVIATIONS = 4.0


def mistakes(filled: SliceKSpace, sampling: Sampling | PointSampling, filling: LinearlyFilling) -> SliceKSpace:
    """Errors in predicting acquired lines outside the ACS from a lattice half a gap farther; zero elsewhere.

    None at the lines beyond that lattice.
    """
    judged = torch.from_numpy(sampling.judged_points()).to(filled.device)
    return torch.where(judged, filling.fill(filled, sampling.farther()) - filled, 0)


def relative_mistakes(
    filled: SliceKSpace, sampling: Sampling | PointSampling, filling: LinearlyFilling
) -> float | None:
    """Energy of the mistakes over that of the acquired lines outside the ACS; None where no signal can be predicted."""
    found = energies_of_mistakes(filled, sampling, filling)
    return None if found is None else found[0] / found[1]


def energies_of_mistakes(
    filled: SliceKSpace, sampling: Sampling | PointSampling, filling: LinearlyFilling
) -> tuple[float, float] | None:
    """Energy of the mistakes, and of the acquired lines outside the ACS; None where no signal can be predicted."""
    outside = torch.from_numpy(sampling.points_outside_acs()).to(filled.device)
    energy = _energy(filled[:, outside[:, 0]] if outside.shape[1] == 1 else filled[:, outside])
    if energy == 0 or not sampling.judged_points().any():
        return None
    return _energy(mistakes(filled, sampling, filling)), energy


def lattice_error(measured: MeasuredSlice, filling: LinearlyFilling) -> float | None:
    """`relative_mistakes` of what the filling makes of the lattice alone: the same whether there is an ACS or none."""
    bare = measured.lattice.without_acs()
    lattice = torch.from_numpy(bare.known_points()).to(measured.kspace.device)
    return relative_mistakes(filling.fill(torch.where(lattice, measured.kspace, 0), bare), bare, filling)


def lattice_noise(measured: MeasuredSlice, filling: LinearlyFilling, seed: int) -> float | None:
    """How much of `lattice_error` noise of the slice's level makes at most, whatever the filling is worth.

    At most: a position of a 3-D scan has few lines, so that two draws of the same noise differ by a tenth and more, and
    of the hundreds of positions none must be taken for another place by chance. A slice has enough of them for the mean
    to do, and a neighbour's weights are nearer to its own.
    """
    bare = measured.lattice.without_acs()
    lattice = torch.from_numpy(bare.known_points()).to(measured.kspace.device)
    energy = _energy(torch.where(lattice, measured.kspace, 0))
    if energy == 0:
        return None
    generator, points = torch.Generator().manual_seed(seed), replace(measured, known=lattice)
    draws = torch.empty(NOISE_DRAWS, dtype=torch.float64)
    for draw in range(NOISE_DRAWS):
        noise = white_noise(points, measured.sigma, generator)
        draws[draw] = _energy(mistakes(filling.fill(noise, bare), bare, filling))
    scatter = draws.std() if isinstance(bare, PointSampling) else 0.0
    return float(draws.mean() + NOISE_DEVIATIONS * scatter) / energy


def noise_to_explain_mistakes(
    measured: MeasuredSlice, filled: SliceKSpace, filling: LinearlyFilling, seed: int
) -> float:
    """The standard deviation of noise on a complex sample that would cause mistakes of the energy that is found.

    It holds what the filling can't explain as well as noise, and needs no estimate of it. `measured.sigma` where
    nothing could be predicted.
    """
    level = max(measured.sigma, LEAST_PROBE * float(filled.abs().square().mean().sqrt()))
    noise = white_noise(measured, level, torch.Generator().manual_seed(seed))
    by_noise = _energy(mistakes(filling.filled(replace(measured, kspace=noise)), measured.lattice, filling))
    found = _energy(mistakes(filled, measured.lattice, filling))
    return level * (found / by_noise) ** 0.5 if by_noise > 0 else measured.sigma


def white_noise(measured: MeasuredSlice, level: float, generator: torch.Generator) -> SliceKSpace:
    """White complex noise of standard deviation `level` on acquired lines, zero elsewhere."""
    noise = torch.randn(measured.kspace.shape, dtype=torch.complex64, generator=generator).to(measured.kspace.device)
    return torch.where(measured.known, level * noise, 0)


def _energy(kspace: Complex64[Tensor, "coil ..."]) -> float:
    return float(torch.view_as_real(kspace).square().sum())
