"""Least squares over examples of gaps, in closed form.

A fit is linear in the sources; it is held as an eigendecomposition, so that one calibration serves every
regularisation, also one that differs from sample to sample.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Complex64, Float32
from torch import Tensor

from raki.kspace.patches import Examples, Sources, Targets, magnitude

# Sources with less than this part of signal in their energy are taken to have as much.
LEAST_SIGNAL = 0.01
LEVELS_PER_DOUBLING = 2
# Rows of exact zeros (a readout that was padded, an empty slice) are noise and nothing else, but no infinity.
MOST_NOISE = 1e6


@dataclass(frozen=True, kw_only=True)
class LinearFit:
    """Targets = (A + (ridge + shrinkage · r²) I)⁻¹ B, with r the noise-to-signal ratio of the sources.

    A is the covariance of the normalised sources scaled to a mean eigenvalue of 1, B their
    correlation with the targets. `ridge` is therefore relative to the mean energy of a source.
    With `shrinkage` 0 this is GRAPPA; with 1 it is the Wiener filter for noise that the examples lack.
    """

    basis: Complex64[Tensor, "feature component"]
    energies: Float32[Tensor, " component"]
    weights: Complex64[Tensor, "component target"]
    ridge: float
    shrinkage: float
    sigma: float
    """Standard deviation of the noise of a complex sample, in units of the k-space."""

    def with_regularisation(self, ridge: float, shrinkage: float) -> "LinearFit":
        """The same calibration, regularised otherwise; costs nothing."""
        return replace(self, ridge=ridge, shrinkage=shrinkage)

    def gains(self, noise_ratio: Float32[Tensor, "*row"]) -> Float32[Tensor, "*row component"]:
        """What each component of the sources is multiplied with."""
        return 1 / (self.energies + self.ridge + self.shrinkage * noise_ratio.square().unsqueeze(-1))

    def predict(self, sources: Sources) -> Targets:
        """Targets of any number of source rows, in units of the k-space.

        Rows of about the same noise-to-signal ratio share one set of weights: two for each doubling of the
        regularisation, which costs far less than a gain for each row and each component.
        """
        rows = sources.flatten(0, -2)
        if self.shrinkage == 0 or self.sigma == 0 or len(rows) == 0:
            return (rows @ self._weights_at(self.ridge)).unflatten(0, sources.shape[:-1])
        total = self.ridge + self.shrinkage * noise_ratio(magnitude(rows), self.sigma).square()
        steps = (LEVELS_PER_DOUBLING * (total / self.ridge).log2()).round().to(torch.int64)
        order = steps.argsort(stable=True)
        sorted_rows, counts = rows[order], steps.bincount().tolist()
        targets = rows.new_empty(len(rows), self.weights.shape[-1])
        targets[order] = torch.cat(
            [
                some @ self._weights_at(self.ridge * 2 ** (step / LEVELS_PER_DOUBLING))
                for step, some in enumerate(sorted_rows.split(counts))
                if len(some)
            ]
        )
        return targets.unflatten(0, sources.shape[:-1])

    def _weights_at(self, regularisation: float) -> Complex64[Tensor, "feature target"]:
        return self.basis @ (self.weights / (self.energies + regularisation).unsqueeze(-1))


def noise_ratio(size: Float32[Tensor, "*row"], sigma: float) -> Float32[Tensor, "*row"]:
    """Noise over signal in sources whose magnitude, noise included, is `size`."""
    noise_energy = sigma**2
    signal_energy = (size.square() - noise_energy).maximum(LEAST_SIGNAL * size.square())
    return (noise_energy / signal_energy).sqrt().clamp(max=MOST_NOISE)


@dataclass(frozen=True, kw_only=True)
class NormalEquations:
    """Sums over examples that a least-squares fit needs; those of two sets of examples may be added."""

    covariance: Complex64[Tensor, "feature feature"]
    correlation: Complex64[Tensor, "feature target"]

    @classmethod
    def of(cls, examples: Examples, row_floor: float | None = None) -> "NormalEquations":
        """Of all examples; with a `row_floor`, of examples divided by their own magnitude plus it."""
        sources, targets = examples.flat().sources, examples.flat().targets
        if row_floor is not None:
            weight = 1 / (magnitude(sources) + row_floor).unsqueeze(-1)
            sources, targets = sources * weight, targets * weight
        return cls(covariance=sources.mH @ sources, correlation=sources.mH @ targets)

    def plus(self, others: "NormalEquations") -> "NormalEquations":
        """Of these examples and others."""
        return NormalEquations(
            covariance=self.covariance + others.covariance, correlation=self.correlation + others.correlation
        )

    def solved(self, *, ridge: float, shrinkage: float = 0.0, sigma: float = 0.0) -> LinearFit:
        """The fit, for this and every other regularisation."""
        energies, basis = torch.linalg.eigh(self.covariance)
        basis = _fix_phase(basis)
        mean_energy = energies.mean().clamp(min=torch.finfo(torch.float32).tiny)
        return LinearFit(
            basis=basis,
            energies=energies.clamp(min=0) / mean_energy,
            weights=basis.mH @ self.correlation / mean_energy,
            ridge=ridge,
            shrinkage=shrinkage,
            sigma=sigma,
        )


def calibrate(
    examples: Examples,
    *,
    ridge: float,
    shrinkage: float = 0.0,
    sigma: float = 0.0,
    row_floor: float | None = None,
) -> LinearFit:
    """Least squares over the examples; with a `row_floor`, over examples divided by their own magnitude plus it.

    The centre of k-space is orders of magnitude brighter than what has to be predicted; without the division the
    fit serves a few centre lines. The floor, in units of the k-space, keeps rows of noise from counting as much as
    the object.

    Griswold et al. 2002, Magn Reson Med 47:1202-1210, doi:10.1002/mrm.10171.
    """
    return NormalEquations.of(examples, row_floor).solved(ridge=ridge, shrinkage=shrinkage, sigma=sigma)


def _fix_phase(basis: Tensor) -> Tensor:
    """Eigenvectors are found up to a phase; a real positive sum holds also when coils change places."""
    sums = basis.sum(dim=0, keepdim=True)
    return basis * torch.where(sums == 0, 1, torch.sgn(sums)).conj()
