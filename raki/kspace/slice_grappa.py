"""Slice-GRAPPA: a linear kernel for each slice of a group, that takes it out of the sum of all.

Both forms are one least-squares problem with other rows. The slice kernel is fitted to the sum of the single-band
slices, as it will be measured; the split kernel to each slice alone, of which it has to let its own pass and to stop
the others.

Setsompop et al. 2012, Magn Reson Med 67:1210-1224, doi:10.1002/mrm.23097; Cauley et al. 2014, Magn Reson Med 72:93-102,
doi:10.1002/mrm.24898 (leakage constraint: split slice-GRAPPA).
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Complex64
from torch import Tensor

from raki.errors import NoCalibration
from raki.kspace.caipi import GroupAcs, GroupLines
from raki.kspace.linear_fit import LinearFit, NormalEquations
from raki.kspace.patches import Examples, Sources, Targets
from raki.planning import Kernel
from raki.scan.fourier import SliceKSpace

LINES_AT_ONCE = 16
ALL_LINES = slice(None)

Seen = tuple[GroupAcs, GroupAcs]
"""What a kernel sees of slices read back and forth (EPI): on its middle line and every second one from there, and on
those between."""


@dataclass(frozen=True, kw_only=True)
class BandExamples:
    """Examples from the single-band slices of a group, at the same places of each."""

    sources: Complex64[Tensor, "band *row feature"]
    """What the kernel sees of one slice alone."""
    targets: Complex64[Tensor, "band *row coil"]

    def at_samples(self, chosen: Bool[Tensor, " ro"]) -> "BandExamples":
        """The examples at the chosen samples of the readout, where rows are axes line, ro."""
        return BandExamples(sources=self.sources[:, :, chosen], targets=self.targets[:, :, chosen])

    @property
    def of_sum(self) -> Examples:
        """What the kernel sees of all slices at once, and what it should tell: the slices, one after the other."""
        return Examples(sources=self.sources.sum(dim=0), targets=self.targets.movedim(0, -2).flatten(-2))

    def of_band(self, band: int) -> Examples:
        """What it sees of one slice alone: that slice should come out, and nothing in the places of the others."""
        alone = torch.zeros_like(self.targets)
        alone[band] = self.targets[band]
        return Examples(sources=self.sources[band], targets=alone.movedim(0, -2).flatten(-2))


@dataclass(frozen=True, kw_only=True)
class LinearSeparation:
    """A kernel for each slice of a group, in one matrix: linear in what was measured, the same at every place."""

    kernel: Kernel
    fit: LinearFit
    n_bands: int

    def with_ridge(self, ridge: float) -> "LinearSeparation":
        """The same calibration with another ridge; costs nothing."""
        return replace(self, fit=self.fit.with_ridge(ridge))

    def separated(self, measured: SliceKSpace, wanted: slice = ALL_LINES) -> GroupLines:
        """The modulated slices on the wanted lines of a sum. Lines beyond either end count as zero."""
        made = [self.predict(some) for some in windows(measured, self.kernel, wanted)]
        return torch.cat(made).unflatten(-1, (self.n_bands, len(measured))).permute(2, 3, 0, 1)

    def predict(self, sources: Sources) -> Targets:
        """All slices from what the kernel sees, in units of the k-space."""
        return self.fit.predict(sources)


def windows(
    lines: SliceKSpace, kernel: Kernel, wanted: slice = ALL_LINES
) -> Iterator[Complex64[Tensor, "line ro feature"]]:
    """What the kernel sees about every sample of the wanted of lines that follow each other, some lines at a time.

    A feature is one coil, line and readout neighbour.
    """
    above, across = kernel.n_pe // 2, kernel.n_ro // 2
    padded = torch.nn.functional.pad(lines, (across, across, above, above))
    neighbours = padded.unfold(1, kernel.n_pe, 1).unfold(2, kernel.n_ro, 1)[:, wanted]
    for some in neighbours.split(LINES_AT_ONCE, dim=1):
        yield some.permute(1, 2, 0, 3, 4).flatten(2)


def band_examples(reference: GroupAcs, kernel: Kernel, step: int, seen: Seen | None = None) -> BandExamples:
    """Every place in the modulated single-band reference about which the kernel fits; rows are axes line, ro.

    Args:
        step: distance of the kernel's lines, that of the measured ones (the in-plane acceleration R).
        seen: the reference as the kernel sees it, where that is something else.

    Raises:
        NoCalibration: the reference has too few lines or samples.
    """
    n_lines, n_ro = reference.shape[-2:]
    above, across = kernel.n_pe // 2 * step, kernel.n_ro // 2
    if n_lines < 2 * above + 1 or n_ro < kernel.n_ro:
        raise NoCalibration(
            f"the single-band reference has {n_lines} lines of {n_ro} samples; a kernel of {kernel.n_pe} lines and "
            f"{kernel.n_ro} samples at R={step} needs at least {2 * above + 1} lines of {kernel.n_ro} samples"
        )
    in_turn = seen or (reference, reference)
    places = torch.arange(n_lines - 2 * above)
    taps = [in_turn[(tap - kernel.n_pe // 2) % 2][:, :, places + step * tap] for tap in range(kernel.n_pe)]
    neighbours = torch.stack(taps, dim=3).unfold(-1, kernel.n_ro, 1)
    return BandExamples(
        sources=neighbours.permute(0, 2, 4, 1, 3, 5).flatten(3),
        targets=reference[:, :, above : n_lines - above, across : n_ro - across].permute(0, 2, 3, 1),
    )


def slice_equations(examples: BandExamples, row_floor: float | None) -> NormalEquations:
    """Of slice-GRAPPA: the slices from their sum (Setsompop 2012)."""
    return NormalEquations.of(examples.of_sum, row_floor)


def split_equations(examples: BandExamples, row_floor: float | None) -> NormalEquations:
    """Of split slice-GRAPPA: from each slice alone itself, and nothing of the others (Cauley 2014)."""
    first, *others = (NormalEquations.of(examples.of_band(band), row_floor) for band in range(len(examples.sources)))
    for other in others:
        first = first.plus(other)
    return first
