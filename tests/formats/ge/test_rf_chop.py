"""The sign that chopping gives to odd lines is taken off, and twice is not at all."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from raki.formats.ge.rf_chop import undo_rf_chop

shapes = st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 5))
seeds = st.integers(0, 2**31)


def lines_and_signs(shape, seed):
    rng = np.random.default_rng(seed)
    lines = rng.standard_normal(shape) + 1j * rng.standard_normal(shape)
    return lines.astype(np.complex64), rng.random(shape[1]) < 0.5


@given(shapes, seeds)
def test_undoing_the_chop_twice_gives_back_the_lines(shape, seed):
    lines, is_odd = lines_and_signs(shape, seed)
    np.testing.assert_array_equal(undo_rf_chop(undo_rf_chop(lines, is_odd), is_odd), lines)


@given(shapes, seeds)
def test_undoing_the_chop_keeps_the_energy_and_every_even_line(shape, seed):
    lines, is_odd = lines_and_signs(shape, seed)
    undone = undo_rf_chop(lines, is_odd)
    np.testing.assert_array_equal(np.abs(undone), np.abs(lines))
    np.testing.assert_array_equal(undone[:, ~is_odd], lines[:, ~is_odd])
    np.testing.assert_array_equal(undone[:, is_odd], -lines[:, is_odd])


@given(st.integers(1, 8), seeds)
def test_the_chop_moves_the_image_by_half_the_field_of_view(half, seed):
    lines, _ = lines_and_signs((1, 2 * half, 3), seed)
    undone = undo_rf_chop(lines, np.arange(2 * half) % 2 == 1)
    moved = np.roll(np.fft.ifft(lines, axis=1), half, axis=1)
    np.testing.assert_allclose(np.fft.ifft(undone, axis=1), moved, atol=1e-5)
