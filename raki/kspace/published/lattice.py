"""Convolutions on the lattice of acquired lines, which is all that the published networks are made of.

A kernel of the papers is dilated by R along phase-encode: it reads lines that are R apart. The ACS is read so at
every line (`step` R); of the k-space itself the lattice lines are taken out first, where they are neighbours
(`step` 1). That gives the numbers that the whole k-space would give, without the work between the lattice lines.
"""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Complex64, Inexact
from torch import Tensor

from raki.errors import NoCalibration
from raki.planning import Kernel, Sampling
from raki.scan.fourier import SliceAcs, SliceKSpace

LatticeLines = Complex64[Tensor, "coil line ro"]
GapLines = Complex64[Tensor, "coil missing gap gap_ro"]

# The hidden layers of a whole slice are far larger than the slice.
GAPS_AT_ONCE = 16


def places_of_taps(shape: torch.Size, kernel: Kernel, step: int) -> list[tuple[slice, slice]]:
    """Lines and samples of maps that each tap of the kernel reads, in all places where the kernel fits."""
    n_lines = shape[-2] - (kernel.n_pe - 1) * step
    n_ro = shape[-1] - kernel.n_ro + 1
    return [
        (slice(line * step, line * step + n_lines), slice(sample, sample + n_ro))
        for line in range(kernel.n_pe)
        for sample in range(kernel.n_ro)
    ]


def windows(
    maps: Inexact[Tensor, "*network channel line ro"], kernel: Kernel, step: int
) -> Inexact[Tensor, "*network feature window_line window_ro"]:
    """What the kernel sees at each place where it fits; a feature is one channel, line and readout neighbour."""
    taps = [maps[(..., *place)] for place in places_of_taps(maps.shape, kernel, step)]
    return torch.stack(taps, dim=-3).flatten(-4, -3)


def mix(
    weights: Inexact[Tensor, "*network out feature"], features: Inexact[Tensor, "*network feature line ro"]
) -> Inexact[Tensor, "*network out line ro"]:
    """The same linear map at every place: with `windows` before it a convolution, alone a 1x1 convolution."""
    return (weights @ features.flatten(-2)).unflatten(-1, features.shape[-2:])


def convolve(
    weights: Inexact[Tensor, "*network out feature"],
    maps: Inexact[Tensor, "*network channel line ro"],
    kernel: Kernel,
    step: int,
) -> Inexact[Tensor, "*network out window_line window_ro"]:
    """What `mix` makes of the `windows` of `maps`, with the products before the shifts.

    No sample is copied once for each tap. A product is instead: fewer, where outputs are fewer than channels.
    """
    by_tap = weights.unflatten(-1, (-1, kernel.n_pe * kernel.n_ro)).movedim(-1, -3)
    products = mix(by_tap.flatten(-3, -2), maps).unflatten(-3, by_tap.shape[-3:-1])
    return _SumOfTaps.apply(products, kernel, step)


class _SumOfTaps(torch.autograd.Function):
    """Each tap's products where the kernel fits, summed; its gradient in one array, where slices would make many."""

    @staticmethod
    def forward(ctx: Any, products: Tensor, kernel: Kernel, step: int) -> Tensor:
        ctx.shape, ctx.places = products.shape, places_of_taps(products.shape, kernel, step)
        first, *others = (products[(..., tap, slice(None), *place)] for tap, place in enumerate(ctx.places))
        total = first.clone()
        for shifted in others:
            total += shifted
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        spread = gradients[0].new_zeros(ctx.shape)
        for tap, place in enumerate(ctx.places):
            spread[(..., tap, slice(None), *place)] = gradients[0]
        return spread, None, None


def gap_targets(acs: SliceAcs, kernel: Kernel, acceleration: int) -> GapLines:
    """The R-1 lines of every gap in the ACS around which the kernel fits, readout borders left out.

    Raises:
        NoCalibration: it fits nowhere.
    """
    n_acs_lines, n_ro = acs.shape[-2:]
    needed = kernel.n_lines_needed(acceleration)
    if n_acs_lines < needed or n_ro < kernel.n_ro:
        raise NoCalibration(
            f"the calibration lines are {n_acs_lines} of {n_ro} samples; a network that reads {kernel.n_pe} lines and "
            f"{kernel.n_ro} samples at R={acceleration} needs at least {needed} lines of {kernel.n_ro} samples"
        )
    half = kernel.n_ro // 2
    before = -kernel.first_tap() * acceleration
    n_gaps = n_acs_lines - needed + 1
    inner = acs[..., half : n_ro - half]
    missing = [inner[:, before + line : before + line + n_gaps] for line in range(1, acceleration)]
    return torch.stack(missing, dim=1)


def fill_gaps(
    kspace: SliceKSpace, sampling: Sampling, kernel: Kernel, predict: Callable[[LatticeLines], GapLines]
) -> SliceKSpace:
    """Fill the gaps between lattice lines, some gaps at a time; acquired lines are returned as they came.

    The authors leave a gap zero where the kernel reaches beyond the acquired lines, and likewise the ends of the
    readout. Here all are filled: what lies beyond counts as zero.

    Args:
        kernel: what `predict` sees: it gets lattice lines and gives the gaps around which the kernel fits.
    """
    filled = kspace.clone()
    lines = sampling.lattice_lines()
    half, before = kernel.n_ro // 2, -kernel.first_tap()
    padded = torch.nn.functional.pad(kspace[:, lines], (half, half, before, kernel.n_pe - 2 - before))
    missing = torch.arange(1, sampling.acceleration, device=kspace.device)
    for start in range(0, len(lines) - 1, GAPS_AT_ONCE):
        some = torch.tensor(lines[start:-1][:GAPS_AT_ONCE], device=kspace.device)
        gaps = predict(padded[:, start : start + len(some) + kernel.n_pe - 1])
        filled[:, some[:, None] + missing] = gaps.transpose(1, 2)
    return restore_acs(filled, kspace, sampling)


def restore_acs(filled: SliceKSpace, kspace: SliceKSpace, sampling: Sampling) -> SliceKSpace:
    """`filled`, with the ACS lines of `kspace` where it has any."""
    first, stop = sampling.acs_lines or (0, 0)
    restored = filled.clone()
    restored[:, first:stop] = kspace[:, first:stop]
    return restored
