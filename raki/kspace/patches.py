"""What a kernel sees: the acquired neighbours of a gap, gathered from k-space, and its missing lines put back.

One *gap* is the R-1 missing lines after an acquired line. Its *sources* are the acquired samples
around it, in all coils; its *targets* are the missing samples, in all coils.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Complex64, Float32
from torch import Tensor

from raki.errors import NoCalibration
from raki.planning import Kernel, Sampling
from raki.scan.fourier import SliceAcs, SliceKSpace

Sources = Complex64[Tensor, "*row feature"]
Targets = Complex64[Tensor, "*row target"]
Predict = Callable[[Sources], Targets]

GAPS_AT_ONCE = 64


@dataclass(frozen=True, kw_only=True)
class Examples:
    """Examples of gaps whose targets are known too: in the ACS, acquired; elsewhere, filled before.

    Rows are one axis, or two (line, ro) where they stand in that order.
    """

    sources: Complex64[Tensor, "*row feature"]
    targets: Complex64[Tensor, "*row target"]

    def at_lines(self, chosen: Bool[Tensor, " line"]) -> "Examples":
        """The examples of the chosen lines."""
        return Examples(sources=self.sources[chosen], targets=self.targets[chosen])

    def and_also(self, others: "Examples") -> "Examples":
        """These examples and others; of both, rows are one axis."""
        return Examples(
            sources=torch.cat([self.sources, others.sources]), targets=torch.cat([self.targets, others.targets])
        )

    def flat(self) -> "Examples":
        """The same examples as one axis of rows."""
        return Examples(sources=self.sources.flatten(0, -2), targets=self.targets.flatten(0, -2))


def magnitude(sources: Sources) -> Float32[Tensor, "*row"]:
    """Root mean square of each row; never zero, so that it can be divided by."""
    # The modulus of each would be taken with care for overflow, at several times the cost.
    energy = torch.view_as_real(sources.resolve_conj()).square().sum(dim=(-2, -1)) / sources.shape[-1]
    return energy.sqrt().clamp(min=torch.finfo(torch.float32).tiny ** 0.5)


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


def acs_examples(acs: SliceAcs, kernel: Kernel, acceleration: int) -> Examples:
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
    return Examples(sources=sources, targets=targets)


def examples_at(kspace: SliceKSpace, lines: Tensor, samples: Tensor, kernel: Kernel, acceleration: int) -> Examples:
    """Examples from a filled k-space, one for each place: the line before its gap, and the sample on it.

    Only these patches are gathered, never those of the whole slice. The kernel has to lie inside.
    """
    taps = acceleration * (kernel.first_tap() + torch.arange(kernel.n_pe, device=kspace.device))
    across = torch.arange(kernel.n_ro, device=kspace.device) - kernel.n_ro // 2
    gap = torch.arange(1, acceleration, device=kspace.device)
    pe, ro = (lines[:, None] + taps)[:, :, None], (samples[:, None] + across)[:, None, :]
    return Examples(
        sources=kspace[:, pe, ro].movedim(0, 1).flatten(1),
        targets=kspace[:, lines[:, None] + gap, samples[:, None]].movedim(0, 1).flatten(1),
    )


def interpolate(kspace: SliceKSpace, sampling: Sampling, kernel: Kernel, predict: Predict) -> SliceKSpace:
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
