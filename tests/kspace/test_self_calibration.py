"""Calibrating on the filled k-space: exact where the data are, better where the ACS is short, known lines untouched."""

from dataclasses import replace

import pytest
import torch

from raki.kspace import self_calibration
from raki.kspace.grappa import calibrated_grappa
from raki.kspace.linear_fit import calibrate
from raki.kspace.self_calibration import (
    EXAMPLES_PER_FEATURE,
    FEW_COILS,
    N_ROUNDS,
    ROW_FLOOR,
    self_calibrated,
    self_calibrating_kernel,
)
from tests.kspace.simulated_slices import complex_noise, few_waves, full_slice, undersampled

ACCELERATION, N_PE = 3, 61  # so that the lattice runs from border to border


def point_objects():
    full = few_waves(4, N_PE, 40)
    return full / full.abs().max()


def noisy_head(sigma=0.002):
    full = full_slice(matrix=N_PE - 1, snr=1e4)
    return full + sigma * complex_noise(full.shape)


def started(measured):
    return calibrated_grappa(measured.acs, measured.sampling.gap)


def self_made(measured, *, n_lines=None, seed=0):
    """From GRAPPA, with the kernel that is chosen for the slice or one of so many lines."""
    kernel = self_calibrating_kernel(measured)
    kernel = kernel if n_lines is None else replace(kernel, n_pe=n_lines)
    return self_calibrated(measured, started(measured), kernel, seed=seed)


def relative_error(found, full):
    """Without the ends of the readout, where a neighbour is missing, and the last lines, where those beyond are."""
    inner = (slice(None), slice(0, N_PE - ACCELERATION), slice(4, -4))
    return float((found - full)[inner].norm() / full[inner].norm())


@pytest.mark.parametrize("separate", [False, True])
@pytest.mark.parametrize("n_lines", [2, 4])
def test_point_objects_stay_recovered(separate, n_lines):
    full = point_objects()
    measured = undersampled(full, ACCELERATION, sigma=0.0, separate=separate)
    filling = self_made(measured, n_lines=n_lines)
    assert relative_error(filling.filled(measured), full) < 0.02


@pytest.mark.parametrize("separate", [False, True])
def test_more_accurate_than_its_start_where_the_acs_is_short(separate):
    measured = undersampled(noisy_head(), ACCELERATION, 7, sigma=0.002, separate=separate)
    clean = noisy_head(sigma=0.0)
    found, start = (relative_error(make(measured).filled(measured), clean) for make in (self_made, started))
    assert found < 0.9 * start


def test_the_seed_chooses_the_examples_and_nothing_else():
    measured = undersampled(noisy_head(), ACCELERATION, sigma=0.002)
    first, again, other = (self_made(measured, seed=seed) for seed in (0, 0, 7))
    assert torch.equal(first.fit.coefficients, again.fit.coefficients)
    assert not torch.equal(first.fit.coefficients, other.fit.coefficients)
    assert relative_error(other.filled(measured), first.filled(measured)) < 0.2


def test_a_separate_acs_is_among_the_examples():
    """Where the lattice holds nothing, all there is to learn from is the separate ACS."""
    full = point_objects()
    measured = undersampled(full, ACCELERATION, sigma=0.0, separate=True)
    dark = replace(measured, kspace=torch.zeros_like(full))
    assert relative_error(self_made(dark).filled(measured), full) < 0.05


def test_a_separate_acs_too_short_for_the_kernel_is_left_out():
    measured = undersampled(point_objects(), ACCELERATION, 4, sigma=0.0, separate=True)
    filling = self_made(measured)
    assert filling.kernel.n_lines_needed(ACCELERATION) > measured.acs.shape[-2]
    assert torch.isfinite(filling.filled(measured)).all()


def test_rows_as_faint_as_the_noise_count_no_more_than_noise(monkeypatch):
    """A row weighs by one over its magnitude; the noise keeps rows of nothing else from weighing as the object does."""
    measured = undersampled(noisy_head(), ACCELERATION, sigma=0.05)
    floors, sizes = [], []

    def watched(examples, *, ridge, row_floor):
        floors.append(row_floor)
        sizes.append(examples.sources.shape)
        return calibrate(examples, ridge=ridge, row_floor=row_floor)

    monkeypatch.setattr(self_calibration, "calibrate", watched)
    self_made(measured)
    assert floors == [pytest.approx(0.05 + ROW_FLOOR)] * N_ROUNDS
    # A fixed number of examples for each unknown, as far as there are places.
    n_features = 6 * 4 * 7
    assert set(sizes) == {(EXAMPLES_PER_FEATURE * n_features, n_features)}


@pytest.mark.parametrize(
    ("n_coils", "matrix", "n_lines"), [(FEW_COILS, 120, 4), (FEW_COILS + 1, 120, 2), (4, 48, 4), (FEW_COILS, 48, 2)]
)
def test_few_coils_get_four_lines_where_there_are_places_enough(n_coils, matrix, n_lines):
    measured = undersampled(complex_noise((n_coils, matrix, matrix)), 2, sigma=1.0)
    assert self_calibrating_kernel(measured).n_pe == n_lines


@pytest.mark.parametrize("acceleration", [2, 3, 5])
def test_a_slice_of_few_lines_has_a_filling_too(acceleration):
    n_pe = 3 * acceleration + 2
    measured = undersampled(complex_noise((2, n_pe, 12)), acceleration, acceleration + 1, sigma=1.0)
    assert torch.isfinite(self_made(measured).filled(measured)).all()
