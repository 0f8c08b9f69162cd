"""Slices excited at once: the phase that tells them apart, their sum, and the way back.

On line k each slice of a group carries the phase exp(2πi · turns · (k - n_pe // 2)), a shift in the image of `turns`
times its rows. What is measured is the sum over the group.

Breuer et al. 2005, Magn Reson Med 53:684-691, doi:10.1002/mrm.20401 (CAIPIRINHA); Setsompop et al. 2012, Magn Reson Med
67:1210-1224, doi:10.1002/mrm.23097 (blipped-CAIPI).
"""

import math

import torch
from jaxtyping import Complex64
from torch import Tensor

from raki.scan.fourier import SliceKSpace

GroupKSpace = Complex64[Tensor, "band coil pe ro"]
"""Of the slices of one group."""
GroupLines = Complex64[Tensor, "band coil wanted ro"]
"""Likewise, some lines of them."""
GroupAcs = Complex64[Tensor, "band coil acs_line acs_ro"]
Turns = tuple[float, ...]
"""Of each slice of a group the turns of phase from one line of k-space to the next; dimensionless."""


def modulated(group: GroupKSpace, turns: Turns) -> GroupKSpace:
    """The slices as they enter the sum, each shifted along phase-encode by its turns times the rows of the image.

    Any block of lines about the centre will do: the phase is that of its lines from its own middle, `n // 2`.

    Raises:
        ValueError: turns of another number of slices.
    """
    return group * _phases(turns, group)


def demodulated(group: GroupKSpace, turns: Turns) -> GroupKSpace:
    """The inverse of `modulated`.

    Raises:
        ValueError: turns of another number of slices.
    """
    return group * _phases(turns, group).conj()


def collapsed(group: GroupKSpace, turns: Turns) -> SliceKSpace:
    """What is measured of slices that are excited at once: the sum of the modulated slices.

    Raises:
        ValueError: turns of another number of slices.
    """
    return modulated(group, turns).sum(dim=0)


def _phases(turns: Turns, group: GroupKSpace) -> Complex64[Tensor, "band 1 pe 1"]:
    n_bands, _, n_pe, _ = group.shape
    if len(turns) != n_bands:
        raise ValueError(f"turns of {len(turns)} slices were given, and k-space of {n_bands}; needed is one for each")
    lines = torch.arange(n_pe, dtype=torch.float64) - n_pe // 2
    # Whole turns are none: in single precision they would cost the phase its last digits.
    angles = 2 * math.pi * torch.remainder(torch.outer(torch.tensor(turns, dtype=torch.float64), lines), 1)
    phases = torch.polar(torch.ones_like(angles), angles).to(torch.complex64)
    return phases[:, None, :, None].to(group.device)
