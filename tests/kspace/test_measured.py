"""A slice as it was acquired: which lines are known, in which units, with how much noise."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from raki.kspace.measured import measured_slice, unit_scale
from raki.kspace.sampling import find_sampling
from raki.planning import slice_kernel
from tests.kspace.simulated_slices import CPU, acquired, complex_noise, few_waves, undersampled


@given(st.integers(2, 6), st.integers(0, 5), st.integers(2, 20))
def test_known_lines_are_the_acquired_ones_and_come_back_bit_for_bit(acceleration, offset, n_acs_lines):
    full = complex_noise((2, 40, 6))
    offset %= acceleration
    measured = undersampled(full, acceleration, n_acs_lines, offset=offset, sigma=0.1)
    sampled = acquired(40, acceleration, n_acs_lines, offset=offset)
    assert torch.equal(measured.known[:, 0], sampled)
    assert measured.acs_inside
    other = complex_noise(full.shape, 1)
    assert torch.equal(measured.keeping_known(other), torch.where(sampled[:, None], full, other))


def test_an_acs_is_inside_only_if_it_is_these_very_lines():
    full = complex_noise((2, 40, 6))
    inside = undersampled(full, 2, 10, sigma=0.1)
    assert not undersampled(full, 2, 10, sigma=0.1, separate=True).acs_inside

    def with_acs(acs):
        return measured_slice(inside.kspace, acs, inside.sampling, sigma=0.1, device=CPU).acs_inside

    assert with_acs(inside.acs.clone())
    assert not with_acs(inside.acs * 1.001)
    assert not with_acs(inside.acs[:, 1:])


@given(st.floats(1e-30, 1e30))
def test_the_unit_is_a_power_of_two_that_leaves_a_peak_from_1_to_2(peak):
    acs = torch.zeros(2, 3, 4, dtype=torch.complex64)
    acs[1, 2, 3] = peak * 1j
    scale = unit_scale(acs)
    assert math.frexp(scale)[0] == 0.5
    assert 1 <= float((acs / scale).abs().max()) < 2


def test_a_dark_acs_has_a_unit_too():
    assert unit_scale(torch.zeros(2, 3, 4, dtype=torch.complex64)) == 1.0


def test_the_noise_is_what_is_given_else_what_the_acs_tells():
    full = few_waves(4, 40, 40) + 0.05 * complex_noise((4, 40, 40))
    assert undersampled(full, 2, 20, sigma=0.3).sigma == 0.3
    assert undersampled(full, 2, 20).sigma == pytest.approx(0.05, rel=0.2)


@given(st.integers(1, 400))
def test_the_kernel_is_odd_along_the_readout_and_no_longer_than_half_of_it_or_one_sample(n_ro):
    kernel = slice_kernel(n_ro)
    assert kernel.n_ro % 2 == 1
    assert kernel.n_ro <= max(1, n_ro / 2 + 1)
    assert kernel.n_ro == 7 or n_ro < 12


def test_a_slice_without_an_acs_inside_knows_its_lattice_alone():
    sampled = torch.arange(40) % 4 == 1
    acs = complex_noise((2, 8, 6))
    measured = measured_slice(
        torch.where(sampled[:, None], complex_noise((2, 40, 6)), 0), acs, find_sampling(sampled), sigma=0.1, device=CPU
    )
    assert torch.equal(measured.known[:, 0], sampled)
