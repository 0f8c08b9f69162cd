"""The methods of `raki.kspace` as they are registered: what each is called, what it needs, and where it is."""

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from raki.planning.kernel import ADVISED_ACS_LINES, Kernel, kernel_obstacle, slice_kernel
from raki.planning.method import Method, loaded_when_called
from raki.planning.points import PointSampling
from raki.planning.sampling import Sampling
from raki.planning.scattered import AnySampling, ScatteredSampling, scattered_obstacle

# What the published networks see through their layers. RAKI and residual RAKI: the acquired line before the gap, and
# the two after it. Iterative RAKI: two acquired lines on either side of the gap, after a GRAPPA.
RAKI2019_FIELD = Kernel(n_pe=3, n_ro=7)
IRAKI_FIELD = Kernel(n_pe=4, n_ro=11)
IRAKI_GRAPPA_KERNEL = Kernel(n_pe=2, n_ro=5)
N_EXTENDED_LINES = 65
# Of a plane of two phase-encode directions: two acquired points of each of two lines.
NARROWEST_OF_POINTS = Kernel(n_pe=2, n_ro=2)

NO_LATTICE = "fills every R-th line, as 2-D scans have them; this scan skips points at random, on no lattice"


def extended_lines(sampling: Sampling) -> tuple[int, int]:
    """What iterative RAKI trains on, first and one past the last of the 65 central lines, or as many of them as lie
    between the outermost lattice lines."""
    lattice = sampling.lattice_lines()
    first = (sampling.n_pe - N_EXTENDED_LINES) // 2
    return max(first, lattice[0]), min(first + N_EXTENDED_LINES, lattice[-1] + 1)


def _nothing(_sampling: AnySampling, _n_lines: int, _n_ro: int) -> Iterator[str]:
    return iter(())


def _kernels(*kernels: Kernel) -> Callable[[AnySampling, int, int], Iterator[str]]:
    return partial(_obstacles, kernels)


def _obstacles(kernels: tuple[Kernel, ...], sampling: AnySampling, n_lines: int, n_ro: int) -> Iterator[str]:
    """Too few lines for the least kernel, which all begin with, or for those of the method."""
    if isinstance(sampling, ScatteredSampling):
        yield from (NO_LATTICE,) if kernels else scattered_obstacle(n_lines, n_ro)
        return
    if isinstance(sampling, PointSampling):
        yield from point_obstacle(kernels, sampling, n_lines, n_ro)
        return
    for kernel in (slice_kernel(n_ro), *kernels):
        yield from kernel_obstacle(kernel, sampling, n_lines, n_ro)


def point_obstacle(kernels: tuple[Kernel, ...], sampling: PointSampling, n_lines: int, n_points: int) -> Iterator[str]:
    """As `kernel_obstacle`, for a calibration block of so many lines of so many points."""
    if kernels:
        yield "fills lines, as 2-D scans have them; this scan skips points of two phase-encode directions (it is 3-D)"
        return
    cell = sampling.cell
    offsets = np.concatenate([cell.taps(NARROWEST_OF_POINTS), cell.targets()])
    needed = (offsets.max(axis=0) - offsets.min(axis=0) + 1).tolist()
    if n_lines < needed[0] or n_points < needed[1]:
        yield (
            f"needs a calibration block of at least {needed[0]} x {needed[1]} points at R={cell.n_pe} x {cell.n_pe2}, "
            f"{ADVISED_ACS_LINES} of each or more are advised; there are {n_lines} x {n_points}"
        )


def _obstacles_of_spirit(_sampling: AnySampling, n_lines: int, n_points: int) -> Iterator[str]:
    return scattered_obstacle(n_lines, n_points)


def _obstacles_of_iraki(sampling: AnySampling, n_lines: int, n_ro: int) -> Iterator[str]:
    yield from _obstacles((IRAKI_GRAPPA_KERNEL,), sampling, n_lines, n_ro)
    if not isinstance(sampling, Sampling):
        return
    first, stop = extended_lines(sampling)
    needed = IRAKI_FIELD.n_lines_needed(sampling.acceleration)
    if stop - first < needed or n_ro < IRAKI_FIELD.n_ro:
        yield (
            f"needs at least {needed} central lines of {IRAKI_FIELD.n_ro} samples at "
            f"R={sampling.acceleration} to train on; there are {stop - first} of {n_ro}"
        )


ZERO_FILLED = Method(
    name="zero_filled",
    label="Zero-filled",
    fill=loaded_when_called("raki.kspace.zero_filled:leave_zero"),
    fills_points=True,
    obstacles=_nothing,
    seconds_a_slice=0.0,
)
GRAPPA = Method(
    name="grappa",
    label="GRAPPA",
    fill=loaded_when_called("raki.kspace.grappa:fill_by_grappa"),
    fills_points=True,
    obstacles=_kernels(),
    seconds_a_slice=0.2,
)
RAKI_LINEAR = Method(
    name="raki_linear",
    label="RAKI, linear",
    fill=loaded_when_called("raki.kspace.raki:fill_by_raki_linear"),
    fills_points=True,
    obstacles=_kernels(),
    seconds_a_slice=2.0,
)
RAKI = Method(
    name="raki",
    label="RAKI",
    fill=loaded_when_called("raki.kspace.raki:fill_by_raki"),
    fills_points=True,
    obstacles=_kernels(),
    seconds_a_slice=5.0,
)
RAKI2019 = Method(
    name="raki2019",
    label="RAKI (2019)",
    fill=loaded_when_called("raki.kspace.published.raki2019:fill_by_raki2019"),
    obstacles=_kernels(RAKI2019_FIELD),
    seconds_a_slice=120.0,
)
RRAKI = Method(
    name="rraki",
    label="Residual RAKI",
    fill=loaded_when_called("raki.kspace.published.rraki:fill_by_rraki"),
    obstacles=_kernels(RAKI2019_FIELD),
    seconds_a_slice=260.0,
)
IRAKI = Method(
    name="iraki",
    label="Iterative RAKI",
    fill=loaded_when_called("raki.kspace.published.iraki:fill_by_iraki"),
    obstacles=_obstacles_of_iraki,
    seconds_a_slice=1000.0,
)
# What fills points on no lattice, whichever of raki's own methods is chosen: none is registered.
SPIRIT = Method(
    name="spirit",
    label="SPIRiT",
    fill=loaded_when_called("raki.kspace.fill_scattered:fill_by_spirit"),
    fills_points=True,
    obstacles=_obstacles_of_spirit,
    seconds_a_slice=4.0,
)
SPIRIT_SPARSE = Method(
    name="spirit_sparse",
    label="SPIRiT with joint sparsity",
    fill=loaded_when_called("raki.kspace.fill_scattered:fill_by_spirit_sparse"),
    fills_points=True,
    obstacles=_obstacles_of_spirit,
    seconds_a_slice=12.0,
)
FOR_SCATTERED = {"grappa": SPIRIT, "raki_linear": SPIRIT, "raki": SPIRIT_SPARSE}
"""What each of raki's own methods does where points lie on no lattice."""
