"""Sparsity: a transform that loses nothing, and a threshold that takes noise and leaves what is clear of it."""

import pytest
import torch
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from raki.kspace.sparsity import N_LEVELS, UNTOUCHED_ABOVE, firm_gain, haar, inverse_haar, shrunk
from tests.kspace.slices import complex_noise

SIZES = st.integers(2, 21)


def flat_phase(shape):
    return torch.ones(shape, dtype=torch.complex64)


@seed(0)
@settings(max_examples=25, deadline=None)
@given(SIZES, SIZES, st.integers(1, 4))
def test_the_transform_of_any_size_is_inverted(n_rows, n_columns, n_levels):
    parts = torch.randn(2, n_rows, n_columns, generator=torch.Generator().manual_seed(n_rows))
    torch.testing.assert_close(inverse_haar(*haar(parts, n_levels)), parts)


def test_noise_halves_from_scale_to_scale():
    parts = torch.randn(2, 128, 128, generator=torch.Generator().manual_seed(0))
    details, _ = haar(parts, N_LEVELS)
    for level, detail in enumerate(details):
        assert float(detail.square().mean().sqrt()) == pytest.approx(0.5 ** (level + 1), rel=0.05)


@pytest.mark.parametrize("axis", [0, 1])
def test_an_edge_is_in_the_details_across_it_alone(axis):
    parts = torch.zeros(1, 16, 16)
    parts.narrow(axis + 1, 0, 8)[:] = 1
    (finest, *_), _ = haar(parts, 1)
    high_column, across, diagonal = finest
    assert bool(across.any()) == (axis == 0)
    assert bool(high_column.any()) == (axis == 1)
    assert not diagonal.any()


@seed(0)
@settings(max_examples=50, deadline=None)
@given(st.floats(0, 50), st.floats(0, 50), st.floats(0.01, 3))
def test_the_gain_rises_from_none_to_all(one, other, threshold):
    sizes, limit = torch.tensor(sorted((one, other))), torch.tensor(threshold)
    low, high = firm_gain(sizes, limit)
    assert 0 <= low <= high <= 1
    for size, gain in zip(sizes, (low, high), strict=True):
        if size <= 0.999 * threshold:
            assert gain == 0
        if size >= 1.001 * UNTOUCHED_ABOVE * threshold:
            assert gain == 1


def test_without_a_threshold_nothing_is_taken():
    image = complex_noise((24, 20))
    torch.testing.assert_close(shrunk(image, 0.0, flat_phase(image.shape)), image)


def test_noise_goes_and_what_is_clear_of_it_stays():
    noise = complex_noise((64, 64))
    clear = torch.zeros(64, 64, dtype=torch.complex64)
    clear[20, 30], clear[40:50, 12:30] = 40.0, 30.0
    phase = flat_phase(noise.shape)
    assert shrunk(noise, 2.0, phase).abs().square().mean() < 0.1
    torch.testing.assert_close(shrunk(clear, 0.5, phase), clear, rtol=0, atol=0.05)


def test_the_part_out_of_phase_is_shrunk_more():
    image = complex_noise((64, 64))
    left = shrunk(image, 0.5, flat_phase(image.shape))
    assert left.imag.square().mean() < 0.9 * left.real.square().mean()


def test_a_common_phase_changes_nothing():
    image, turn = complex_noise((32, 24)), torch.exp(torch.tensor(0.7j))
    phase = torch.exp(1j * torch.linspace(0, 2, 24)).expand(32, 24)
    torch.testing.assert_close(shrunk(turn * image, 0.5, turn * phase), turn * shrunk(image, 0.5, phase))


def test_every_shift_is_treated_alike():
    image, phase = complex_noise((16, 16)), flat_phase((16, 16))
    moved = shrunk(image.roll((3, 5), (0, 1)), 0.5, phase)
    torch.testing.assert_close(moved, shrunk(image, 0.5, phase).roll((3, 5), (0, 1)))
