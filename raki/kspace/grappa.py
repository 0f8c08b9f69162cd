"""Linear interpolation of missing lines, calibrated in closed form on the ACS.

One *gap* is the R-1 missing lines after an acquired line. Its *sources* are the acquired samples
around it, in all coils; its *targets* are the missing samples, in all coils. A fit is linear in the
sources; it is held as an eigendecomposition, so that one calibration serves every regularisation,
also one that differs from sample to sample.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Complex64, Float32
from torch import Tensor

from raki.errors import NoCalibration
from raki.kspace.sampling import Sampling
from raki.scan.fourier import SliceAcs, SliceKSpace

Sources = Complex64[Tensor, "*row feature"]
Targets = Complex64[Tensor, "*row target"]

GAPS_AT_ONCE = 64
# Sources with less than this part of signal in their energy are taken to have as much.
LEAST_SIGNAL = 0.01
LEVELS_PER_DOUBLING = 2
# Rows of exact zeros (a readout that was padded, an empty slice) are noise and nothing else, but no infinity.
MOST_NOISE = 1e6


@dataclass(frozen=True, kw_only=True)
class Kernel:
    """Acquired neighbours that predict a gap: `n_pe` lines R apart, half on either side, `n_ro` samples of each."""

    n_pe: int
    n_ro: int

    def first_tap(self) -> int:
        """The first line read, in lattice steps from the acquired line before the gap."""
        return 1 - self.n_pe // 2

    def n_lines_needed(self, acceleration: int) -> int:
        """Neighbouring lines that an ACS needs to hold this kernel once."""
        return (self.n_pe - 1) * acceleration + 1


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Examples of gaps whose targets are known too: in the ACS, acquired; elsewhere, filled before.

    Rows are one axis, or two (line, ro) where they stand in that order.
    """

    sources: Complex64[Tensor, "*row feature"]
    targets: Complex64[Tensor, "*row target"]

    def at_lines(self, chosen: Bool[Tensor, " line"]) -> "Calibration":
        """The examples of the chosen lines."""
        return Calibration(sources=self.sources[chosen], targets=self.targets[chosen])

    def flat(self) -> "Calibration":
        """The same examples as one axis of rows."""
        return Calibration(sources=self.sources.flatten(0, -2), targets=self.targets.flatten(0, -2))


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


def magnitude(sources: Sources) -> Float32[Tensor, "*row"]:
    """Root mean square of each row; never zero, so that it can be divided by."""
    # The modulus of each would be taken with care for overflow, at several times the cost.
    energy = torch.view_as_real(sources.resolve_conj()).square().sum(dim=(-2, -1)) / sources.shape[-1]
    return energy.sqrt().clamp(min=torch.finfo(torch.float32).tiny ** 0.5)


def noise_ratio(size: Float32[Tensor, "*row"], sigma: float) -> Float32[Tensor, "*row"]:
    """Noise over signal in sources whose magnitude, noise included, is `size`."""
    noise_energy = sigma**2
    signal_energy = (size.square() - noise_energy).maximum(LEAST_SIGNAL * size.square())
    return (noise_energy / signal_energy).sqrt().clamp(max=MOST_NOISE)


def sources_at(kspace: SliceKSpace, lines: list[int], kernel: Kernel, acceleration: int) -> Sources:
    """Sources of the gaps that begin after `lines`, at every readout position; zero outside the k-space.

    Returns axes line, ro, feature; a feature is one coil, line and readout neighbour.
    """
    n_pe = kspace.shape[-2]
    half = kernel.n_ro // 2
    taps = acceleration * (kernel.first_tap() + torch.arange(kernel.n_pe, device=kspace.device))
    index = torch.tensor(lines, device=kspace.device)[:, None] + taps
    inside = ((index >= 0) & (index < n_pe))[None, :, :, None]
    rows = torch.where(inside, kspace[:, index.clamp(0, n_pe - 1)], 0)
    neighbours = torch.nn.functional.pad(rows, (half, half)).unfold(-1, kernel.n_ro, 1)
    return neighbours.permute(1, 3, 0, 2, 4).flatten(2)


def calibration_examples(acs: SliceAcs, kernel: Kernel, acceleration: int) -> Calibration:
    """Every place in the ACS where sources and targets were both acquired.

    Raises:
        NoCalibration: the ACS has too few lines, or its lines too few samples, for the kernel.
    """
    n_acs_lines, n_ro = acs.shape[-2:]
    needed = kernel.n_lines_needed(acceleration)
    if n_acs_lines < needed or n_ro < kernel.n_ro:
        raise NoCalibration(
            f"the ACS has {n_acs_lines} lines of {n_ro} samples; a kernel of {kernel.n_pe} lines and {kernel.n_ro} "
            f"samples at R={acceleration} needs at least {needed} lines of {kernel.n_ro} samples"
        )
    before = -kernel.first_tap() * acceleration
    lines = list(range(before, before + n_acs_lines - needed + 1))
    half = kernel.n_ro // 2
    sources = sources_at(acs, lines, kernel, acceleration)[:, half : n_ro - half]
    index = torch.tensor(lines, device=acs.device)[:, None] + torch.arange(1, acceleration, device=acs.device)
    targets = acs[:, index].permute(1, 3, 0, 2).flatten(2)[:, half : n_ro - half]
    return Calibration(sources=sources, targets=targets)


@dataclass(frozen=True, kw_only=True)
class NormalEquations:
    """Sums over examples that a least-squares fit needs; those of two sets of examples may be added."""

    covariance: Complex64[Tensor, "feature feature"]
    correlation: Complex64[Tensor, "feature target"]

    @classmethod
    def of(cls, examples: Calibration, row_floor: float | None = None) -> "NormalEquations":
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
    examples: Calibration,
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


def examples_at(kspace: SliceKSpace, lines: Tensor, samples: Tensor, kernel: Kernel, acceleration: int) -> Calibration:
    """Examples from a filled k-space, one for each place: the line before its gap, and the sample on it.

    Only these patches are gathered, never those of the whole slice. The kernel has to lie inside.
    """
    taps = acceleration * (kernel.first_tap() + torch.arange(kernel.n_pe, device=kspace.device))
    across = torch.arange(kernel.n_ro, device=kspace.device) - kernel.n_ro // 2
    gap = torch.arange(1, acceleration, device=kspace.device)
    pe, ro = (lines[:, None] + taps)[:, :, None], (samples[:, None] + across)[:, None, :]
    return Calibration(
        sources=kspace[:, pe, ro].movedim(0, 1).flatten(1),
        targets=kspace[:, lines[:, None] + gap, samples[:, None]].movedim(0, 1).flatten(1),
    )


def interpolate(
    kspace: SliceKSpace, sampling: Sampling, kernel: Kernel, predict: Callable[[Sources], Targets]
) -> SliceKSpace:
    """Fill every gap of a zero-filled k-space with what `predict` says; some gaps at a time.

    Neighbours beyond the k-space or its acquired range count as zero. Where the lattice ends within R lines of the
    border of k-space, the lines beyond its end are a gap too; farther away nothing was meant to be acquired.
    """
    n_coils, n_pe, _ = kspace.shape
    filled = kspace.clone()
    for lines, sources in gap_sources(kspace, sampling, kernel):
        targets = predict(sources).unflatten(-1, (n_coils, sampling.acceleration - 1)).permute(2, 0, 3, 1).flatten(1, 2)
        index = torch.tensor(lines, device=kspace.device)[:, None] + torch.arange(
            1, sampling.acceleration, device=kspace.device
        )
        inside = ((index >= 0) & (index < n_pe)).flatten()
        filled[:, index.flatten()[inside]] = targets[:, inside]
    return filled


def gap_sources(kspace: SliceKSpace, sampling: Sampling, kernel: Kernel) -> Iterator[tuple[list[int], Sources]]:
    """Sources of all gaps, some gaps at a time: the patches of a whole slice are never held at once."""
    lines = sampling.gaps()
    for start in range(0, len(lines), GAPS_AT_ONCE):
        some = lines[start : start + GAPS_AT_ONCE]
        yield some, sources_at(kspace, some, kernel, sampling.acceleration)
