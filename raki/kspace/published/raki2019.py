"""RAKI as first published: every real channel of every coil has a network of its own."""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Complex64, Float32
from torch import Tensor, nn

from raki.kspace.adam import Adam
from raki.kspace.method import FillSettings, SliceReport, TrainingPoint
from raki.kspace.published.descent import Schedule, descend, scale_to_peak
from raki.kspace.published.hidden import HiddenLayers
from raki.kspace.published.lattice import GapLines, LatticeLines, convolve, fill_gaps, gap_targets, windows
from raki.planning import RAKI2019_FIELD as FIELD
from raki.planning import Kernel, Sampling
from raki.scan.fourier import SliceAcs, SliceKSpace

PAPER = Schedule(n_steps=1000, learning_rate=3e-3)
PEAK_MAGNITUDE = 0.015

FIRST_KERNEL = Kernel(n_pe=2, n_ro=5)
LAST_KERNEL = Kernel(n_pe=2, n_ro=3)

RealSources = Float32[Tensor, "feature line ro"]
RealGaps = Float32[Tensor, "network missing gap gap_ro"]


class RakiNetworks(nn.Module):
    """2·n_coils networks side by side; each predicts the R-1 missing lines of one real channel from all channels.

    Layers: 5x2 → 32, ReLU, 1x1 → 8, ReLU, 3x2 → R-1 (readout x acquired lines), without bias. All networks read the
    same samples, so the first layers of all are one product; the further layers are a batch of small ones. Their
    weights are apart, and so is what trains them.

    Akçakaya et al. 2019, Magn Reson Med 81:439-453, doi:10.1002/mrm.27420.
    """

    def __init__(self, n_coils: int, acceleration: int, generator: torch.Generator) -> None:
        super().__init__()
        n_channels = 2 * n_coils
        n_seen = n_channels * FIRST_KERNEL.n_pe * FIRST_KERNEL.n_ro
        n_seen_last = 8 * LAST_KERNEL.n_pe * LAST_KERNEL.n_ro
        self.hidden = HiddenLayers(slope=0.0)
        self.first = truncated_normal((n_channels, 32, n_seen), generator)
        self.middle = truncated_normal((n_channels, 8, 32), generator)
        self.last = truncated_normal((n_channels, acceleration - 1, n_seen_last), generator)

    def forward(self, sources: RealSources, step: int) -> RealGaps:
        """Every channel's gaps, from what FIRST_KERNEL sees of lines that are `step` apart."""
        return convolve(self.last, self.hidden(self.first, self.middle, sources), LAST_KERNEL, step)

    def loss(self, sources: RealSources, targets: RealGaps, step: int) -> tuple[Tensor, RealGaps]:
        """Sum of the norms of all networks' errors, and the errors.

        No weight occurs in the norm of two networks, so its gradient is that of each network alone.
        """
        error = self(sources, step) - targets
        return norms(error).sum(), error

    @torch.no_grad()
    def predict(self, lines: LatticeLines) -> GapLines:
        """The gaps after lattice lines, wherever FIELD fits."""
        return as_coils(self(windows(as_channels(lines), FIRST_KERNEL, 1), 1))


def fill_by_raki2019(
    kspace: SliceKSpace,
    acs: SliceAcs,
    sampling: Sampling,
    settings: FillSettings,
    *,
    schedule: Schedule = PAPER,
) -> tuple[SliceKSpace, SliceReport]:
    """RAKI: one small network for each real channel, trained on the ACS by Adam.

    All as in the authors' code: layers, start, the peak of k-space at 0.015, the loss of each network (the L2 norm
    of its error, not squared), step size and number of steps. Their code leaves the last gap and three samples at
    either end of the readout zero; here these are filled too, with zeros for the neighbours that aren't there.

    Returns the filled k-space on the CPU, acquired lines untouched, and the training curve in its report.

    Args:
        kspace: zero where nothing was acquired.
        acs: neighbouring fully sampled lines, inside `kspace` or apart from it.
        settings: the seed is that of the networks' start.
        schedule: other than published only to save time.

    Raises:
        NoCalibration: the ACS has fewer than 2R+1 lines or 7 samples along the readout.

    Akçakaya et al. 2019, Magn Reson Med 81:439-453, doi:10.1002/mrm.27420.
    """
    return fill_by_networks(RakiNetworks, PEAK_MAGNITUDE, kspace, acs, sampling, settings, schedule)


def fill_by_networks(
    make: Callable[[int, int, torch.Generator], nn.Module],
    peak: float,
    kspace: SliceKSpace,
    acs: SliceAcs,
    sampling: Sampling,
    settings: FillSettings,
    schedule: Schedule,
) -> tuple[SliceKSpace, SliceReport]:
    """Train the networks that `make` makes on the ACS, its peak brought to `peak`, and fill the gaps by them."""
    # The peak of k-space is in the ACS; where that is a scan of its own, it is what is trained on.
    scale = scale_to_peak(acs, peak)
    generator = torch.Generator().manual_seed(settings.seed)
    networks: Any = make(len(acs), sampling.acceleration, generator).to(settings.device)
    curve = train(networks, (acs * scale).to(settings.device), sampling.acceleration, schedule)
    measured = kspace.to(settings.device)
    filled = fill_gaps(measured, sampling, FIELD, lambda lines: networks.predict(lines * scale) / scale)
    return filled.cpu(), SliceReport(curve=curve)


def train(networks: Any, acs: SliceAcs, acceleration: int, schedule: Schedule) -> tuple[TrainingPoint, ...]:
    """Fit all networks at once; as they share no weight, that is each network alone."""
    targets = as_channels(gap_targets(acs, FIELD, acceleration))
    sources = windows(as_channels(acs), FIRST_KERNEL, acceleration)
    adam = Adam(list(networks.parameters()))
    return descend(adam, lambda: networks.loss(sources, targets, acceleration), targets, schedule)


def norms(errors: RealGaps) -> Float32[Tensor, " network"]:
    """L2 norm of each network's error, not squared."""
    return errors.flatten(1).norm(dim=1)


def as_channels(values: Complex64[Tensor, "coil *missing line ro"]) -> Float32[Tensor, "channel *missing line ro"]:
    """Real parts of all coils, then imaginary parts of all coils."""
    return torch.cat([values.real, values.imag])


def as_coils(channels: Float32[Tensor, "channel *missing line ro"]) -> Complex64[Tensor, "coil *missing line ro"]:
    """The complex values of which `channels` are the parts."""
    return torch.complex(*channels.chunk(2))


def truncated_normal(shape: tuple[int, ...], generator: torch.Generator) -> nn.Parameter:
    """Weights of standard deviation 0.1 before those beyond two of it are drawn anew."""
    return nn.Parameter(nn.init.trunc_normal_(torch.empty(shape), std=0.1, a=-0.2, b=0.2, generator=generator))
