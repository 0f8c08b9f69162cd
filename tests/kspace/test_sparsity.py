"""The transform loses nothing, and the threshold takes noise and leaves what is clear of it."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from raki.kspace.sparsity import N_LEVELS, UNTOUCHED_ABOVE, firm_gain, haar, inverse_haar, shrunk
from tests.kspace.simulated_slices import complex_noise

SHAPE = (64, 48)
NO_PHASE = torch.ones(SHAPE, dtype=torch.complex64)


@settings(max_examples=40)
@given(st.integers(1, 20), st.integers(1, 20), st.integers(1, 4), st.integers(0, 9))
def test_an_image_of_any_size_comes_back(n_rows, n_columns, n_levels, number):
    parts = torch.view_as_real(complex_noise((n_rows, n_columns), number)).movedim(-1, 0)
    details, rest = haar(parts, n_levels)
    torch.testing.assert_close(inverse_haar(details, rest), parts, rtol=0, atol=1e-5)


@given(st.integers(0, 63), st.integers(0, 47))
@settings(max_examples=10)
def test_moving_the_image_moves_every_detail(rows, columns):
    parts = torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(0))
    moved, rest = haar(parts.roll((rows, columns), (-2, -1)), N_LEVELS)
    for detail, expected in zip([*moved, rest], [*haar(parts, N_LEVELS)[0], haar(parts, N_LEVELS)[1]], strict=True):
        torch.testing.assert_close(detail, expected.roll((rows, columns), (-2, -1)))


def test_white_noise_has_half_the_level_in_the_details_of_each_coarser_scale():
    parts = 3 * torch.randn(2, 256, 256, generator=torch.Generator().manual_seed(0))
    details, rest = haar(parts, N_LEVELS)
    for level, detail in enumerate(details):
        for orientation in detail:
            assert float(orientation.square().mean().sqrt()) == pytest.approx(3 / 2 ** (level + 1), rel=0.05)
    assert float(rest.square().mean().sqrt()) == pytest.approx(3 / 2**N_LEVELS, rel=0.1)


def test_a_flat_image_has_no_details():
    details, rest = haar(torch.full((2, *SHAPE), 7.0), N_LEVELS)
    assert not any(detail.any() for detail in details)
    assert (rest == 7).all()


@given(st.floats(0, 1e4), st.floats(0, 1e4), st.floats(1e-3, 1e2))
def test_the_gain_is_0_up_to_the_threshold_1_far_above_it_and_rises_between(size, other, threshold):
    low, high = sorted((size, other))
    of_low, of_high, at = firm_gain(torch.tensor([low, high, threshold]), torch.tensor(threshold)).tolist()
    assert 0 <= of_low <= of_high <= 1
    assert at == pytest.approx(0, abs=1e-6)
    assert low > threshold or of_low == pytest.approx(0, abs=1e-6)
    assert high < UNTOUCHED_ABOVE * threshold or of_high == pytest.approx(1)


def test_a_size_between_is_mapped_linearly():
    sizes = torch.linspace(1, UNTOUCHED_ABOVE, 12)
    mapped = sizes * firm_gain(sizes, torch.tensor(1.0))
    torch.testing.assert_close(mapped.diff(), mapped.diff()[:1].expand(11))
    assert float(mapped[-1]) == pytest.approx(UNTOUCHED_ABOVE)


def test_without_a_threshold_the_image_stays():
    image = complex_noise(SHAPE)
    torch.testing.assert_close(shrunk(image, 0.0, NO_PHASE), image)


def test_noise_goes_and_a_strong_point_stays():
    noise, point = complex_noise(SHAPE) / 2**0.5, torch.zeros(SHAPE, dtype=torch.complex64)  # 1/2 in each part
    point[20, 30] = 100
    kept = shrunk(noise + point, 2.0, NO_PHASE)
    # What is coarser than the coarsest detail stays: 2^-N_LEVELS of white noise.
    assert float(shrunk(noise, 2.0, NO_PHASE).abs().square().mean().sqrt()) < 1.2 * 2**-N_LEVELS
    assert float(kept[20, 30].real) == pytest.approx(100, abs=2)
    far = (torch.arange(SHAPE[0]) - 20).abs() > 2**N_LEVELS + 1
    assert float(kept[far].abs().square().mean().sqrt()) < 1.2 * 2**-N_LEVELS


@pytest.mark.parametrize("turn", [1j, -1.0])
def test_the_phase_is_that_of_the_object_whatever_it_is(turn):
    """Detail out of phase with the object has to be stronger to stay."""
    image = complex_noise(SHAPE)
    expected = shrunk(image, 1.0, NO_PHASE)
    torch.testing.assert_close(shrunk(turn * image, 1.0, turn * NO_PHASE), turn * expected)
    real = image.real + 0j
    in_phase, out_of_phase = (shrunk(real, 1.0, phase * NO_PHASE).abs().square().mean() for phase in (1, 1j))
    assert float(in_phase) > 1.2 * float(out_of_phase)


def test_rows_and_columns_are_treated_alike():
    image = complex_noise((32, 32))
    phase = torch.ones(32, 32, dtype=torch.complex64)
    torch.testing.assert_close(shrunk(image.mT.contiguous(), 1.0, phase), shrunk(image, 1.0, phase).mT)


@pytest.mark.parametrize("scale", [2.0**10, 2.0**-20])
def test_a_brighter_image_under_a_threshold_as_much_higher_is_the_same(scale):
    image = complex_noise(SHAPE)
    torch.testing.assert_close(shrunk(scale * image, scale, NO_PHASE) / scale, shrunk(image, 1.0, NO_PHASE))
