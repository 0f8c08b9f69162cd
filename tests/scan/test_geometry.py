"""An encoded field of view has whole rows or is refused."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raki.scan import Geometry

PLAIN = Geometry(fov_mm=(220.0, 220.0, 4.0), matrix=(64, 64), slice_spacing_mm=4.0)


@given(n_rows=st.integers(1, 2000), n_more=st.integers(0, 2000))
def test_the_encoded_field_of_view_has_whole_rows(n_rows, n_more):
    geometry = replace(PLAIN, matrix=(n_rows, 64), phase_oversampling=(n_rows + n_more) / n_rows)
    assert geometry.encoded_rows == n_rows + n_more


@pytest.mark.parametrize("phase_oversampling", [0.5, 1.01, float("nan")])
def test_a_field_of_view_that_has_not_is_refused(phase_oversampling):
    with pytest.raises(ValueError, match="rows of the image's 64; a whole number"):
        replace(PLAIN, phase_oversampling=phase_oversampling)


def test_a_slice_by_itself_of_unknown_thickness_makes_a_grid():
    first = PLAIN.place_of(0, 1)
    thin = replace(PLAIN, fov_mm=(220.0, 220.0, 0.0), places=(first, first.moved(-7.0)))
    assert [grid.slice_spacing_mm for _, grid in thin.stacks(2)] == [1.0, 1.0]
