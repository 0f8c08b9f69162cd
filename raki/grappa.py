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
from raki.sampling import Sampling

SliceKSpace = Complex64[Tensor, "coil pe ro"]
SliceAcs = Complex64[Tensor, "coil acs_line acs_ro"]
Sources = Complex64[Tensor, "*row feature"]
Targets = Complex64[Tensor, "*row target"]

# Rows are divided by their own magnitude plus this part of the largest: without it rows of pure noise
# would count as much as the object.
ROW_FLOOR = 0.02
GAPS_AT_ONCE = 16
# Sources with less than this part of signal in their energy are taken to have as much.
LEAST_SIGNAL = 0.01


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
    """Examples from the ACS: sources with the targets that were acquired too. Axes line, ro, feature or target."""

    sources: Complex64[Tensor, "line ro feature"]
    targets: Complex64[Tensor, "line ro target"]

    def at_lines(self, chosen: Bool[Tensor, " line"]) -> "Calibration":
        """The examples of the chosen lines."""
        return Calibration(sources=self.sources[chosen], targets=self.targets[chosen])

    def transposed(self) -> "Calibration":
        """The same examples with readout and line changed over."""
        return Calibration(sources=self.sources.transpose(0, 1), targets=self.targets.transpose(0, 1))


@dataclass(frozen=True, kw_only=True)
class LinearFit:
    """Targets = (A + (ridge + shrinkage · r²) I)⁻¹ B, with r the noise-to-signal ratio of the sources.

    A is the covariance of the normalised sources scaled to a mean eigenvalue of 1, B their
    correlation with the targets. `ridge` is therefore relative to the mean energy of a source.
    With `shrinkage` 0 this is GRAPPA; with 1 it is the Wiener filter for noise that the ACS lacks.
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
        """Targets of any number of source rows, in units of the k-space."""
        gains = self.gains(noise_ratio(magnitude(sources), self.sigma))
        return ((sources @ self.basis) * gains) @ self.weights


def magnitude(sources: Sources) -> Float32[Tensor, "*row"]:
    """Root mean square of each row; never zero, so that it can be divided by."""
    return sources.abs().square().mean(dim=-1).sqrt().clamp(min=torch.finfo(torch.float32).tiny ** 0.5)


def noise_ratio(size: Float32[Tensor, "*row"], sigma: float) -> Float32[Tensor, "*row"]:
    """Noise over signal in sources whose magnitude, noise included, is `size`."""
    noise_energy = sigma**2
    signal_energy = (size.square() - noise_energy).maximum(LEAST_SIGNAL * size.square())
    return (noise_energy / signal_energy).sqrt()


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


def calibrate(examples: Calibration, *, ridge: float, shrinkage: float = 0.0, sigma: float = 0.0) -> LinearFit:
    """Least squares over the examples, each divided by its own magnitude.

    The centre of k-space is orders of magnitude brighter than what has to be predicted; without the
    division the fit would serve a few centre lines only.

    Griswold et al. 2002, Magn Reson Med 47:1202-1210, doi:10.1002/mrm.10171.
    """
    sources, targets = examples.sources.flatten(0, 1), examples.targets.flatten(0, 1)
    size = magnitude(sources)
    weight = (1 / (size + ROW_FLOOR * size.max())).unsqueeze(-1)
    sources, targets = sources * weight, targets * weight
    energies, basis = torch.linalg.eigh(sources.mH @ sources)
    basis = _fix_phase(basis)
    mean_energy = energies.mean().clamp(min=torch.finfo(torch.float32).tiny)
    return LinearFit(
        basis=basis,
        energies=energies.clamp(min=0) / mean_energy,
        weights=basis.mH @ (sources.mH @ targets) / mean_energy,
        ridge=ridge,
        shrinkage=shrinkage,
        sigma=sigma,
    )


def _fix_phase(basis: Tensor) -> Tensor:
    """Eigenvectors are found up to a phase; a real positive sum holds also when coils change places."""
    sums = basis.sum(dim=0, keepdim=True)
    return basis * torch.where(sums == 0, 1, torch.sgn(sums)).conj()


def interpolate(
    kspace: SliceKSpace, sampling: Sampling, kernel: Kernel, predict: Callable[[Sources], Targets]
) -> SliceKSpace:
    """Fill every gap of a zero-filled k-space with what `predict` says; some gaps at a time.

    Neighbours beyond the k-space or its acquired range count as zero.
    """
    filled = kspace.clone()
    for lines, sources in gap_sources(kspace, sampling, kernel):
        targets = predict(sources).unflatten(-1, (kspace.shape[0], sampling.acceleration - 1))
        index = torch.tensor(lines, device=kspace.device)[:, None] + torch.arange(
            1, sampling.acceleration, device=kspace.device
        )
        filled[:, index] = targets.permute(2, 0, 3, 1)
    return filled


def gap_sources(kspace: SliceKSpace, sampling: Sampling, kernel: Kernel) -> Iterator[tuple[list[int], Sources]]:
    """Sources of all gaps, some gaps at a time: the patches of a whole slice are never held at once."""
    lines = sampling.lattice_lines()[:-1]
    for start in range(0, len(lines), GAPS_AT_ONCE):
        some = lines[start : start + GAPS_AT_ONCE]
        yield some, sources_at(kspace, some, kernel, sampling.acceleration)
