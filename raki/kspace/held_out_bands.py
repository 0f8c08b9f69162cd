"""What is known of a way to take slices apart from the part of the single-band reference that it hasn't seen."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from raki.errors import NoCalibration
from raki.kspace.caipi import GroupAcs, GroupLines
from raki.kspace.linear_fit import NormalEquations
from raki.kspace.patches import Sources, Targets, magnitude
from raki.kspace.slice_grappa import ALL_LINES, BandExamples, LinearSeparation, Seen, band_examples
from raki.planning import Kernel
from raki.scan.fourier import SliceKSpace

# Chosen on the simulated head and on simulated slices with measured coils (benchmarks/README.md), not varied since.
KERNELS = (Kernel(n_pe=3, n_ro=5), Kernel(n_pe=5, n_ro=7))
RIDGES = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
# Rows as they are, as in the textbook; or divided by their magnitude plus this part of the peak.
ROW_FLOORS = (None, 0.1)
# Of the readout, side by side; one far from the centre and that beyond it are held out: dark samples and bright ones.
N_FOLDS = 8
HELD_OUT = (1, 4)

Equations = Callable[[BandExamples, float | None], NormalEquations]


@runtime_checkable
class Separation(Protocol):
    """Whatever takes the slices of a group apart."""

    def separated(self, measured: SliceKSpace, wanted: slice = ALL_LINES) -> GroupLines:
        """The modulated slices on the wanted of the measured lines of their sum."""
        ...

    def predict(self, sources: Sources) -> Targets:
        """All slices, one after the other, from what a kernel sees of their sum."""
        ...


@dataclass(frozen=True, kw_only=True)
class LinearCandidate:
    """One linear way, its settings chosen, and what it would be without a part of the reference."""

    examples: BandExamples
    kernel: Kernel
    ridge: float
    sums: Sequence[NormalEquations]
    """Of each fold."""

    def fitted(self, *, without: int | None = None) -> LinearSeparation:
        """The kernel fitted to the whole reference, or without one fold."""
        fit = reduce(NormalEquations.plus, [each for fold, each in enumerate(self.sums) if fold != without])
        return LinearSeparation(
            kernel=self.kernel, fit=fit.solved(ridge=self.ridge), n_bands=len(self.examples.sources)
        )

    def seen(self, *, without: int | None = None) -> BandExamples:
        """The examples that it is fitted to then."""
        return self.examples if without is None else self.examples.at_samples(_folds(self.examples) != without)

    def held_out(self) -> list[BandExamples]:
        """The examples of the folds that are held out by turns."""
        folds = _folds(self.examples)
        return [self.examples.at_samples(folds == fold) for fold in HELD_OUT]


def best_linear(examples: Sequence[tuple[Kernel, BandExamples]], equations: Equations) -> LinearCandidate:
    """The kernel, row weighting and ridge with the least error on samples held out."""
    return min(_every_linear(examples, equations), key=lambda judged: judged[0])[1]


def examples_of_kernels(reference: GroupAcs, step: int, seen: Seen | None = None) -> list[tuple[Kernel, BandExamples]]:
    """Of each kernel that fits into the modulated reference, at the same places for all.

    Args:
        seen: as of `raki.kspace.slice_grappa.band_examples`.

    Raises:
        NoCalibration: the reference is too small to hold a part of it out, even for the narrowest.
    """
    found = [
        (kernel, examples) for kernel in KERNELS if (examples := _examples(reference, kernel, step, seen)) is not None
    ]
    if not found:
        kernel = KERNELS[0]
        needed = (kernel.n_pe - 1) * step + 1
        raise NoCalibration(
            f"the single-band reference has {reference.shape[-2]} lines of {reference.shape[-1]} samples; to take "
            f"slices apart at R={step} at least {needed} lines of {kernel.n_ro + N_FOLDS - 1} samples are needed, 24 "
            "or more advised: acquire them"
        )
    n_lines, n_ro = (min(examples.sources.shape[axis] for _, examples in found) for axis in (1, 2))
    return [(kernel, _middle(examples, n_lines, n_ro)) for kernel, examples in found]


def error_of(found: Sequence[Separation], unseen: Sequence[BandExamples]) -> float:
    """Energy of the error in taking the sum apart, over that of the slices; rows are divided by their magnitude.

    Args:
        found: of each part of the reference, what hasn't seen it.
        unseen: the parts.
    """
    sums = [each.of_sum for each in unseen]
    size = torch.cat([magnitude(each.sources).flatten() for each in sums]).mean()
    error = energy = torch.zeros((), device=size.device)
    for way, each in zip(found, sums, strict=True):
        weight = (magnitude(each.sources) + size).square().reciprocal()[..., None]
        error = error + (weight * (way.predict(each.sources) - each.targets).abs().square()).sum()
        energy = energy + (weight * each.targets.abs().square()).sum()
    return float(error / energy.clamp(min=torch.finfo(torch.float32).tiny))


def leakage_of(found: Sequence[Separation], unseen: Sequence[BandExamples]) -> Float32[Tensor, "into source"]:
    """Root of the energy of each slice alone that comes out in each, over its own; on the diagonal what it keeps.

    Arguments as of `error_of`. Cauley et al. 2014, Magn Reson Med 72:93-102, doi:10.1002/mrm.24898.
    """
    n_bands = len(unseen[0].sources)
    leaked, energy = torch.zeros(n_bands, n_bands), torch.zeros(n_bands)
    for way, each in zip(found, unseen, strict=True):
        for band in range(n_bands):
            out = way.predict(each.sources[band]).unflatten(-1, (n_bands, -1))
            leaked[:, band] += out.abs().square().sum(dim=(0, 1, 3)).cpu()
            energy[band] += each.targets[band].abs().square().sum().cpu()
    return (leaked / energy.clamp(min=torch.finfo(torch.float32).tiny)).sqrt()


def _every_linear(
    examples: Sequence[tuple[Kernel, BandExamples]], equations: Equations
) -> Iterator[tuple[float, LinearCandidate]]:
    """Each setting with the sum of its errors; one eigendecomposition serves all ridges."""
    for kernel, of_kernel in examples:
        folds = _folds(of_kernel)
        for row_floor in ROW_FLOORS:
            sums = [equations(of_kernel.at_samples(folds == number), row_floor) for number in range(N_FOLDS)]
            candidate = LinearCandidate(examples=of_kernel, kernel=kernel, ridge=RIDGES[0], sums=sums)
            fitted = [candidate.fitted(without=number) for number in HELD_OUT]
            for ridge in RIDGES:
                error = error_of([each.with_ridge(ridge) for each in fitted], candidate.held_out())
                yield error, replace(candidate, ridge=ridge)


def _examples(reference: GroupAcs, kernel: Kernel, step: int, seen: Seen | None) -> BandExamples | None:
    try:
        examples = band_examples(reference, kernel, step, seen)
    except NoCalibration:
        return None
    return examples if examples.sources.shape[2] >= N_FOLDS else None


def _middle(examples: BandExamples, n_lines: int, n_ro: int) -> BandExamples:
    above, before = ((n - least) // 2 for n, least in zip(examples.sources.shape[1:3], (n_lines, n_ro), strict=True))
    inside = slice(None), slice(above, above + n_lines), slice(before, before + n_ro)
    return BandExamples(sources=examples.sources[inside], targets=examples.targets[inside])


def _folds(examples: BandExamples) -> Int64[Tensor, " ro"]:
    n_ro = examples.sources.shape[2]
    return torch.arange(n_ro, device=examples.sources.device) * N_FOLDS // n_ro
