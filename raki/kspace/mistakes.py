"""What a filling gets wrong, all over k-space: it predicts the acquired lines from those that it filled.

Seen from the lines between them the acquired lines are what is missing, and these are known. Lines beside the ACS,
where a part of it could be held out, are bright and easy, and say little of the rest.
"""

from dataclasses import replace

import torch
from jaxtyping import Bool, Complex64
from torch import Tensor

from raki.kspace.linear_fit import LinearFilling
from raki.kspace.measured import MeasuredSlice
from raki.planning import Sampling, shifted
from raki.scan.fourier import SliceKSpace

# Noise to probe with where there is none, relative to the root mean square of the k-space.
LEAST_PROBE = 1e-4


def mistakes(filled: SliceKSpace, sampling: Sampling, filling: LinearFilling) -> SliceKSpace:
    """Errors in predicting acquired lines outside the ACS from a lattice half a gap farther; zero elsewhere.

    None at the lines beyond that lattice.
    """
    farther = _half_a_gap_farther(sampling)
    judged = _judged_lines(sampling, filled.device)
    return torch.where(judged[:, None], filling.fill(filled, farther) - filled, 0)


def relative_mistakes(filled: SliceKSpace, sampling: Sampling, filling: LinearFilling) -> float | None:
    """Energy of the mistakes over that of the acquired lines outside the ACS; None where no signal can be predicted."""
    energy = _energy(filled[:, acquired_outside_acs(sampling, filled.device)])
    if energy == 0 or not _judged_lines(sampling, filled.device).any():
        return None
    return _energy(mistakes(filled, sampling, filling)) / energy


def noise_to_explain_mistakes(measured: MeasuredSlice, filled: SliceKSpace, filling: LinearFilling, seed: int) -> float:
    """The standard deviation of noise on a complex sample that would cause mistakes of the energy that is found.

    It holds what the filling can't explain as well as noise, and needs no estimate of it. `measured.sigma` where
    nothing could be predicted.
    """
    level = max(measured.sigma, LEAST_PROBE * float(filled.abs().square().mean().sqrt()))
    noise = white_noise(measured, level, torch.Generator().manual_seed(seed))
    by_noise = _energy(mistakes(filling.filled(replace(measured, kspace=noise)), measured.sampling, filling))
    found = _energy(mistakes(filled, measured.sampling, filling))
    return level * (found / by_noise) ** 0.5 if by_noise > 0 else measured.sigma


def white_noise(measured: MeasuredSlice, level: float, generator: torch.Generator) -> SliceKSpace:
    """White complex noise of standard deviation `level` on acquired lines, zero elsewhere."""
    noise = torch.randn(measured.kspace.shape, dtype=torch.complex64, generator=generator).to(measured.kspace.device)
    return torch.where(measured.known[:, None], level * noise, 0)


def in_acs(sampling: Sampling, device: torch.device) -> Bool[Tensor, " pe"]:
    """Lines of the ACS inside the k-space."""
    lines = torch.zeros(sampling.n_pe, dtype=torch.bool, device=device)
    lines[slice(*(sampling.acs_lines or (0, 0)))] = True
    return lines


def acquired_outside_acs(sampling: Sampling, device: torch.device) -> Bool[Tensor, " pe"]:
    """Acquired lines that are no part of the ACS."""
    lines = torch.zeros(sampling.n_pe, dtype=torch.bool, device=device)
    lines[sampling.lattice_lines()] = True
    return lines & ~in_acs(sampling, device)


def _half_a_gap_farther(sampling: Sampling) -> Sampling:
    return shifted(sampling, sampling.acceleration // 2)


def _judged_lines(sampling: Sampling, device: torch.device) -> Bool[Tensor, " pe"]:
    lattice = _half_a_gap_farther(sampling).lattice_lines()
    judged = acquired_outside_acs(sampling, device)
    judged[: lattice[0] + 1] = judged[lattice[-1] :] = False
    return judged


def _energy(kspace: Complex64[Tensor, "coil line ro"]) -> float:
    return float(torch.view_as_real(kspace).square().sum())
