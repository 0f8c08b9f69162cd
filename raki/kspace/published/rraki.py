"""Residual RAKI as published: a linear convolution beside the networks of RAKI, both trained by gradient descent."""

import torch
from torch import Tensor, nn

from raki.kspace.method import FillSettings, SliceReport
from raki.kspace.published.descent import Schedule
from raki.kspace.published.lattice import GapLines, LatticeLines, mix, windows
from raki.kspace.published.raki2019 import (
    FIRST_KERNEL,
    RakiNetworks,
    RealGaps,
    RealSources,
    as_channels,
    as_coils,
    fill_by_networks,
    norms,
    truncated_normal,
)
from raki.planning import Sampling
from raki.scan.fourier import SliceAcs, SliceKSpace

PAPER = Schedule(n_steps=2000, learning_rate=1e-3)
PEAK_MAGNITUDE = 1.0


class ResidualNetworks(nn.Module):
    """2·n_coils pairs of a linear 5x2 convolution and a RAKI network, each for the R-1 missing lines of one channel.

    Zhang et al. 2022, NeuroImage 256:119248, doi:10.1016/j.neuroimage.2022.119248.
    """

    def __init__(self, n_coils: int, acceleration: int, generator: torch.Generator) -> None:
        super().__init__()
        n_channels = 2 * n_coils
        n_seen = n_channels * FIRST_KERNEL.n_pe * FIRST_KERNEL.n_ro
        self.linear = truncated_normal((n_channels, acceleration - 1, n_seen), generator)
        self.nonlinear = RakiNetworks(n_coils, acceleration, generator)

    def forward(self, sources: RealSources, step: int) -> tuple[RealGaps, RealGaps]:
        """Linear prediction and its correction, from what FIRST_KERNEL sees of lines that are `step` apart."""
        everywhere = mix(self.linear.flatten(0, 1), sources).unflatten(0, self.linear.shape[:2])
        # The correction sees one line and two samples more: it fits in fewer places.
        return everywhere[..., :-step, 1:-1], self.nonlinear(sources, step)

    def loss(self, sources: RealSources, targets: RealGaps, step: int) -> tuple[Tensor, RealGaps]:
        """Sum of the norms of all errors and of those of the linear convolutions alone, and the errors."""
        linear, correction = self(sources, step)
        left = targets - linear
        error = left - correction
        return norms(error).sum() + norms(left).sum(), error

    @torch.no_grad()
    def predict(self, lines: LatticeLines) -> GapLines:
        """The gaps after lattice lines, wherever FIELD fits."""
        linear, correction = self(windows(as_channels(lines), FIRST_KERNEL, 1), 1)
        return as_coils(linear + correction)


def fill_by_rraki(
    kspace: SliceKSpace,
    acs: SliceAcs,
    sampling: Sampling,
    settings: FillSettings,
    *,
    schedule: Schedule = PAPER,
) -> tuple[SliceKSpace, SliceReport]:
    """Residual RAKI: a linear and a nonlinear prediction of each real channel, trained together by Adam.

    All as in the authors' code for fastMRI data: layers, start, the peak of k-space at 1, the loss (L2 norm of the
    error of both branches plus that of the linear one alone, neither squared), step size and number of steps. Their
    code leaves the last gap and three samples at either end of the readout zero; here these are filled too, with
    zeros for the neighbours that aren't there.

    Returns the filled k-space on the CPU, acquired lines untouched, and the training curve in its report.

    Args:
        kspace: zero where nothing was acquired.
        acs: neighbouring fully sampled lines, inside `kspace` or apart from it.
        settings: the seed is that of the networks' start.
        schedule: other than published only to save time.

    Raises:
        NoCalibration: the ACS has fewer than 2R+1 lines or 7 samples along the readout.

    Zhang et al. 2022, NeuroImage 256:119248, doi:10.1016/j.neuroimage.2022.119248.
    """
    return fill_by_networks(ResidualNetworks, PEAK_MAGNITUDE, kspace, acs, sampling, settings, schedule)
