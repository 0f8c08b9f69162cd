"""Acquired lines as tensors: told by their samples, and the pattern behind them."""

import torch
from jaxtyping import Bool
from torch import Tensor

from raki import planning
from raki.planning import Sampling
from raki.scan.fourier import KSpace

SampledLines = Bool[Tensor, " pe"]
LinesBySlice = Bool[Tensor, "slice pe"]


def lines_by_slice(kspace: KSpace) -> Bool[Tensor, "slice pe"]:
    """Of each slice, the lines with a finite sample other than zero in any coil; of an empty one, those of the others.

    Zero and NaN both stand for what was never acquired.
    """
    slices = kspace.reshape(-1, *kspace.shape[-3:])
    of_slices = (torch.isfinite(slices) & (slices != 0)).any(dim=-1).any(dim=-2)
    return torch.where(of_slices.any(dim=1, keepdim=True), of_slices, of_slices.any(dim=0))


def find_sampling(sampled: SampledLines) -> Sampling:
    """`raki.planning.find_sampling` of a tensor."""
    return planning.find_sampling(sampled.numpy())
