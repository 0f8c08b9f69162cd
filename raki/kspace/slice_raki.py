"""RAKI for slices excited at once: a linear kernel, and a small network for what it leaves.

Zhang et al. 2018, Asilomar Conf Signals Syst Comput 1636-1640, doi:10.1109/ACSSC.2018.8645313 (RAKI for simultaneous
multi-slice); Zhang et al. 2022, NeuroImage 256:119248, doi:10.1016/j.neuroimage.2022.119248 (residual RAKI: linear
kernel and network side by side).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Complex64, Float32
from torch import Tensor

from raki.kspace.adam import Adam
from raki.kspace.caipi import GroupLines
from raki.kspace.patches import Examples, Sources, Targets, magnitude
from raki.kspace.slice_grappa import ALL_LINES, BandExamples, LinearSeparation, windows
from raki.scan.fourier import SliceKSpace

N_HIDDEN = 32
N_STEPS = 60
LEARNING_RATE = 3e-3
# Of all rows so many at random: the network has fewer weights, and the time of a step grows with them.
MOST_ROWS = 8192

Channels = Float32[Tensor, "*row channel"]


@dataclass(frozen=True, kw_only=True)
class SliceRaki:
    """What a linear kernel makes of the sum, plus what a network of three layers makes of it.

    Without a bias both are homogeneous: the sum twice as bright gives slices twice as bright.
    """

    linear: LinearSeparation
    layers: tuple[Float32[Tensor, "_ _"], ...]

    def separated(self, measured: SliceKSpace, wanted: slice = ALL_LINES) -> GroupLines:
        """The modulated slices on the wanted lines of a sum. Lines beyond either end count as zero."""
        made = [self.predict(some) for some in windows(measured, self.linear.kernel, wanted)]
        return torch.cat(made).unflatten(-1, (self.linear.n_bands, len(measured))).permute(2, 3, 0, 1)

    def predict(self, sources: Sources) -> Targets:
        """All slices from what the kernel sees, in units of the k-space."""
        return self.linear.predict(sources) + _as_complex(_network(_as_real(sources), self.layers))


def trained(linear: LinearSeparation, examples: BandExamples, *, seed: int) -> SliceRaki:
    """The network that learns what the linear kernel leaves: of the sum of all slices, and of each slice alone.

    Rows are divided by their magnitude plus the mean, so that the bright centre of k-space isn't all that is learnt.
    The same seed gives the same bits on the same device.
    """
    rows, generator = _all_rows(examples), torch.Generator().manual_seed(seed)
    if len(rows.sources) > MOST_ROWS:
        some = torch.randperm(len(rows.sources), generator=generator)[:MOST_ROWS].sort().values.to(rows.sources.device)
        rows = Examples(sources=rows.sources[some], targets=rows.targets[some])
    size = magnitude(rows.sources)
    weight = (size + size.mean()).reciprocal()[:, None]
    sources = _as_real(rows.sources * weight)
    left = _as_real((rows.targets - linear.predict(rows.sources)) * weight)
    scale = left.square().mean().sqrt().clamp(min=torch.finfo(torch.float32).tiny)
    layers = _start(sources.shape[1], left.shape[1], generator, sources.device)
    adam = Adam(layers)
    for _ in range(N_STEPS):
        loss = (_network(sources, layers) - left / scale).square().mean()
        adam.step(torch.autograd.grad(loss, layers), LEARNING_RATE)
    *hidden, last = (layer.detach() for layer in layers)
    return SliceRaki(linear=linear, layers=(*hidden, last * scale))


def _all_rows(examples: BandExamples) -> Examples:
    rows = examples.of_sum.flat()
    for band in range(len(examples.sources)):
        rows = rows.and_also(examples.of_band(band).flat())
    return rows


def _start(n_in: int, n_out: int, generator: torch.Generator, device: torch.device) -> list[Tensor]:
    """The last layer begins at zero: the network begins as the linear kernel alone (He et al. 2015 for the others)."""
    first = torch.randn(n_in, N_HIDDEN, generator=generator) * (1 / n_in) ** 0.5
    second = torch.randn(N_HIDDEN, N_HIDDEN, generator=generator) * (2 / N_HIDDEN) ** 0.5
    return [layer.to(device).requires_grad_() for layer in (first, second, torch.zeros(N_HIDDEN, n_out))]


def _network(sources: Channels, layers: Sequence[Tensor]) -> Float32[Tensor, "*row out"]:
    first, second, last = layers
    return torch.relu(torch.relu(sources @ first) @ second) @ last


def _as_real(values: Complex64[Tensor, "*row half"]) -> Channels:
    return torch.cat([values.real, values.imag], dim=-1)


def _as_complex(channels: Channels) -> Complex64[Tensor, "*row half"]:
    return torch.complex(*channels.chunk(2, dim=-1))
