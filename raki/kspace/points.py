"""What a kernel sees in a plane of two phase-encode directions, and the skipped points put back.

As `raki.kspace.patches`, for a lattice of points instead of lines: a *gap* is the skipped points of a unit cell, its
*sources* are the acquired points about it, in all coils. Neighbouring gaps share few of these, so they are gathered.

Griswold et al. 2002, Magn Reson Med 47:1202-1210, doi:10.1002/mrm.10171; Breuer et al. 2006, Magn Reson Med
55:549-556, doi:10.1002/mrm.20787.
"""

import numpy as np
import torch
from jaxtyping import Complex64, Int64
from torch import Tensor
from torch.nn.functional import pad

from raki.errors import NoCalibration
from raki.kspace.patches import Examples
from raki.planning import Cell, Kernel, PointSampling
from raki.scan.fourier import SliceAcs, SliceKSpace

GAPS_AT_ONCE = 4096


def fill_points(
    kspace: SliceKSpace, sampling: PointSampling, kernel: Kernel, coefficients: Complex64[Tensor, "feature target"]
) -> SliceKSpace:
    """The gaps of a zero-filled plane filled with their sources times the coefficients.

    Neighbours beyond the plane count as zero, and what was acquired inside a gap is overwritten.
    """
    n_coils, n_targets = len(kspace), sampling.acceleration - 1
    gaps, taps = sampling.gaps, sampling.cell.taps(kernel)
    anchors = torch.from_numpy(gaps.anchors).to(kspace.device)
    made = torch.cat(
        [gathered(kspace, some, taps).flatten(1) @ coefficients for some in anchors.split(GAPS_AT_ONCE)]
    ).unflatten(1, (n_coils, n_targets))
    gap, target, place = torch.from_numpy(gaps.targets).to(kspace.device).T
    filled = kspace.flatten(1).clone()
    filled[:, place] = made[gap, :, target].T
    return filled.unflatten(1, kspace.shape[1:])


def acs_point_examples(acs: SliceAcs, kernel: Kernel, cell: Cell) -> Examples:
    """Every place in a calibration block where sources and targets were both acquired; rows are axes line, point.

    Raises:
        NoCalibration: the block has too few lines or points for the kernel.
    """
    offsets = np.concatenate([cell.taps(kernel), cell.targets()])
    least, most = offsets.min(axis=0), offsets.max(axis=0)
    n_places = [n - int(high - low) for n, low, high in zip(acs.shape[1:], least, most, strict=True)]
    if min(n_places) < 1:
        needed = (most - least + 1).tolist()
        raise NoCalibration(
            f"the calibration block has {acs.shape[1]} x {acs.shape[2]} points; a kernel of {kernel.n_pe} x "
            f"{kernel.n_ro} acquired points at R={cell.n_pe} x {cell.n_pe2} needs {needed[0]} x {needed[1]} at least"
        )
    rows, columns = (torch.arange(n) - int(low) for n, low in zip(n_places, least, strict=True))
    places = torch.cartesian_prod(rows, columns).to(acs.device)
    flat = point_examples_at(acs, places, kernel, cell)
    return Examples(sources=flat.sources.unflatten(0, n_places), targets=flat.targets.unflatten(0, n_places))


def point_examples_at(kspace: SliceKSpace, places: Int64[Tensor, "place 2"], kernel: Kernel, cell: Cell) -> Examples:
    """Examples from a plane that is known or filled, one for each place; the kernel has to lie inside."""
    return Examples(
        sources=gathered(kspace, places, cell.taps(kernel)).flatten(1),
        targets=gathered(kspace, places, cell.targets()).flatten(1),
    )


def gathered(
    kspace: SliceKSpace, places: Int64[Tensor, "place 2"], offsets: np.ndarray
) -> Complex64[Tensor, "place coil offset"]:
    """What lies at some offsets from each place; zero beyond the plane, however far."""
    n_rows, n_columns = kspace.shape[1:]
    around = torch.from_numpy(offsets).to(kspace.device)
    rows, columns = (places[:, None, axis] + around[:, axis] for axis in (0, 1))
    inside = (rows >= 0) & (rows < n_rows) & (columns >= 0) & (columns < n_columns)
    # One zero behind the last point stands for all that is outside.
    index = torch.where(inside, rows * n_columns + columns, n_rows * n_columns)
    return pad(kspace.flatten(1), (0, 1))[:, index].movedim(0, 1)
