"""Mistakes on acquired lines: none where the data are exact, and those of noise tell how strong the noise is."""

import pytest
import torch

from raki.kspace.grappa import calibrated_grappa
from raki.kspace.mistakes import mistakes, noise_to_explain_mistakes, relative_mistakes, white_noise
from raki.kspace.self_calibration import self_calibrated
from tests.kspace.slices import complex_noise, head, undersampled
from tests.kspace.test_linear_fit import few_waves

SIGMA = 0.004


def noisy_slice(*, told, acceleration=3):
    full = head() + SIGMA * complex_noise(head().shape)
    measured = undersampled(full, acceleration=acceleration, n_acs_lines=20, sigma=told)
    filling = self_calibrated(measured, calibrated_grappa(measured.acs, acceleration), seed=0)
    return measured, filling


@pytest.mark.parametrize("acceleration", [2, 3, 5])
def test_exact_data_are_predicted_without_mistakes(acceleration):
    full = few_waves(4, 60, 40)
    full = full / full.abs().max()
    measured = undersampled(full, acceleration=acceleration, n_acs_lines=16, sigma=0.0)
    filling = calibrated_grappa(measured.acs, acceleration)
    wrong = mistakes(full, measured.sampling, filling)
    assert wrong[..., 4:-4].abs().max() < 0.02
    # Neither the ACS nor a line that was not acquired is judged.
    first, stop = measured.sampling.acs_lines
    assert not wrong[:, first:stop].any()
    assert not wrong[:, ~measured.known].any()


def test_a_filling_that_is_wrong_far_from_the_acs_is_seen():
    measured, filling = noisy_slice(told=SIGMA)
    filled = filling.filled(measured)
    spoiled = filled.clone()
    spoiled[:, :12][:, ~measured.known[:12]] *= -1
    before, after = (relative_mistakes(each, measured.sampling, filling) for each in (filled, spoiled))
    assert after > 2 * before


@pytest.mark.parametrize("acceleration", [2, 4])
@pytest.mark.parametrize("told", [0.0, SIGMA / 2, 2 * SIGMA])
def test_the_noise_is_found_whatever_was_told_of_it(told, acceleration):
    measured, filling = noisy_slice(told=told, acceleration=acceleration)
    found = noise_to_explain_mistakes(measured, filling.filled(measured), filling, seed=0)
    assert found == pytest.approx(SIGMA, rel=0.25)


def test_noise_is_put_on_acquired_lines_alone():
    measured, _ = noisy_slice(told=SIGMA)
    noise = white_noise(measured, 2.0, torch.Generator().manual_seed(0))
    assert not noise[:, ~measured.known].any()
    assert float(noise[:, measured.known].abs().square().mean().sqrt()) == pytest.approx(2.0, rel=0.05)
