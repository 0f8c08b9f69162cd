"""The difference of two images is magnified as far as it fits, by the factor that stands beside it."""

import dataclasses
import itertools
from base64 import b64decode
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from raki.results.display import View
from raki.results.pictures import Shown, difference_factor, images_shown, pictures, spread, windows_of
from raki.scan import Frame
from tests.results.example_reconstruction import example_reconstruction

AXIAL = View(
    plane="axial",
    is_transposed=False,
    rows_reversed=False,
    columns_reversed=False,
    right=(1.0, 0.0, 0.0),
    down=(0.0, 1.0, 0.0),
)
SHOWN = Shown(frame=0, slice=0, index=0, name="slice 1", view=AXIAL, aspect=1.0)


def flat(value):
    return np.full((1, 8, 8), value, np.float32)


@pytest.mark.parametrize(
    ("difference", "factor"),
    [(0.0, 50), (0.019, 50), (0.021, 20), (0.06, 10), (0.15, 5), (0.3, 2), (0.6, 1), (3.0, 1)],
)
def test_a_difference_is_magnified_as_far_as_it_fits_the_window(difference, factor):
    for other in (1 + difference, 1 - difference):
        windows = windows_of({"GRAPPA": flat(other), "RAKI": flat(1)}, {})
        assert windows.change == pytest.approx(difference, abs=1e-6)
        assert difference_factor(windows.change, 1.0) == factor


def test_the_picture_is_as_bright_as_the_factor_beside_it_says():
    images = {"GRAPPA": flat(0.94), "RAKI": flat(1)}
    *_, change = pictures(images, SHOWN, windows_of(images, {}))
    assert change.label == "|RAKI \N{MINUS SIGN} GRAPPA| ×\N{NO-BREAK SPACE}10"  # noqa: RUF001 -- typeset
    pixels = np.asarray(Image.open(BytesIO(b64decode(change.uri.partition(",")[2]))))
    np.testing.assert_allclose(pixels, 10 * 0.06 * 255, atol=1)


def test_a_single_image_has_no_difference():
    assert [picture.label for picture in pictures({"RAKI": flat(1)}, SHOWN, windows_of({"RAKI": flat(1)}, {}))] == [
        "RAKI"
    ]


@given(n_frames=st.integers(1, 300), n_slices=st.integers(1, 300), at_most=st.integers(24, 5000))
def test_of_many_frames_and_slices_some_of_both_are_shown(n_frames, n_slices, at_most):
    frames, slices = spread(n_frames, n_slices, at_most)
    assert len(frames) * len(slices) <= at_most
    assert min(n_frames, 6) <= len(frames)
    assert min(n_slices, 4) <= len(slices)
    if n_frames * n_slices <= at_most:
        assert (frames, slices) == (list(range(n_frames)), list(range(n_slices)))


def test_images_are_counted_slice_by_slice_frame_by_frame():
    frames = tuple(Frame(repetition=repetition) for repetition in range(30))
    scan = dataclasses.replace(example_reconstruction().scan, frames=frames, n_slices=40)
    shown = images_shown(scan, 200)
    chosen_frames, slices = spread(30, 40, 200)
    assert [(one.frame, one.slice) for one in shown] == list(itertools.product(chosen_frames, slices))
    assert [one.index for one in shown] == [one.frame * 40 + one.slice for one in shown]
    assert shown[0].name == "repetition 1, slice 1"
