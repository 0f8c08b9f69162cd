"""Acquired lines predicted from filled ones: exact data are predicted, and noise shows as what it is."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from raki.kspace.grappa import calibrated_grappa
from raki.kspace.mistakes import mistakes, noise_to_explain_mistakes, relative_mistakes, white_noise
from tests.kspace.simulated_slices import complex_noise, few_waves, full_slice, undersampled

INNER = slice(4, -4)  # at the ends of the readout a neighbour is missing


@settings(max_examples=10)
@given(st.integers(2, 5), st.integers(0, 20))
def test_exact_data_are_predicted_from_what_was_filled(acceleration, number):
    """The lattice runs from border to border, so that every gap has neighbours on both sides."""
    full = few_waves(4, 12 * acceleration + 1, 40, number=number)
    measured = undersampled(full / full.abs().max(), acceleration, sigma=0.0)
    filling = calibrated_grappa(measured.acs, acceleration)
    found = mistakes(filling.filled(measured), measured.sampling, filling)
    assert float(found[:, :, INNER].norm()) < 0.03 * float(measured.kspace[:, :, INNER].norm())


@given(st.integers(2, 5), st.integers(0, 4))
@settings(max_examples=8)
def test_only_acquired_lines_outside_the_acs_with_neighbours_on_both_sides_are_judged(acceleration, offset):
    measured = undersampled(complex_noise((2, 60, 20)), acceleration, offset=offset % acceleration, sigma=1.0)
    filling = calibrated_grappa(measured.acs, acceleration)
    found = mistakes(filling.filled(measured), measured.sampling, filling).abs().sum(dim=(0, 2)).nonzero().flatten()
    judged, acs = set(found.tolist()), set(range(*measured.sampling.acs_lines))
    lattice = set(measured.sampling.lattice_lines())
    assert judged <= lattice - acs
    # The lattice half a gap farther begins, or ends, beyond one of them on either side.
    assert len(judged) >= len(lattice - acs) - 2


def test_a_filling_that_leaves_gaps_empty_predicts_nothing():
    measured = undersampled(full_slice(), 2)
    filling = calibrated_grappa(measured.acs, 2)
    empty = replace(filling, fit=replace(filling.fit, weights=0 * filling.fit.weights))
    assert relative_mistakes(empty.filled(measured), measured.sampling, empty) == pytest.approx(1, rel=0.1)
    assert relative_mistakes(filling.filled(measured), measured.sampling, filling) < 0.3


@pytest.mark.parametrize("believed", [0.0, 0.5, 1.0, 2.0])
@pytest.mark.parametrize(("name", "acceleration"), [("head", 2), ("vessels", 3)])
def test_noise_is_found_whatever_it_is_believed_to_be(name, acceleration, believed):
    sigma = 0.01
    clean = full_slice(name, n_coils=8, matrix=64, snr=1e4)
    measured = undersampled(clean + sigma * complex_noise(clean.shape), acceleration, 20, sigma=believed * sigma)
    filling = calibrated_grappa(measured.acs, acceleration)
    found = noise_to_explain_mistakes(measured, filling.filled(measured), filling, seed=0)
    assert found == pytest.approx(sigma, rel=0.2)


def test_where_no_line_can_be_predicted_the_noise_is_what_it_was_believed_to_be():
    """Outside the ACS there is line 0 alone, which has no filled line before it."""
    measured = undersampled(complex_noise((2, 22, 12)), 2, 18, sigma=0.125)
    filling = calibrated_grappa(measured.acs, 2)
    filled = filling.filled(measured)
    assert noise_to_explain_mistakes(measured, filled, filling, seed=0) == 0.125
    assert relative_mistakes(filled, measured.sampling, filling) is None


def test_white_noise_is_on_acquired_lines_alone():
    measured = undersampled(complex_noise((4, 60, 40)), 3, sigma=1.0)
    noise = white_noise(measured, 0.5, torch.Generator().manual_seed(0))
    assert not noise[:, ~measured.known[:, 0]].any()
    assert float(noise[:, measured.known[:, 0]].abs().square().mean()) == pytest.approx(0.25, rel=0.05)
    assert torch.equal(noise, white_noise(measured, 0.5, torch.Generator().manual_seed(0)))


def test_nothing_can_be_predicted_of_a_slice_without_signal():
    measured = undersampled(complex_noise((2, 60, 20)), 2, sigma=0.0)
    filling = calibrated_grappa(measured.acs, 2)
    assert relative_mistakes(torch.zeros_like(measured.kspace), measured.sampling, filling) is None
