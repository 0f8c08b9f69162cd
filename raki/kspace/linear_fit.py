"""Least squares over examples of gaps, in closed form; and what it fills.

A fit is linear in the sources; it is held as an eigendecomposition, so that one calibration serves every ridge.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Complex64, Float32, Int
from torch import Tensor

from raki.kspace.convolution import fill_linearly
from raki.kspace.measured import MeasuredSlice
from raki.kspace.patches import Examples, Sources, Targets, magnitude
from raki.kspace.points import fill_points
from raki.planning import AnySampling, Cell, Kernel, PointSampling, Sampling
from raki.scan.fourier import SliceKSpace


@dataclass(frozen=True, kw_only=True)
class LinearFit:
    """Targets = (A + ridge I)⁻¹ B, for A the covariance of the sources scaled to a mean eigenvalue of 1.

    B is their correlation with the targets. `ridge` is therefore relative to the mean energy of a source.
    """

    basis: Complex64[Tensor, "feature component"]
    energies: Float32[Tensor, " component"]
    weights: Complex64[Tensor, "component target"]
    ridge: float

    def with_ridge(self, ridge: float) -> "LinearFit":
        """The same calibration with another ridge; costs nothing."""
        return replace(self, ridge=ridge)

    @cached_property
    def coefficients(self) -> Complex64[Tensor, "feature target"]:
        """What sources are multiplied with."""
        return self.basis @ (self.weights / (self.energies + self.ridge).unsqueeze(-1))

    def predict(self, sources: Sources) -> Targets:
        """Targets of any number of source rows, in units of the k-space."""
        return sources @ self.coefficients


@dataclass(frozen=True, kw_only=True)
class GivenFit:
    """What a fit came to, without what it was fitted to: weights that were stored."""

    coefficients: Complex64[Tensor, "feature target"]

    def predict(self, sources: Sources) -> Targets:
        """Targets of any number of source rows, in units of the k-space."""
        return sources @ self.coefficients


@dataclass(frozen=True, kw_only=True)
class LinearFilling:
    """A kernel with what it was calibrated to: linear in the acquired samples, the same at every place."""

    kernel: Kernel
    fit: LinearFit | GivenFit

    def fill(self, kspace: SliceKSpace, sampling: AnySampling) -> SliceKSpace:
        """The gaps of a zero-filled k-space filled; acquired samples inside a gap are overwritten."""
        if isinstance(sampling, PointSampling):
            return fill_points(kspace, sampling, self.kernel, self.fit.coefficients)
        assert isinstance(sampling, Sampling)
        return fill_linearly(kspace, sampling, self.kernel, self.fit.coefficients)

    def filled(self, measured: MeasuredSlice) -> SliceKSpace:
        """The slice with its gaps filled, acquired lines as they came."""
        return measured.keeping_known(self.fill(measured.kspace, measured.sampling))


@dataclass(frozen=True, kw_only=True)
class KernelWeights:
    """The kernel that filled a slice, or that what filled it began with, and what it multiplies the neighbours by."""

    filled_by: str
    """The method, or of a method that chooses the rung, that filled the slice."""
    kernel: Kernel
    gap: int | Cell
    """R of skipped lines; the unit cell of skipped points."""
    sources: Int[np.ndarray, "source 2"]
    """Where the neighbours lie, from the acquired sample before the gap: in lines, and in samples of the readout; in a
    plane of a 3-D scan in lines and partitions."""
    targets: Int[np.ndarray, "missing 2"]
    """Where the missing samples lie."""
    coefficients: Complex64[Tensor, "feature target"]
    """On the CPU. A feature is a coil and a source, a target a coil and a missing sample; the last runs fastest.
    Dimensionless: they are the same in every unit of the k-space."""
    strength: float | None = None
    """Of the joint sparsity that followed, its threshold in units of the noise; None where none did."""
    lattice_error: float | None = None
    """Energy of its error in predicting acquired lines, from what it makes of the lattice alone, over their own; None
    where none could be. It tells where else the weights hold."""

    @classmethod
    def of(
        cls,
        filling: LinearFilling,
        gap: int | Cell,
        filled_by: str,
        *,
        strength: float | None = None,
        lattice_error: float | None = None,
    ) -> "KernelWeights":
        """Those of a filling, without what it was calibrated from. `gap` is that of its sampling."""
        return cls.given(
            filling.fit.coefficients.cpu(),
            kernel=filling.kernel,
            gap=gap,
            filled_by=filled_by,
            strength=strength,
            lattice_error=lattice_error,
        )

    @classmethod
    def given(
        cls,
        coefficients: Complex64[Tensor, "feature target"],
        *,
        kernel: Kernel,
        gap: int | Cell,
        filled_by: str,
        strength: float | None,
        lattice_error: float | None,
    ) -> "KernelWeights":
        """Those that were stored."""
        if isinstance(gap, Cell):
            sources, targets = gap.taps(kernel), gap.targets()
        else:
            lines = gap * (kernel.first_tap() + np.arange(kernel.n_pe))
            sources = np.array([(line, sample - kernel.n_ro // 2) for line in lines for sample in range(kernel.n_ro)])
            targets = np.array([(line, 0) for line in range(1, gap)])
        return cls(
            filled_by=filled_by,
            kernel=kernel,
            gap=gap,
            sources=sources,
            targets=targets,
            coefficients=coefficients,
            strength=strength,
            lattice_error=lattice_error,
        )

    def filling(self, device: torch.device) -> LinearFilling:
        """What fills as it did when these were stored, on a device."""
        return LinearFilling(kernel=self.kernel, fit=GivenFit(coefficients=self.coefficients.to(device)))


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

    def solved(self, *, ridge: float) -> LinearFit:
        """The fit, for this and every other ridge."""
        energies, basis = torch.linalg.eigh(self.covariance)
        basis = _fix_phase(basis)
        mean_energy = energies.mean().clamp(min=torch.finfo(torch.float32).tiny)
        return LinearFit(
            basis=basis,
            energies=energies.clamp(min=0) / mean_energy,
            weights=basis.mH @ self.correlation / mean_energy,
            ridge=ridge,
        )


def calibrate(examples: Examples, *, ridge: float, row_floor: float | None = None) -> LinearFit:
    """Least squares over the examples; with a `row_floor`, over examples divided by their own magnitude plus it.

    The centre of k-space is orders of magnitude brighter than what has to be predicted; without the division the
    fit serves a few centre lines. The floor, in units of the k-space, keeps rows of noise from counting as much as
    the object.

    Griswold et al. 2002, Magn Reson Med 47:1202-1210, doi:10.1002/mrm.10171.
    """
    return NormalEquations.of(examples, row_floor).solved(ridge=ridge)


def _fix_phase(basis: Tensor) -> Tensor:
    """Eigenvectors are found up to a phase; a real positive sum holds also when coils change places."""
    sums = basis.sum(dim=0, keepdim=True)
    return basis * torch.where(sums == 0, 1, torch.sgn(sums)).conj()
