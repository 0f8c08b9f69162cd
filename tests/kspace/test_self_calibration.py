"""Calibrating on the filled k-space: exact where the data are, better where the ACS is short, known lines untouched."""

from dataclasses import replace

import pytest
import torch

from raki.kspace.grappa import calibrated_grappa
from raki.kspace.linear_fit import calibrate
from raki.kspace.measured import MeasuredSlice
from raki.kspace.sampling import find_sampling
from raki.kspace.self_calibration import (
    FEW_COILS,
    N_ROUNDS,
    N_WIDE_LINES,
    ROW_FLOOR,
    self_calibrated,
    self_calibrating_kernel,
)
from raki.phantom.phantom import phantom_kspace
from tests.kspace.slices import complex_noise
from tests.kspace.test_linear_fit import few_waves

ACCELERATION, N_PE = 3, 60


def measured_slice(full, *, sigma=0.0, n_acs_lines=13, separate=False):
    """`full` undersampled, with an ACS inside or of its own, in units of its peak."""
    full = full / full.abs().max()
    sampled = torch.arange(N_PE) % ACCELERATION == 0
    first = N_PE // 2 - n_acs_lines // 2
    if not separate:
        sampled[first : first + n_acs_lines] = True
    sampling = find_sampling(sampled)
    first, stop = sampling.acs_lines or (first, first + n_acs_lines)
    return full, MeasuredSlice(
        kspace=torch.where(sampled[:, None], full, 0),
        acs=full[:, first:stop],
        known=sampled,
        acs_inside=not separate,
        sampling=sampling,
        sigma=sigma,
    )


def point_objects(n_coils=4):
    return few_waves(n_coils, N_PE, 60)


def noisy_head(sigma=0.002):
    full = full_slice(matrix=N_PE - 1, snr=1e4)
    return full + sigma * complex_noise(full.shape)


def started(measured):
    return calibrated_grappa(measured.acs, measured.sampling.acceleration)


def calibrated(measured, *, seed=0):
    return self_calibrated(measured, calibrated_grappa(measured.acs, ACCELERATION), seed=seed)


def relative_error(found, full):
    """Without the ends of the readout, where a neighbour is missing, and the lines with no lattice beyond them."""
    inner = (slice(None), slice(2 * ACCELERATION, N_PE - 2 * ACCELERATION), slice(4, -4))
    return float((found - full)[inner].norm() / full[inner].norm())


@pytest.mark.parametrize("separate", [False, True])
def test_point_objects_stay_recovered(separate):
    full, measured = measured_slice(point_objects(), separate=separate)
    assert relative_error(calibrated(measured).filled(measured), full) < 0.02


@pytest.mark.parametrize("separate", [False, True])
def test_known_lines_come_back_bit_for_bit_and_the_others_are_filled(separate):
    full, measured = measured_slice(phantom(), separate=separate)
    filled = calibrated(measured).filled(measured)
    assert torch.equal(filled[:, measured.known], full[:, measured.known])
    assert (filled[:, ~measured.known].abs().sum(dim=(0, 2)) > 0).all()


@pytest.mark.parametrize("separate", [False, True])
def test_more_accurate_than_its_start_where_the_acs_is_short(separate):
    clean = phantom(sigma=0.0)
    peak = phantom().abs().max()
    _, measured = measured_slice(phantom(), sigma=0.002, n_acs_lines=7, separate=separate)
    start = calibrated_grappa(measured.acs, ACCELERATION)
    by_start, by_itself = (
        relative_error(filling.filled(measured), clean / peak)
        for filling in (start, self_calibrated(measured, start, seed=0))
    )
    assert by_itself < 0.9 * by_start


def test_the_seed_chooses_the_examples_and_nothing_else():
    _, measured = measured_slice(phantom())
    fills = [calibrated(measured, seed=seed).filled(measured) for seed in (0, 0, 7)]
    assert torch.equal(fills[0], fills[1])
    assert 0 < relative_error(fills[2], fills[0]) < 0.2


def test_a_separate_acs_is_among_the_examples():
    """Where the lattice holds nothing, all there is to learn from is the separate ACS."""
    full = point_objects()
    measured = undersampled(full, ACCELERATION, sigma=0.0, separate=True)
    dark = replace(measured, kspace=torch.zeros_like(full))
    assert relative_error(calibrated(dark).filled(measured), full) < 0.05


def test_rows_as_faint_as_the_noise_count_no_more_than_noise(monkeypatch):
    """A row weighs by one over its magnitude; the noise keeps rows of nothing else from weighing as the object does."""
    _, measured = measured_slice(phantom(), sigma=0.05)
    start = calibrated_grappa(measured.acs, ACCELERATION)
    weighed = []

    def watched(examples, *, ridge, row_floor):
        floors.append(row_floor)
        sizes.append(examples.sources.shape)
        return calibrate(examples, ridge=ridge, row_floor=row_floor)

    monkeypatch.setattr("raki.kspace.self_calibration.calibrate", watched)
    self_calibrated(measured, start, seed=0)
    assert weighed == N_ROUNDS * [pytest.approx(0.05 + ROW_FLOOR)]


@pytest.mark.parametrize(("n_coils", "n_lines"), [(4, N_WIDE_LINES), (FEW_COILS + 1, 2)])
def test_few_coils_are_calibrated_with_a_kernel_of_more_lines(n_coils, n_lines):
    _, measured = measured_slice(point_objects(n_coils))
    assert self_calibrating_kernel(measured).n_pe == n_lines
    assert calibrated(measured).kernel.n_pe == n_lines


def test_a_slice_too_small_for_the_wide_kernel_gets_the_narrow_one():
    full, measured = measured_slice(point_objects(8)[:, :, :20])
    assert self_calibrating_kernel(measured).n_pe == 2
    assert torch.equal(calibrated(measured).filled(measured)[:, measured.known], full[:, measured.known])
