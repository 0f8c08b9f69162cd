"""Calibrating on the filled k-space: exact where the data are, better where the ACS is short, known lines untouched."""

from dataclasses import replace

import pytest
import torch

from raki.kspace.linear_fit import calibrate
from raki.kspace.patches import Kernel
from raki.kspace.sampling import find_sampling
from raki.kspace.self_calibration import BRIGHT, FAINT, FIRST_RIDGE, MeasuredSlice, first_fit, self_calibrated
from raki.phantom.phantom import phantom_kspace
from tests.kspace.test_linear_fit import few_waves

ACCELERATION, N_PE = 3, 60
KERNEL = Kernel(n_pe=2, n_ro=5)


def complex_noise(shape, number=0):
    return torch.randn(shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(number))


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
        kernel=KERNEL,
        sigma=sigma,
    )


def point_objects():
    return few_waves(4, N_PE, 40)


def phantom(sigma=0.002):
    kspace = torch.from_numpy(phantom_kspace(n_slices=1, n_coils=6, matrix=N_PE, seed=0))[0]
    return kspace + sigma * kspace.abs().max() * complex_noise(kspace.shape)


def relative_error(found, full):
    """Without the ends of the readout, where a neighbour is missing, and the lines with no lattice beyond them."""
    inner = (slice(None), slice(0, N_PE - ACCELERATION + 1), slice(2, -2))
    return float((found - full)[inner].norm() / full[inner].norm())


@pytest.mark.parametrize("separate", [False, True])
@pytest.mark.parametrize("expert", [0, 1], ids=["bright", "faint"])
def test_point_objects_stay_recovered(expert, separate):
    full, measured = measured_slice(point_objects(), separate=separate)
    fit = self_calibrated(measured, first_fit(measured), n_rounds=3, seed=0)[expert]
    assert relative_error(measured.filled_by(fit.predict), full) < 0.02


@pytest.mark.parametrize("separate", [False, True])
def test_known_lines_come_back_bit_for_bit_and_the_others_are_filled(separate):
    full, measured = measured_slice(phantom(), separate=separate)
    fit = first_fit(measured)
    _, faint = self_calibrated(measured, fit, n_rounds=1, seed=0)
    filled = measured.filled_by(faint.predict)
    assert torch.equal(filled[:, measured.known], full[:, measured.known])
    assert (filled[:, ~measured.known].abs().sum(dim=(0, 2)) > 0).all()


def test_a_known_line_is_kept_only_while_it_is_known():
    full, measured = measured_slice(phantom())
    first, _ = measured.sampling.acs_lines
    forgotten = measured.known.clone()
    forgotten[first + 1] = False
    filled = replace(measured, known=forgotten).filled_by(first_fit(measured).predict)
    assert not torch.equal(filled[:, first + 1], full[:, first + 1])
    assert torch.equal(filled[:, forgotten], full[:, forgotten])


@pytest.mark.parametrize("separate", [False, True])
def test_more_accurate_than_its_start_where_the_acs_is_short(separate):
    clean = phantom(sigma=0.0)
    peak = phantom().abs().max()
    _, measured = measured_slice(phantom(), sigma=0.002, n_acs_lines=7, separate=separate)
    start = first_fit(measured)
    _, faint = self_calibrated(measured, start, n_rounds=4, seed=0)
    by_start, by_faint = (relative_error(measured.filled_by(fit.predict), clean / peak) for fit in (start, faint))
    assert by_faint < 0.9 * by_start


def test_the_seed_chooses_the_examples_and_nothing_else():
    _, measured = measured_slice(phantom())
    start = first_fit(measured)
    calibrated = (self_calibrated(measured, start, n_rounds=2, seed=seed) for seed in (0, 0, 7))
    for fits in zip(*calibrated, strict=True):
        fills = [measured.filled_by(fit.predict) for fit in fits]
        assert torch.equal(fills[0], fills[1])
        assert relative_error(fills[2], fills[0]) < 0.2


def test_a_separate_acs_is_among_the_examples():
    """Where the lattice holds nothing, all there is to learn from is the separate ACS."""
    full, measured = measured_slice(point_objects(), separate=True)
    dark = replace(measured, kspace=torch.zeros_like(full))
    start = first_fit(dark)
    _, faint = self_calibrated(dark, start, n_rounds=2, seed=0)
    assert relative_error(measured.filled_by(faint.predict), full) < 0.05


@pytest.mark.parametrize(("expert", "weighting"), [(0, BRIGHT), (1, FAINT)])
def test_rows_as_faint_as_the_noise_count_no_more_than_noise(monkeypatch, expert, weighting):
    """A row weighs by one over its magnitude; the noise keeps rows of nothing else from weighing as the object does."""
    _, measured = measured_slice(phantom(), sigma=0.05)
    weighed = []

    def watched(examples, **settings):
        weighed.append(settings["row_floor"])
        return calibrate(examples, **settings)

    monkeypatch.setattr("raki.kspace.self_calibration.calibrate", watched)
    start = calibrate(measured.examples(), ridge=FIRST_RIDGE)
    self_calibrated(measured, start, n_rounds=1, seed=0)
    # The faint expert is fitted in each round, the bright one once, after them.
    assert weighed[1 - expert] == pytest.approx(0.05 + weighting.row_floor)
