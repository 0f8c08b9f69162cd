"""GRAPPA: one linear kernel, calibrated on the ACS, its settings chosen by cross-validation there."""

from collections.abc import Iterator
from dataclasses import replace
from functools import reduce

import torch

from raki.errors import NoCalibration
from raki.kspace.explanation import explain
from raki.kspace.frames import FrameCalibration
from raki.kspace.linear_fit import KernelWeights, LinearFilling, NormalEquations, calibrate
from raki.kspace.measured import measured_slice, unit_scale
from raki.kspace.method import FillSettings, SliceReport
from raki.kspace.mistakes import lattice_error, relative_mistakes
from raki.kspace.patches import Examples, acs_examples, magnitude
from raki.kspace.points import acs_point_examples
from raki.planning import Cell, Kernel, PointSampling, Sampling
from raki.scan.fourier import SliceAcs, SliceKSpace

# Candidates. Exact data choose the least ridge and noise the largest (tests/kspace/test_grappa.py).
READOUT_SAMPLES = (5, 9)
# Of a plane of two phase-encode directions: lines, and acquired points of each. The first always, the others where the
# calibration block has an example for each of their unknowns.
POINT_KERNELS = tuple(Kernel(n_pe=n_pe, n_ro=n_ro) for n_pe, n_ro in ((2, 2), (2, 3), (2, 5), (4, 3), (4, 4)))
RIDGES = (1e-5, 1e-4, 1e-3, 1e-2)
# Of an ACS that is too short to choose by.
USUAL_RIDGE = 1e-3
# Rows as they are, as in the textbook; or divided by their magnitude plus this part of the peak.
ROW_FLOORS = (None, 0.02)
# Chosen on the scans of benchmarks/README.md, and not varied since.
N_FOLDS = 3
# Held-out rows count by their relative error, but for those fainter than this part of the mean magnitude.
JUDGED_FLOOR = 0.1


def fill_by_grappa(
    kspace: SliceKSpace, acs: SliceAcs, sampling: Sampling | PointSampling, settings: FillSettings
) -> tuple[SliceKSpace, SliceReport]:
    """GRAPPA, its kernel and regularisation chosen by cross-validation; returns the filled k-space on the CPU.

    Griswold et al. 2002, Magn Reson Med 47:1202-1210, doi:10.1002/mrm.10171.
    """
    scale = unit_scale(acs)
    filling = calibrated_grappa((acs / scale).to(settings.device), sampling.gap)
    filled = filling.fill((kspace / scale).to(settings.device), sampling)
    measured = measured_slice(kspace / scale, acs / scale, sampling, sigma=0.0, device=settings.device)
    error = relative_mistakes(measured.keeping_known(filled), sampling, filling)
    report = SliceReport(held_out_errors={} if error is None else {"grappa": error})
    if settings.with_explanation:
        explanation = explain(measured.keeping_known(filled), measured, filling).scaled(scale)
        report = replace(report, explanation=explanation)
    if settings.with_weights:
        told = lattice_error(measured, filling)
        report = replace(report, weights=KernelWeights.of(filling, sampling.gap, "grappa", lattice_error=told))
    if settings.with_calibration:
        report = replace(report, calibration=FrameCalibration.of(filling, filling, measured, scale, report))
    return filled.cpu() * scale, report


def calibrated_grappa(acs: SliceAcs, gap: int | Cell) -> LinearFilling:
    """The kernel, and its fit to the whole ACS, whose width, row weighting and ridge predict held-out ACS lines best.

    Two lines; cross-validation over blocks of ACS lines. One eigendecomposition serves all ridges. `acs` is scaled to
    a peak of about 1, `gap` is that of its sampling. An ACS that is too short to hold lines out gets the narrow kernel
    and a usual ridge.

    Raises:
        NoCalibration: the ACS is too short for any kernel.

    Griswold et al. 2002, Magn Reson Med 47:1202-1210, doi:10.1002/mrm.10171.
    """
    candidates = dict(_candidates(acs, gap))
    narrowest = next(iter(candidates))
    if len(candidates[narrowest].sources) < N_FOLDS:
        return LinearFilling(kernel=narrowest, fit=calibrate(candidates[narrowest], ridge=USUAL_RIDGE))
    # The widest kernel must not be judged on other samples than the rest.
    widest = max(kernel.n_ro for kernel in candidates) if isinstance(gap, int) else 0
    errors = {
        (kernel, row_floor, ridge): error
        for kernel, examples in candidates.items()
        for row_floor in ROW_FLOORS
        for ridge, error in _held_out_errors(examples, row_floor, max(0, widest - kernel.n_ro) // 2)
    }
    kernel, row_floor, ridge = min(errors, key=errors.__getitem__)
    return LinearFilling(kernel=kernel, fit=calibrate(candidates[kernel], ridge=ridge, row_floor=row_floor))


def _candidates(acs: SliceAcs, gap: int | Cell) -> Iterator[tuple[Kernel, Examples]]:
    """The narrowest kernel always, or why not; wider ones where the readout has room for them."""
    if isinstance(gap, Cell):
        yield from _point_candidates(acs, gap)
        return
    n_ro = acs.shape[-1]
    for n_samples in READOUT_SAMPLES:
        kernel = Kernel(n_pe=2, n_ro=min(n_samples, n_ro // 4 * 2 + 1))
        if n_samples == READOUT_SAMPLES[0] or kernel.n_ro == n_samples:
            yield kernel, acs_examples(acs, kernel, gap)


def _point_candidates(acs: SliceAcs, cell: Cell) -> Iterator[tuple[Kernel, Examples]]:
    """The narrowest kernel always, or why not; wider ones where the calibration block has room for them."""
    for number, kernel in enumerate(POINT_KERNELS):
        try:
            examples = acs_point_examples(acs, kernel, cell)
        except NoCalibration:
            if number == 0:
                raise
            continue
        if number == 0 or examples.sources[..., 0].numel() >= len(acs) * kernel.n_pe * kernel.n_ro:
            yield kernel, examples


def _held_out_errors(examples: Examples, row_floor: float | None, margin: int) -> list[tuple[float, float]]:
    """Ridges with the error on held-out lines; the outermost `margin` samples are not judged."""
    n_lines, n_samples = examples.sources.shape[:2]
    judged = slice(margin, n_samples - margin)
    least = JUDGED_FLOOR * magnitude(examples.sources).mean()
    fold = torch.arange(n_lines, device=examples.sources.device) * N_FOLDS // n_lines
    errors = torch.zeros(len(RIDGES))
    folds = [examples.at_lines(fold == number) for number in range(N_FOLDS)]
    sums = [NormalEquations.of(unseen, row_floor) for unseen in folds]
    for number, unseen in enumerate(folds):
        others = [each for index, each in enumerate(sums) if index != number]
        fit = reduce(NormalEquations.plus, others).solved(ridge=USUAL_RIDGE)
        sources, targets = unseen.sources[:, judged], unseen.targets[:, judged]
        weight = (magnitude(sources) + least).square().reciprocal()
        for index, ridge in enumerate(RIDGES):
            error = fit.with_ridge(ridge).predict(sources) - targets
            errors[index] += float((weight * error.abs().square().sum(dim=-1)).sum())
    return list(zip(RIDGES, errors.tolist(), strict=True))
