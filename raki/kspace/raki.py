"""RAKI as this project makes it: self-calibrated in closed form, two experts behind a gate, a branch where it helps.

Held-out ACS lines choose between it and plain GRAPPA, set the gate, and say whether the nonlinear branch stays.
"""

from collections.abc import Iterator
from dataclasses import replace

from raki.kspace.experts import Experts, best_threshold
from raki.kspace.held_out import HeldOutLines, hold_out
from raki.kspace.method import FillSettings, Method, SliceReport, kernel_obstacle
from raki.kspace.patches import Predict, magnitude
from raki.kspace.sampling import Sampling
from raki.kspace.self_calibration import (
    MeasuredSlice,
    first_fit,
    measured_slice,
    self_calibrated,
    slice_kernel,
    unit_scale,
)
from raki.kspace.training import noise_levels, trained_network, try_branch
from raki.kspace.uncertainty import UncertaintyMaps, assess
from raki.scan.fourier import SliceAcs, SliceKSpace

LINEAR, WITH_BRANCH, PLAIN_GRAPPA = "raki", "raki with branch", "grappa"
"""The candidates that may fill a slice."""

# Constants that say nothing else were measured on seven scans of several scanners (benchmarks/README.md).
N_ROUNDS = 4
# Lines beside the ACS are bright and easy: on measured scans GRAPPA erred there up to half as much as the network,
# and the whole image of the network was better still. Only more than this speaks of a failure.
FALL_BACK_BEYOND = 3.0
N_LAST_ROUNDS = 2
# Held-out error up to which a fit is a better start than GRAPPA; beyond, its mistakes outlive the last rounds.
GOOD_START = 0.1


def fill_by_raki(
    kspace: SliceKSpace, acs: SliceAcs, sampling: Sampling, settings: FillSettings
) -> tuple[SliceKSpace, SliceReport]:
    """Residual RAKI, its linear part self-calibrated on the whole k-space; returns the filled k-space on the CPU.

    Without a noise level in the settings it is estimated from the ACS. The nonlinear branch is tried where the settings
    say so, and kept only where it lowers the error on held-out ACS lines.

    Zhang et al. 2022, NeuroImage 256:119248, doi:10.1016/j.neuroimage.2022.119248 (residual RAKI).
    """
    scale = unit_scale(acs)
    sigma = None if settings.sigma is None else settings.sigma / scale
    measured = measured_slice(kspace / scale, acs / scale, sampling, sigma=sigma, device=settings.device)
    predict, report = calibrated_raki(measured, seed=settings.seed, with_branch=settings.with_branch)
    filled = measured.filled_by(predict)
    maps = _maps(filled, measured, predict, scale, settings.seed) if settings.with_maps else None
    return filled.cpu() * scale, replace(report, sigma=measured.sigma * scale, maps=maps)


def calibrated_raki(measured: MeasuredSlice, *, seed: int, with_branch: bool) -> tuple[Predict, SliceReport]:
    """What predicts the gaps of a slice, in its own units, and how it was chosen."""
    held_out = hold_out(measured)
    if held_out is None:
        # No line can be spared to judge by: the expert for faint gaps alone.
        _, faint = self_calibrated(measured, first_fit(measured), n_rounds=N_ROUNDS, seed=seed)
        return faint.predict, SliceReport(chosen=LINEAR)
    return _cross_validated(measured, held_out, seed, with_branch)


def _cross_validated(
    measured: MeasuredSlice, held_out: HeldOutLines, seed: int, with_branch: bool
) -> tuple[Predict, SliceReport]:
    """The candidate that held-out lines recommend."""
    grappa = first_fit(held_out.measured)
    trial_bright, trial_faint = self_calibrated(held_out.measured, grappa, n_rounds=N_ROUNDS - 1, seed=seed)
    threshold = best_threshold(
        magnitude(held_out.sources).flatten(),
        held_out.errors(trial_bright.predict),
        held_out.errors(trial_faint.predict),
    )
    trial = Experts(bright=trial_bright.predict, faint=trial_faint.predict, threshold=threshold)
    errors = {PLAIN_GRAPPA: held_out.error(grappa.predict), LINEAR: held_out.error(trial.predict)}
    if errors[LINEAR] > FALL_BACK_BEYOND * errors[PLAIN_GRAPPA]:
        return first_fit(measured).predict, SliceReport(chosen=PLAIN_GRAPPA, held_out_errors=errors)
    # What was found without the held-out lines is a better start than GRAPPA, if it is any good.
    start, n_rounds = (trial_faint, N_LAST_ROUNDS) if errors[LINEAR] < GOOD_START else (first_fit(measured), N_ROUNDS)
    bright, faint = self_calibrated(measured, start, n_rounds=n_rounds, seed=seed + N_ROUNDS)
    experts = Experts(bright=bright.predict, faint=faint.predict, threshold=threshold)
    report = SliceReport(chosen=LINEAR, held_out_errors=errors)
    if not with_branch:
        return experts.predict, report
    levels = noise_levels(measured.kspace, measured.sampling, measured.kernel, measured.sigma)
    n_steps, curve = try_branch(
        trial_faint,
        held_out.measured.examples(),
        levels,
        seed,
        lambda network: held_out.error(replace(trial, faint=network).predict),
    )
    if not n_steps:
        return experts.predict, replace(report, curve=curve)
    network = trained_network(faint, measured.examples(), levels, seed, n_steps)
    errors[WITH_BRANCH] = next(point.validation_loss for point in curve if point.step == n_steps)
    report = SliceReport(chosen=WITH_BRANCH, held_out_errors=errors, curve=curve)
    return replace(experts, faint=network.predict).predict, report


def _maps(filled: SliceKSpace, measured: MeasuredSlice, predict: Predict, scale: float, seed: int) -> UncertaintyMaps:
    # In the units of the fit, where no square leaves the range of float32.
    maps = assess(filled, measured.sampling, measured.kernel, predict, sigma=measured.sigma, seed=seed)
    return UncertaintyMaps(g_factor=maps.g_factor.cpu(), standard_error=maps.standard_error.cpu() * scale)


def _obstacles(sampling: Sampling, n_lines: int, n_ro: int) -> Iterator[str]:
    yield from kernel_obstacle(slice_kernel(n_ro), sampling, n_lines, n_ro)


RAKI = Method(name="raki", label="RAKI", fill=fill_by_raki, obstacles=_obstacles, seconds_a_slice=1.0)
