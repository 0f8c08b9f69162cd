"""SPIRiT: every sample of k-space is a sum of those around it, acquired or not; what isn't acquired is solved for.

A kernel of GRAPPA reads acquired neighbours at certain places, and where points were acquired at random no two gaps
have the same. SPIRiT's reads all neighbours, so one kernel holds everywhere: x = G x. Of all k-spaces with the acquired
samples, the one that violates this least is found by conjugate gradients.

Lustig and Pauly 2010, Magn Reson Med 64:457-471, doi:10.1002/mrm.22428.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Complex64, Complex128, Float64
from torch import Tensor
from torch.nn.functional import unfold

from raki.scan.fourier import PLANES, SliceAcs, SliceKSpace

# Sides of the kernel. The largest of which the block has so many examples for each unknown.
SIDES = (7, 5, 3)
EXAMPLES_PER_UNKNOWN = 1.0
MOST_STEPS = 30
# Where a step's residual has this part of the first one's norm, nothing that follows is seen.
SMALL_RESIDUAL = 1e-3


def kernel_side(n_coils: int, n_lines: int, n_points: int) -> int:
    """The side of the largest kernel that a block of so many lines of so many points can calibrate, or of the least."""
    for side in SIDES:
        if n_coils <= _most_coils(side, n_lines, n_points):
            return side
    return SIDES[-1]


def most_coils(n_lines: int, n_points: int) -> int:
    """Coils for which a block of so many lines of so many points can calibrate the least kernel; 0 where for none."""
    return _most_coils(SIDES[-1], n_lines, n_points)


def _most_coils(side: int, n_lines: int, n_points: int) -> int:
    n_examples = max(0, n_lines - side + 1) * max(0, n_points - side + 1)
    return int(n_examples / (EXAMPLES_PER_UNKNOWN * side**2))


@dataclass(frozen=True, kw_only=True)
class SpiritKernel:
    """What each coil's sample is made of, by the samples of all coils about it."""

    weights: Complex64[Tensor, "coil source_coil row column"]
    """Zero for the sample itself."""

    @classmethod
    def of(cls, acs: SliceAcs, side: int, ridge: float) -> "SpiritKernel":
        """Least squares over every place of a calibration block.

        Args:
            ridge: in units of the mean energy of a source, dimensionless.
        """
        n_coils = len(acs)
        gram = _gram(acs, side)
        energy = gram.diagonal().real.mean().clamp(min=torch.finfo(torch.float64).tiny)
        gram.diagonal().add_(ridge * energy)
        inverse = torch.linalg.inv(gram)
        # Regression of one variable on all others, each of these from one inverse.
        own = torch.arange(n_coils, device=acs.device) * side**2 + side**2 // 2
        weights = -(inverse[:, own] / inverse[own, own])
        weights[own, torch.arange(n_coils, device=acs.device)] = 0
        return cls(weights=weights.T.reshape(n_coils, n_coils, side, side).to(torch.complex64))

    def consistency(self, n_pe: int, n_pe2: int) -> Complex64[Tensor, "pixel coil source_coil"]:
        """(G - 1)ᴴ (G - 1) of each pixel, the middle at index 0: a convolution of k-space is a product of images."""
        n_coils, _, side, _ = self.weights.shape
        steps = torch.arange(side, device=self.weights.device) - side // 2
        rows, columns = (
            torch.exp(-2j * torch.pi * steps[:, None] * torch.fft.fftfreq(n, device=steps.device))
            for n in (n_pe, n_pe2)
        )
        by_row = torch.einsum("ijab,bw->wija", self.weights, columns)
        apart = torch.einsum("wija,ah->hwij", by_row, rows).reshape(-1, n_coils, n_coils)
        apart.diagonal(dim1=1, dim2=2).sub_(1)
        return apart.mH @ apart


def _gram(acs: SliceAcs, side: int) -> Complex128[Tensor, "feature feature"]:
    """Products of all sources, conjugated with plain, over every place of the block."""
    parts = torch.stack([acs.real, acs.imag]).to(torch.float64)
    real, imaginary = unfold(parts, side)
    sources = torch.complex(real, imaginary)
    return sources.conj() @ sources.T


def solved(
    kspace: SliceKSpace,
    known: Bool[Tensor, "pe pe2"],
    consistency: Complex64[Tensor, "pixel coil source_coil"],
    n_steps: int = MOST_STEPS,
) -> SliceKSpace:
    """The k-space with these known samples that the kernel finds most consistent; they come back as they are.

    After `n_steps`, or once the residual has SMALL_RESIDUAL of its first norm.
    """
    return next(solved_after(kspace, known, consistency, (n_steps,)))


def solved_after(
    kspace: SliceKSpace,
    known: Bool[Tensor, "pe pe2"],
    consistency: Complex64[Tensor, "pixel coil source_coil"],
    steps: Sequence[int],
) -> Iterator[SliceKSpace]:
    """`solved` after each of several numbers of steps, ascending, in one go: conjugate gradients from zeros."""
    free = PLANES.corner(~known)
    filled = PLANES.corner(torch.where(known, kspace, 0))
    residual = -_inconsistency(filled, consistency) * free
    direction, energy = residual, _energy(residual)
    enough = float(energy) * SMALL_RESIDUAL**2
    for step in range(1, max(steps) + 1):
        if float(energy) > enough:
            moved = _inconsistency(direction, consistency) * free
            length = energy / _dot(direction, moved).clamp(min=torch.finfo(torch.float64).tiny)
            filled = filled + length.to(torch.float32) * direction
            residual = residual - length.to(torch.float32) * moved
            before, energy = energy, _energy(residual)
            direction = residual + (energy / before).to(torch.float32) * direction
        if step in steps:
            yield torch.where(known, kspace, PLANES.centred(filled))


def _inconsistency(kspace: SliceKSpace, consistency: Complex64[Tensor, "pixel coil source_coil"]) -> SliceKSpace:
    images = PLANES.image(kspace)
    by_pixel = images.flatten(1).T.contiguous().unsqueeze(-1)
    return PLANES.kspace((consistency @ by_pixel).squeeze(-1).T.reshape(images.shape))


def _energy(kspace: SliceKSpace) -> Float64[Tensor, ""]:
    return torch.view_as_real(kspace).square().sum(dtype=torch.float64)


def _dot(one: SliceKSpace, other: SliceKSpace) -> Float64[Tensor, ""]:
    return (torch.view_as_real(one) * torch.view_as_real(other)).sum(dtype=torch.float64)
