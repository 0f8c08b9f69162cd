"""Calibrate on the whole k-space instead of the ACS alone: fill, calibrate on what was filled, fill again.

The ACS holds few lines, all of them bright. Once the gaps are filled, every place of k-space is an example: of the
acquired samples as sources, and as targets too, since seen from the lines between them the acquired ones are what is
missing. Many thousand examples, faint ones among them, leave a fit of a few hundred unknowns little room for error.
Its own mistakes are in those examples as well, but spread over all of k-space, where nothing keeps them alike.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool
from torch import Tensor

from raki.coils import estimate_sigma
from raki.kspace.linear_fit import LinearFit, calibrate
from raki.kspace.patches import Examples, Kernel, Predict, acs_examples, examples_at, interpolate
from raki.kspace.sampling import Sampling
from raki.scan.fourier import SliceAcs, SliceKSpace

# Two lines, one on either side of the gap. Four predict better only where the ACS is far longer than the
# gap: just outside a short one, the outer lines read the centre of k-space, which calibration never saw there.
N_KERNEL_LINES = 2
N_KERNEL_SAMPLES = 7
# Plain GRAPPA gives the first filling.
FIRST_RIDGE = 1e-3
# A third of them changed the error by a few per cent (benchmarks/README.md).
EXAMPLES_PER_FEATURE = 12


@dataclass(frozen=True, kw_only=True)
class Weighting:
    """How examples are weighed against each other, and the fit to them is regularised.

    All constants were measured on seven scans of several scanners; half or double of any of them changes the error by
    a few per cent (benchmarks/README.md).
    """

    row_floor: float
    """Rows count by 1 / (their magnitude + sigma + this), in units of the peak."""
    ridge: float
    shrinkage: float
    """1 would be the least error energy of complex samples. In a magnitude image only the half of the noise that is in
    phase with the signal counts, while what shrinkage takes from the signal counts in full: hence 1/2."""


FAINT = Weighting(row_floor=1e-4, ridge=1e-3, shrinkage=0.5)
"""For most of k-space: every row counts by its relative error, down to the noise."""
BRIGHT = Weighting(row_floor=0.1, ridge=1e-4, shrinkage=0.25)
"""For what lies beside the centre: brighter rows count more, and hardly anything is taken from them."""


@dataclass(frozen=True, kw_only=True)
class MeasuredSlice:
    """One slice as it was acquired, in units in which its peak is about 1."""

    kspace: SliceKSpace
    acs: SliceAcs
    known: Bool[Tensor, " pe"]
    """Lines that keep their samples: those acquired, less what is held out."""
    acs_inside: bool
    """Whether `acs` is a part of `kspace`, and not a scan of its own."""
    sampling: Sampling
    kernel: Kernel
    sigma: float
    """Standard deviation of the noise of a complex sample."""

    def examples(self) -> Examples:
        """Every place of the ACS where sources and targets were both acquired."""
        return acs_examples(self.acs, self.kernel, self.sampling.acceleration)

    def filled_by(self, predict: Predict) -> SliceKSpace:
        """The slice with its gaps filled by `predict`, known lines as they are."""
        return torch.where(
            self.known[:, None], self.kspace, interpolate(self.kspace, self.sampling, self.kernel, predict)
        )


def first_fit(measured: MeasuredSlice) -> LinearFit:
    """Plain GRAPPA from the ACS.

    Griswold et al. 2002, Magn Reson Med 47:1202-1210, doi:10.1002/mrm.10171.
    """
    return calibrate(measured.examples(), ridge=FIRST_RIDGE, sigma=measured.sigma)


def self_calibrated(
    measured: MeasuredSlice, fit: LinearFit, *, n_rounds: int, seed: int
) -> tuple[LinearFit, LinearFit]:
    """Fits for bright and for faint gaps, after `n_rounds` of filling with the last and calibrating on what was filled.

    Solves in closed form what iterative RAKI trains for, and on all lines instead of the central ones. `seed` chooses
    the examples: a fixed number for each unknown, however large the slice.

    Dawood et al. 2023, Magn Reson Med 89:812-827 (iRAKI).
    """
    for number in range(n_rounds):
        examples = _examples(measured, measured.filled_by(fit.predict), torch.Generator().manual_seed(seed + number))
        fit = _weighed(measured, examples, FAINT)
    return _weighed(measured, examples, BRIGHT), fit


def _weighed(measured: MeasuredSlice, examples: Examples, weighting: Weighting) -> LinearFit:
    return calibrate(
        examples,
        ridge=weighting.ridge,
        shrinkage=weighting.shrinkage,
        sigma=measured.sigma,
        row_floor=measured.sigma + weighting.row_floor,
    )


def _examples(measured: MeasuredSlice, filled: SliceKSpace, generator: torch.Generator) -> Examples:
    """Places chosen at random over the filled lines; and all of the ACS where it is no part of them."""
    acceleration, kernel = measured.sampling.acceleration, measured.kernel
    n_coils, _, n_ro = filled.shape
    first, stop = measured.sampling.filled_lines()
    n_lines, n_samples = stop - first - acceleration, n_ro - kernel.n_ro + 1
    n_wanted = EXAMPLES_PER_FEATURE * n_coils * kernel.n_pe * kernel.n_ro
    places = torch.randperm(n_lines * n_samples, generator=generator)[:n_wanted].to(filled.device)
    lines, samples = first + places // n_samples, kernel.n_ro // 2 + places % n_samples
    examples = examples_at(filled, lines, samples, kernel, acceleration)
    if measured.acs_inside:
        return examples
    separate = measured.examples().flat()
    return Examples(
        sources=torch.cat([examples.sources, separate.sources]), targets=torch.cat([examples.targets, separate.targets])
    )


def slice_kernel(n_ro: int) -> Kernel:
    """The kernel of `raki`; narrower where it would be longer than half the readout."""
    return Kernel(n_pe=N_KERNEL_LINES, n_ro=min(N_KERNEL_SAMPLES, n_ro // 4 * 2 + 1))


def measured_slice(
    kspace: SliceKSpace, acs: SliceAcs, sampling: Sampling, *, sigma: float | None, device: torch.device
) -> MeasuredSlice:
    """A slice on the device that it is filled on; the arrays have a peak of about 1 (see `unit_scale`)."""
    known = torch.zeros(sampling.n_pe, dtype=torch.bool)
    known[sampling.lattice_lines()] = True
    first, stop = sampling.acs_lines or (0, 0)
    known[first:stop] = True
    inside = stop > first and acs.shape == kspace[:, first:stop].shape and torch.equal(acs, kspace[:, first:stop])
    return MeasuredSlice(
        kspace=kspace.to(device),
        acs=acs.to(device),
        known=known.to(device),
        acs_inside=inside,
        sampling=sampling,
        kernel=slice_kernel(acs.shape[-1]),
        sigma=estimate_sigma(acs.to(device)) if sigma is None else sigma,
    )


def unit_scale(acs: SliceAcs) -> float:
    """A power of two near the peak: dividing by it costs no accuracy, and keeps squares in range."""
    peak = float(acs.abs().max())
    return 2.0 ** math.floor(math.log2(peak)) if peak > 0 else 1.0
