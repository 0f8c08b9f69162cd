"""A product in each column says the same as the gathered patches."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from raki.kspace import convolution
from raki.kspace.convolution import fill_linearly
from raki.kspace.patches import Kernel, interpolate
from raki.kspace.sampling import find_sampling
from raki.scan import lattice_and_acs
from tests.kspace.simulated_slices import complex_noise


def a_slice(n_coils, n_pe, n_ro, acceleration, offset):
    lattice, acs = lattice_and_acs(n_pe, acceleration, 8, offset=offset % acceleration)
    sampled = torch.from_numpy(lattice | acs)
    return torch.where(sampled[:, None], complex_noise((n_coils, n_pe, n_ro), 0), 0), find_sampling(sampled)


def coefficients_for(kernel, n_coils, acceleration):
    return complex_noise((n_coils * kernel.n_pe * kernel.n_ro, n_coils * (acceleration - 1)), 1)


@settings(max_examples=40)
@given(
    st.integers(1, 5),
    st.integers(16, 50),
    st.integers(1, 40),
    st.integers(2, 5),
    st.integers(0, 4),
    st.sampled_from([(2, 1), (2, 7), (4, 5)]),
)
def test_columns_and_patches_agree(n_coils, n_pe, n_ro, acceleration, offset, size):
    kspace, sampling = a_slice(n_coils, n_pe, n_ro, acceleration, offset)
    kernel = Kernel(n_pe=size[0], n_ro=size[1])
    coefficients = coefficients_for(kernel, n_coils, acceleration)
    by_patches = interpolate(kspace, sampling, kernel, lambda sources: sources @ coefficients)
    torch.testing.assert_close(fill_linearly(kspace, sampling, kernel, coefficients), by_patches, rtol=1e-4, atol=1e-3)


def test_a_few_columns_at_a_time_are_the_same(monkeypatch):
    kspace, sampling = a_slice(3, 32, 20, 3, 0)
    kernel = Kernel(n_pe=2, n_ro=5)
    coefficients = coefficients_for(kernel, 3, 3)
    together = fill_linearly(kspace, sampling, kernel, coefficients)
    monkeypatch.setattr(convolution, "WEIGHTS_AT_ONCE", 4 * 36)
    torch.testing.assert_close(fill_linearly(kspace, sampling, kernel, coefficients), together)


def test_what_has_no_source_but_zeros_stays_exactly_zero():
    """Samples that a partial echo lacks: rounding mustn't make something of them."""
    kspace, sampling = a_slice(3, 32, 40, 2, 0)
    kspace[..., :12] = 0
    kernel = Kernel(n_pe=2, n_ro=5)
    filled = fill_linearly(kspace, sampling, kernel, coefficients_for(kernel, 3, 2))
    assert not filled[..., : 12 - 2].any()
    assert filled[:, sampling.gaps()[0] + 1, 10:].all()
