"""Whether the axes of an array are what they are taken for; only what no scan does counts as evidence."""

from collections.abc import Iterator

import torch
from torch import Tensor

from raki.scan.fourier import KSpace

# No receiver has more channels, and no readout so few samples.
MOST_COILS, FEWEST_SAMPLES = 128, 32
# A readout has no holes, and k-space no more than this of exact zeros by chance.
HOLES = 0.25


def implausible_axes(kspace: KSpace) -> Iterator[str]:
    """Sentences on what the axes seem to be instead of (slice,) coil, pe, ro; nothing where they may be that."""
    n_coils, n_pe, n_ro = kspace.shape[-3:]
    if n_coils > MOST_COILS and n_ro < FEWEST_SAMPLES:
        yield (
            f"kspace has shape {tuple(kspace.shape)}, which is {n_coils} coils and {n_ro} samples along the readout; "
            "the axes have to be (slice,) coil, pe, ro: if the coils are last, move them with "
            "numpy.moveaxis(kspace, -1, -3)"
        )
        return
    is_there = (kspace != 0).reshape(-1, n_pe, n_ro).any(dim=0)
    lines, columns = is_there.any(dim=1), is_there.any(dim=0)
    n_holes = _holes(columns)
    if bool(lines.all()) and n_holes > HOLES * int(columns.sum()):
        yield (
            f"all {n_pe} lines of kspace are there, and {n_holes} of {n_ro} samples along the readout are zero in each "
            "of them; the axes have to be (slice,) coil, pe, ro: if the readout comes first, swap them with "
            "numpy.swapaxes(kspace, -1, -2)"
        )


def _holes(is_there: Tensor) -> int:
    """How many are missing between the first and the last."""
    found = torch.nonzero(is_there).flatten()
    return int(found[-1] - found[0] + 1 - len(found)) if len(found) else 0
