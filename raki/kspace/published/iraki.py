"""Iterative RAKI as published: one complex network for all coils, trained again and again on its own result."""

from collections.abc import Sequence

import torch
from jaxtyping import Complex64
from torch import Tensor, nn

from raki.kspace.adam import Adam
from raki.kspace.method import FillSettings, SliceReport, TrainingPoint
from raki.kspace.patches import acs_examples, interpolate
from raki.kspace.published.descent import Schedule, descend, scale_to_peak
from raki.kspace.published.hidden import HiddenLayers
from raki.kspace.published.lattice import (
    GapLines,
    LatticeLines,
    convolve,
    fill_gaps,
    gap_targets,
    restore_acs,
    windows,
)
from raki.planning import IRAKI_FIELD as FIELD
from raki.planning import IRAKI_GRAPPA_KERNEL as GRAPPA_KERNEL
from raki.planning import Kernel, Sampling, extended_lines
from raki.scan.fourier import SliceAcs, SliceKSpace

FIRST_RATE = 5e-4
# By how much the learning rate falls from round to round; published for these R.
DECREMENTS = {4: 3e-5, 5: 4e-5, 6: 6e-5}

# Singular values of the calibration below this part of the largest are left out.
GRAPPA_CUTOFF = 1e-4

FIRST_KERNEL = Kernel(n_pe=4, n_ro=7)
LAST_KERNEL = Kernel(n_pe=1, n_ro=5)

SMALLEST_MAGNITUDE = 10**0.5
LARGEST_MAGNITUDE = 1e8

Sources = Complex64[Tensor, "feature line ro"]


class ComplexNetwork(nn.Module):
    """Predict the R-1 missing lines of all coils from the acquired lines of all coils, in complex numbers.

    Layers: 7x4 → 256, 1x1 → 128, 5x1 → (R-1)·n_coils (readout x acquired lines), without bias; between them a leaky
    ReLU of slope ½ on real and imaginary part apart.
    """

    def __init__(self, n_coils: int, acceleration: int, generator: torch.Generator) -> None:
        super().__init__()
        self.n_coils = n_coils
        self.hidden = HiddenLayers(slope=0.5)
        self.first = uniform((256, n_coils * FIRST_KERNEL.n_pe * FIRST_KERNEL.n_ro), generator)
        self.middle = uniform((128, 256), generator)
        self.last = uniform((n_coils * (acceleration - 1), 128 * LAST_KERNEL.n_ro), generator)

    def forward(self, sources: Sources) -> GapLines:
        """All coils' gaps, from what FIRST_KERNEL sees."""
        hidden = self.hidden(self.first, self.middle, sources)
        return convolve(self.last, hidden, LAST_KERNEL, 1).unflatten(0, (self.n_coils, -1))

    @torch.no_grad()
    def predict(self, lines: LatticeLines) -> GapLines:
        """The gaps among lattice lines, wherever FIELD fits."""
        return self(windows(lines, FIRST_KERNEL, 1))


def fill_by_iraki(
    kspace: SliceKSpace,
    acs: SliceAcs,
    sampling: Sampling,
    settings: FillSettings,
    *,
    schedule: Sequence[Schedule] | None = None,
) -> tuple[SliceKSpace, SliceReport]:
    """Iterative RAKI: trains on the 65 central lines of a GRAPPA result, then on those of its own, round after round.

    As in the authors' code: layers, start, mean squared error, the rounds with their learning rates, GRAPPA before
    the first round, and measured ACS lines in place of predicted ones in each round. Where `acs` is a scan of its
    own, GRAPPA alone is calibrated on it, and no line of it enters the result. What differs:

    - They leave readout borders and the outermost gaps zero; here all are filled, with zeros for the neighbours
      that aren't there, and the borders are trained on in the next round as any other sample is.
    - They scale k-space by a power of ten, so that its smallest magnitude lies between 1 and 10. A power of ten
      jumps; here it is scaled to √10 itself, or less if float32 couldn't hold the squares of the largest. The
      network and Adam follow any scale, so this decides little.
    - With R outside 4, 5 and 6 they stop. See `published_rounds`.

    Returns the filled k-space on the CPU, acquired lines untouched, and the training curve; in it every round has
    targets of its own.

    Args:
        kspace: zero where nothing was acquired.
        acs: neighbouring fully sampled lines, inside `kspace` or apart from it.
        settings: the seed is that of the network's start.
        schedule: the rounds; by default `published_rounds`.

    Raises:
        NoCalibration: the ACS has fewer than R+1 lines or 5 samples along the readout, or the central lines that
            are filled are fewer than 3R+1 or shorter than 11 samples.

    Dawood et al. 2023, Magn Reson Med 89:812-827, arXiv:2201.03560.
    """
    acceleration = sampling.acceleration
    measured = kspace.to(settings.device)
    scale = scale_to_smallest(measured)
    network = ComplexNetwork(len(acs), acceleration, torch.Generator().manual_seed(settings.seed)).to(settings.device)
    adam = Adam(list(network.parameters()))
    filled = fill_by_truncated_grappa(measured, acs.to(settings.device), sampling)
    curve: tuple[TrainingPoint, ...] = ()
    for one_round in published_rounds(acceleration) if schedule is None else schedule:
        curve += train(network, adam, extended_acs(filled, sampling) * scale, acceleration, one_round)
        filled = fill_gaps(measured, sampling, FIELD, lambda lines: network.predict(lines * scale) / scale)
    return filled.cpu(), SliceReport(curve=curve)


def published_rounds(acceleration: int) -> tuple[Schedule, ...]:
    """500 steps at a learning rate of 5e-4, then rounds of 250 at falling rates, until it would be used up.

    The decrement is published for R = 4, 5 and 6, which makes 16, 12 and 8 rounds. A smaller R gets that of 4, a
    larger one that of 6.
    """
    decrement = DECREMENTS[min(max(acceleration, min(DECREMENTS)), max(DECREMENTS))]
    return tuple(
        Schedule(n_steps=250 if index else 500, learning_rate=FIRST_RATE - index * decrement)
        for index in range(int(FIRST_RATE // decrement))
    )


def train(
    network: ComplexNetwork, adam: Adam, acs: SliceAcs, acceleration: int, schedule: Schedule
) -> tuple[TrainingPoint, ...]:
    """One round; network and Adam go on from where they are."""
    targets = gap_targets(acs, FIELD, acceleration)
    sources = windows(acs, FIRST_KERNEL, acceleration)

    def objective() -> tuple[Tensor, Tensor]:
        error = network(sources) - targets
        return torch.view_as_real(error).square().sum() / error.numel(), error

    return descend(adam, objective, targets, schedule)


def extended_acs(filled: SliceKSpace, sampling: Sampling) -> SliceAcs:
    """The 65 central lines of k-space, or as many of them as lie between the outermost lattice lines."""
    first, stop = extended_lines(sampling)
    return filled[:, first:stop]


def fill_by_truncated_grappa(kspace: SliceKSpace, acs: SliceAcs, sampling: Sampling) -> SliceKSpace:
    """GRAPPA as iterative RAKI starts from it: 5x2 kernel, pseudo-inverse without the small singular values.

    Griswold et al. 2002, Magn Reson Med 47:1202-1210, doi:10.1002/mrm.10171.
    """
    examples = acs_examples(acs * scale_to_peak(acs, 1.0), GRAPPA_KERNEL, sampling.acceleration)
    inverse = torch.linalg.pinv(examples.sources.flatten(0, 1), rtol=GRAPPA_CUTOFF)
    weights = inverse @ examples.targets.flatten(0, 1)
    filled = interpolate(kspace, sampling, GRAPPA_KERNEL, lambda sources: sources @ weights)
    return restore_acs(filled, kspace, sampling)


def scale_to_smallest(kspace: SliceKSpace) -> float:
    """What brings the smallest magnitude other than zero to √10, unless the largest came above 1e8."""
    magnitudes = kspace.abs()
    smallest = magnitudes[magnitudes > 0].min() if magnitudes.any() else torch.ones(())
    return min(SMALLEST_MAGNITUDE / float(smallest), scale_to_peak(kspace, LARGEST_MAGNITUDE))


def uniform(shape: tuple[int, int], generator: torch.Generator) -> nn.Parameter:
    """The start that torch gives a convolution: both parts uniform, up to 1/√features either way."""
    real, imaginary = (2 * torch.rand(2, *shape, generator=generator) - 1) / shape[1] ** 0.5
    return nn.Parameter(torch.complex(real, imaginary))
