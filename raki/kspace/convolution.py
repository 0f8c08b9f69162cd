"""What a linear kernel makes of the gaps: along the readout a convolution, and so a product in each column.

The patches that overlap there are never gathered. Where the kernel has nine readout samples, a ninth of the arithmetic
is left, and none of the copying; what a fit looks at are patches all the same (see `patches`).

Brau et al. 2008, Magn Reson Med 59:382-395, doi:10.1002/mrm.21481 (hybrid space).
"""

from collections.abc import Iterator

import torch
from jaxtyping import Bool, Complex64
from torch import Tensor

from raki.planning import Kernel, Sampling
from raki.scan.fourier import SliceKSpace

Coefficients = Complex64[Tensor, "feature target"]
ColumnSources = Complex64[Tensor, "column gap source"]

WEIGHTS_AT_ONCE = 2**23
"""64 MiB."""


def fill_linearly(kspace: SliceKSpace, sampling: Sampling, kernel: Kernel, coefficients: Coefficients) -> SliceKSpace:
    """Every gap of a zero-filled k-space filled with its sources times the coefficients, as `interpolate` fills it.

    Neighbours beyond the k-space count as zero; what has no source but zeros is zero.
    """
    n_coils, n_pe, n_ro = kspace.shape
    gaps = torch.tensor(sampling.gaps(), device=kspace.device)
    lines = gaps[:, None] + torch.arange(1, sampling.acceleration, device=kspace.device)
    sources, reached = _columns_of_sources(kspace, gaps, sampling.acceleration, kernel)
    targets = torch.cat(list(_columns_of_targets(sources, kernel, coefficients)))
    made = torch.fft.ifft(targets.permute(2, 1, 0))[..., :n_ro].unflatten(0, (n_coils, -1))
    filled = kspace.clone()
    inside = ((lines >= 0) & (lines < n_pe)).flatten()
    filled[:, lines.flatten()[inside]] = torch.where(reached, made, 0).transpose(1, 2).flatten(1, 2)[:, inside]
    return filled


def _columns_of_sources(
    kspace: SliceKSpace, gaps: Tensor, acceleration: int, kernel: Kernel
) -> tuple[ColumnSources, Bool[Tensor, " ro"]]:
    """The lines around each gap after a transform along the readout; and which samples a kernel reaches from them.

    With room behind the readout for half a kernel: what leaves at one end mustn't come in at the other.
    """
    n_pe, n_ro = kspace.shape[1:]
    taps = acceleration * (kernel.first_tap() + torch.arange(kernel.n_pe, device=kspace.device))
    rows = torch.arange(int(gaps[0] + taps[0]), int(gaps[-1] + taps[-1]) + 1, acceleration, device=kspace.device)
    inside = ((rows >= 0) & (rows < n_pe))[None, :, None]
    seen = torch.where(inside, kspace[:, rows.clamp(0, n_pe - 1)], 0)
    half = kernel.n_ro // 2
    columns = torch.fft.fft(seen, n=_fast_length(n_ro + half)).permute(2, 1, 0)
    holds = (seen != 0).any(dim=0).any(dim=0).float()
    reached = torch.nn.functional.max_pool1d(holds[None], kernel.n_ro, 1, half)[0] > 0
    return columns.unfold(1, kernel.n_pe, 1).flatten(2), reached


def _columns_of_targets(
    sources: ColumnSources, kernel: Kernel, coefficients: Coefficients
) -> Iterator[Complex64[Tensor, "column gap target"]]:
    """Some columns at a time: each has a matrix of its own."""
    n_columns = len(sources)
    by_sample = coefficients.unflatten(0, (-1, kernel.n_ro)).movedim(1, 0).flatten(1)
    offsets = torch.arange(kernel.n_ro, device=sources.device) - kernel.n_ro // 2
    turns = torch.outer(torch.arange(n_columns, device=sources.device), offsets) % n_columns / n_columns
    phases = torch.polar(torch.ones_like(turns), 2 * torch.pi * turns)
    at_once = max(1, WEIGHTS_AT_ONCE // by_sample.shape[1])
    for some, of_some in zip(sources.split(at_once), phases.split(at_once), strict=True):
        yield some @ (of_some @ by_sample).unflatten(1, (-1, coefficients.shape[1]))


def _fast_length(least: int) -> int:
    """The next length without prime factors above five: others take several times as long to transform."""
    length = least
    while True:
        rest = length
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return length
        length += 1
