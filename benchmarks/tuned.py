"""The opponent in every ratio: plain GRAPPA, tuned by looking at the answer.

Unweighted least squares on the ACS with three kernels and five regularisations; of the fifteen results the one
closest to the fully sampled image is taken. No method that doesn't know the answer has this advantage. Nothing of
raki's own calibration is used here, so that a fault there can't flatter itself.

Griswold et al. 2002, Magn Reson Med 47:1202-1210, doi:10.1002/mrm.10171.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Complex64
from torch import Tensor
from torch.nn.functional import pad

from benchmarks.undersampling import Undersampling, lattice_gaps
from raki.coils import Image, root_sum_of_squares
from raki.images import nmse
from raki.images.metrics import Mask
from raki.scan.fourier import to_image

SliceKSpace = Complex64[Tensor, "coil pe ro"]

# Lines along phase-encode, R apart, and samples along the readout.
KERNELS = ((2, 5), (2, 9), (4, 7))
# Relative to the mean eigenvalue of the sources' covariance.
RIDGES = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2)


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One way to run GRAPPA."""

    n_pe: int
    n_ro: int
    ridge: float


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """The best of all settings."""

    kspace: SliceKSpace
    setting: Setting
    nmse: float
    """Inside the object: what the setting was chosen by."""


def tuned_grappa(measured: SliceKSpace, lines: Undersampling, reference: Image, mask: Mask) -> Tuned:
    """The setting whose root-sum-of-squares image has the lowest NMSE inside `mask`.

    Args:
        measured: zero-filled k-space of one slice.
        lines: which lines of it were acquired.
        reference: the root-sum-of-squares image of all lines, the answer.
        mask: the object in it.
    """
    found = (
        Tuned(kspace=kspace, setting=setting, nmse=nmse(root_sum_of_squares(to_image(kspace)), reference, mask))
        for setting, kspace in every_setting(measured, lines)
    )
    return min(found, key=lambda one: one.nmse)


def every_setting(measured: SliceKSpace, lines: Undersampling) -> Iterator[tuple[Setting, SliceKSpace]]:
    """The k-space as each setting fills it, acquired samples put back. A kernel too long for the ACS is left out."""
    acs = measured[:, lines.calibration_lines].to(torch.complex128)
    gaps = lattice_gaps(lines)
    for n_pe, n_ro in KERNELS:
        half, n_before = n_ro // 2, lines.acceleration * (n_pe // 2 - 1)
        n_after = lines.acceleration * (n_pe // 2)
        if n_before + n_after >= acs.shape[1]:
            continue
        inside = torch.arange(n_before, acs.shape[1] - n_after)
        interior = slice(half, acs.shape[2] - half)
        examples = _sources(acs, inside, n_pe, n_ro, lines.acceleration)[:, interior].flatten(0, 1)
        wanted = _targets(acs, inside, lines.acceleration)[:, interior].flatten(0, 1)
        covariance, correlation = examples.mH @ examples, examples.mH @ wanted
        sources = _sources(measured, gaps, n_pe, n_ro, lines.acceleration)
        for ridge in RIDGES:
            weights = _solve(covariance, correlation, ridge)
            filled = _fill(sources @ weights.to(torch.complex64), gaps, measured, lines)
            yield Setting(n_pe=n_pe, n_ro=n_ro, ridge=ridge), filled


def _sources(kspace: Tensor, gaps: Tensor, n_pe: int, n_ro: int, acceleration: int) -> Tensor:
    """Acquired neighbours of each gap at each readout position, zero outside the k-space; axes gap, ro, feature."""
    margin = n_pe * acceleration
    padded = pad(kspace, (n_ro // 2, n_ro // 2, margin, margin))
    taps = acceleration * (torch.arange(n_pe) - (n_pe // 2 - 1))
    neighbours = padded[:, margin + gaps[:, None] + taps].unfold(-1, n_ro, 1)
    return neighbours.permute(1, 3, 0, 2, 4).flatten(2)


def _targets(kspace: Tensor, gaps: Tensor, acceleration: int) -> Tensor:
    """The samples in each gap; axes gap, ro, target, a target being one coil and line of the gap."""
    return kspace[:, gaps[:, None] + torch.arange(1, acceleration)].permute(1, 3, 0, 2).flatten(2)


def _solve(covariance: Tensor, correlation: Tensor, ridge: float) -> Tensor:
    mean_eigenvalue = covariance.diagonal().real.mean()
    regularised = covariance + ridge * mean_eigenvalue * torch.eye(len(covariance))
    return torch.linalg.solve(regularised, correlation)


def _fill(targets: Tensor, gaps: Tensor, measured: Tensor, lines: Undersampling) -> Tensor:
    """Put the predicted samples where they belong; what falls outside the k-space is dropped."""
    n_coils, n_pe, _ = measured.shape
    filled = pad(measured, (0, 0, lines.acceleration, lines.acceleration))
    index = lines.acceleration + gaps[:, None] + torch.arange(1, lines.acceleration)
    filled[:, index] = targets.unflatten(-1, (n_coils, lines.acceleration - 1)).permute(2, 0, 3, 1)
    return lines.with_acquired(filled[:, lines.acceleration : lines.acceleration + n_pe], measured)
