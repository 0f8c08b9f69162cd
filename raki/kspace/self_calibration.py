"""Calibrate on the whole k-space instead of the ACS alone: fill, calibrate on what was filled, fill again.

The ACS holds few lines, all of them bright. Once the gaps are filled, every place of k-space is an example: of the
acquired samples as sources, and as targets too, since seen from the lines between them the acquired ones are what is
missing. Many thousand examples, faint ones among them, leave a fit of a few hundred unknowns little room for error.
Its own mistakes are in those examples as well, but spread over all of k-space, where nothing keeps them alike.
"""

import numpy as np
import torch

from raki.errors import NoCalibration
from raki.kspace.linear_fit import LinearFilling, calibrate
from raki.kspace.measured import MeasuredSlice
from raki.kspace.patches import Examples, acs_examples, examples_at
from raki.kspace.points import acs_point_examples, point_examples_at
from raki.planning import Kernel, PointSampling, slice_kernel
from raki.scan.fourier import SliceKSpace

# More rounds change little (benchmarks/README.md).
N_ROUNDS = 4
EXAMPLES_PER_FEATURE = 12
RIDGE = 1e-3
# Rows count by 1 / (their magnitude + sigma + this), in units of the peak: by their relative error, down to the noise.
ROW_FLOOR = 3e-3
# Four lines see farther than two, and tell apart what few coils can't. Many coils have that from two, at an eighth of
# the arithmetic.
N_WIDE_LINES = 4
FEW_COILS = 12
# Of a plane of two phase-encode directions, the widest first; more unknowns than these cost more than they tell.
NARROW_POINT_KERNEL = Kernel(n_pe=2, n_ro=3)
POINT_KERNELS = (Kernel(n_pe=4, n_ro=4), Kernel(n_pe=4, n_ro=3), Kernel(n_pe=2, n_ro=4))
MOST_POINT_FEATURES = 256


def self_calibrated(measured: MeasuredSlice, start: LinearFilling, kernel: Kernel, *, seed: int) -> LinearFilling:
    """The filling after some rounds of filling with the last and calibrating on what was filled.

    Solves in closed form what iterative RAKI trains for, and on all lines instead of the central ones. `seed` chooses
    the examples: a fixed number for each unknown, however large the slice.

    Dawood et al. 2023, Magn Reson Med 89:812-827 (iRAKI).
    """
    filling = start
    for number in range(N_ROUNDS):
        examples = _examples(measured, filling.filled(measured), kernel, torch.Generator().manual_seed(seed + number))
        fit = calibrate(examples, ridge=RIDGE, row_floor=measured.sigma + ROW_FLOOR)
        filling = LinearFilling(kernel=kernel, fit=fit)
    return filling


def self_calibrating_kernel(measured: MeasuredSlice) -> Kernel:
    """Four lines where the coils are few and the filled lines are enough for it, else two."""
    if isinstance(measured.sampling, PointSampling):
        return _point_kernel(measured, measured.sampling)
    narrow = slice_kernel(min(measured.acs.shape[-1], measured.kspace.shape[-1]))
    wide = Kernel(n_pe=N_WIDE_LINES, n_ro=narrow.n_ro)
    first, stop = measured.sampling.filled_lines()
    n_places = (stop - first - wide.n_lines_needed(measured.sampling.acceleration) + 1) * (
        measured.kspace.shape[-1] - wide.n_ro + 1
    )
    n_features = len(measured.kspace) * wide.n_pe * wide.n_ro
    return wide if len(measured.kspace) <= FEW_COILS and n_places >= EXAMPLES_PER_FEATURE * n_features else narrow


def _examples(measured: MeasuredSlice, filled: SliceKSpace, kernel: Kernel, generator: torch.Generator) -> Examples:
    """Places chosen at random over the filled lines; and all of the ACS where it is no part of them."""
    if isinstance(measured.sampling, PointSampling):
        return _point_examples(measured, measured.sampling, filled, kernel, generator)
    acceleration = measured.sampling.acceleration
    n_coils, _, n_ro = filled.shape
    first, stop = measured.sampling.filled_lines()
    first -= kernel.first_tap() * acceleration
    n_lines, n_samples = stop - first - acceleration * (kernel.n_pe // 2), n_ro - kernel.n_ro + 1
    n_wanted = EXAMPLES_PER_FEATURE * n_coils * kernel.n_pe * kernel.n_ro
    places = torch.randperm(n_lines * n_samples, generator=generator)[:n_wanted].to(filled.device)
    lines, samples = first + places // n_samples, kernel.n_ro // 2 + places % n_samples
    examples = examples_at(filled, lines, samples, kernel, acceleration)
    if measured.acs_inside or measured.acs.shape[-2] < kernel.n_lines_needed(acceleration):
        return examples
    return examples.and_also(acs_examples(measured.acs, kernel, acceleration).flat())


def _point_kernel(measured: MeasuredSlice, sampling: PointSampling) -> Kernel:
    """As far as the coils are few and the plane has examples for it."""
    for kernel in POINT_KERNELS:
        n_features = len(measured.kspace) * kernel.n_pe * kernel.n_ro
        n_places = len(_places(sampling, kernel))
        if n_places >= EXAMPLES_PER_FEATURE * n_features and n_features <= MOST_POINT_FEATURES:
            return kernel
    return NARROW_POINT_KERNEL


def _places(sampling: PointSampling, kernel: Kernel) -> np.ndarray:
    return sampling.fitting(np.concatenate([sampling.cell.taps(kernel), sampling.cell.targets()]))


def _point_examples(
    measured: MeasuredSlice, sampling: PointSampling, filled: SliceKSpace, kernel: Kernel, generator: torch.Generator
) -> Examples:
    """Places chosen at random over the filled area; and all of the calibration block where it is no part of it."""
    places = torch.from_numpy(_places(sampling, kernel))
    n_wanted = EXAMPLES_PER_FEATURE * len(filled) * kernel.n_pe * kernel.n_ro
    chosen = places[torch.randperm(len(places), generator=generator)[:n_wanted]].to(filled.device)
    examples = point_examples_at(filled, chosen, kernel, sampling.cell)
    if measured.acs_inside:
        return examples
    try:
        return examples.and_also(acs_point_examples(measured.acs, kernel, sampling.cell).flat())
    except NoCalibration:
        return examples
