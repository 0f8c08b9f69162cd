"""Where the brightness of a filled image comes from: acquired lines that it leans on, and what was changed upon that.

A linear filling is the sum of what it makes of any parts of the acquired samples. Taken in octaves of their distance
from the centre of k-space, and in phase with the image, these parts and the change that joint sparsity made upon them
add up to the image, pixel by pixel:

    image = leaned[0] + leaned[1] + leaned[2] + leaned[3] + change_coarse + change_fine

A part may be negative: such lines darken the pixel. What symmetry filled beyond the acquired range (partial Fourier) is
in none of them.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Bool, Float32
from torch import Tensor

from raki.kspace.in_phase import SliceImage, in_phase, signal_direction
from raki.kspace.measured import LinearlyFilling, MeasuredSlice
from raki.scan.fourier import SliceKSpace

OCTAVES = (16, 8, 4, 2)
"""Pixels in a period of the finest detail of each octave of acquired lines, from the centre of k-space outwards."""

FINE_PIXELS = 4
"""A detail of so many pixels in a period counts half as coarse, half as fine."""


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """Parts of one slice's root-sum-of-squares image, in its units, on the pixels of its k-space."""

    leaned_16: SliceImage
    """From the acquired lines nearest to the centre, of details of 16 pixels a period and more; in a plane of both
    phase-encode directions from points of such lines and partitions."""
    leaned_8: SliceImage
    """From those of 8 to 16 pixels;"""
    leaned_4: SliceImage
    """of 4 to 8;"""
    leaned_2: SliceImage
    """and of 2 to 4, the outermost."""
    change_coarse: SliceImage
    """What the method changed upon its linear filling, as far as it is coarse; nothing, of a method that is linear."""
    change_fine: SliceImage
    """As far as it is fine."""

    def scaled(self, scale: float) -> "Explanation":
        """On the processor, in units in which the k-space is `scale` times as large."""
        return replace(self, **{part.name: getattr(self, part.name).cpu() * scale for part in fields(self)})


EXPLANATION_PARTS = tuple(part.name for part in fields(Explanation))


def explain(filled: SliceKSpace, measured: MeasuredSlice, linear: LinearlyFilling) -> Explanation:
    """The parts of a slice that was filled; computed where `filled` is, in about four times the linear filling's time.

    Args:
        filled: the acquired lines as they were measured, all gaps as the method filled them.
        linear: the linear filling that the method began with.
    """
    signal = signal_direction(filled)
    leaned = [
        in_phase(linear.filled(replace(measured, kspace=torch.where(octave, measured.kspace, 0))), signal)
        for octave in _octaves(measured)
    ]
    change = in_phase(filled - linear.filled(measured), signal)
    coarse = _coarse(change)
    return Explanation(**dict(zip(EXPLANATION_PARTS, [*leaned, coarse, change - coarse], strict=True)))


def _octaves(measured: MeasuredSlice) -> Iterator[Bool[Tensor, "pe _"]]:
    """Masks of the samples in each octave, which leave none out."""
    lines, columns = (np.abs(np.arange(n) - n // 2) / n for n in measured.kspace.shape[1:])
    # Of a 2-D scan only lines were chosen: along the readout all is known.
    frequency = lines[:, None] if measured.known.shape[1] == 1 else np.maximum.outer(lines, columns)
    edges = [-1.0, *(1 / pixels for pixels in OCTAVES[:-1]), np.inf]
    for below, above in pairwise(edges):
        yield torch.from_numpy((frequency > below) & (frequency <= above)).to(measured.kspace.device)


def _coarse(image: SliceImage) -> Float32[Tensor, "pe ro"]:
    """An image through a Gaussian in k-space, which halves what has `FINE_PIXELS` in a period."""
    squares = [torch.fft.fftfreq(n, device=image.device).square() for n in image.shape]
    window = torch.exp2(-(FINE_PIXELS**2) * (squares[0][:, None] + squares[1]))
    return torch.fft.ifft2(torch.fft.fft2(image) * window).real
