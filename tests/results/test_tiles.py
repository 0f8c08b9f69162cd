"""Tiles hold every image where their sheet says, as finely as a number of bytes allows."""

import io
from base64 import b64decode
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from raki.results.display import view_of
from raki.results.pictures import Shown
from raki.results.tiles import COMPARED_AT_LEAST, Layer, Plan, drawn, plans, sheets
from raki.scan import Geometry, Place

AXIAL = Place(
    position_mm=(0.0, 0.0, 0.0),
    read_direction=(1.0, 0.0, 0.0),
    phase_direction=(0.0, 1.0, 0.0),
    slice_direction=(0.0, 0.0, 1.0),
)
# Phase-encode runs from right to left: on the screen rows become columns.
TURNED = replace(AXIAL, read_direction=(0.0, 1.0, 0.0), phase_direction=(1.0, 0.0, 0.0))


def shown(n, places=(AXIAL,), aspect=1.0):
    geometry = Geometry(fov_mm=(8.0, 8.0, 5.0), matrix=(8, 8), slice_spacing_mm=5.0, places=tuple(places))
    views = [view_of(geometry, index, n) for index in range(n)]
    return [
        Shown(frame=0, slice=index, index=index, name=f"slice {index + 1}", view=view, aspect=aspect)
        for index, view in enumerate(views)
    ]


def layer(volume, **changes):
    return Layer(key="a", label="A", pixels=volume.__getitem__, low=0.0, high=1.0, **changes)


def tiles_of(sheet):
    """Each image by its number, 0 to 1, cut out where the sheet says."""
    picture = np.asarray(Image.open(io.BytesIO(b64decode(sheet.jpeg))), float) / 255
    (width, height), (across, down) = sheet.tile, sheet.cell
    for number, image in enumerate(sheet.images):
        row, column = divmod(number, sheet.n_columns)
        yield image, picture[row * down : row * down + height, column * across : column * across + width]


def wedges(n, n_rows, n_columns):
    """Images that all differ, and are nowhere the same when they are mirrored or transposed."""
    rows, columns = np.mgrid[0 : 1 : n_rows * 1j, 0 : 1 : n_columns * 1j]
    return np.stack([0.2 + 0.5 * index / n + 0.2 * rows + 0.1 * columns for index in range(n)]).astype(np.float32)


FINE = Plan(n_compared=10**6, longest=512, quality=85)


@settings(derandomize=True, deadline=None, max_examples=25)
@given(
    n=st.integers(1, 60),
    n_rows=st.integers(1, 90),
    n_columns=st.integers(1, 90),
    places=st.sampled_from([(AXIAL,), (TURNED,), (AXIAL, TURNED)]),
    aspect=st.floats(0.1, 10),
)
def test_every_image_is_on_one_sheet_where_it_says_as_it_is_shown(n, n_rows, n_columns, places, aspect):
    volume, images = wedges(n, n_rows, n_columns), shown(n, places, aspect)
    found = dict(tile for sheet in sheets(layer(volume), images, range(n), FINE) for tile in tiles_of(sheet))
    assert sorted(found) == list(range(n))
    for image, tile in found.items():
        expected = images[image].view.turned(volume[image])
        assert tile.shape == expected.shape
        np.testing.assert_allclose(tile, expected, atol=0.03)


def test_a_sheet_fits_a_printed_page():
    for aspect in (0.5, 1.0, 2.0):
        for sheet in sheets(layer(wedges(300, 64, 64)), shown(300, aspect=aspect), range(300), FINE):
            assert sheet.aspect >= 1 / 1.3 - 1e-6


def test_pixels_that_are_not_square_are_stretched_with_the_sheet():
    (sheet,) = sheets(layer(wedges(1, 40, 20)), shown(1, aspect=1.0), [0], FINE)
    width, height = sheet.tile
    cell_width, cell_height = sheet.cell
    # The tile's part of a sheet that is drawn with this aspect is as wide as high.
    assert sheet.aspect * (width / cell_width) / (height / cell_height) == pytest.approx(1.0)


def test_what_is_beyond_the_range_is_cut_off():
    volume = np.array([[[-1.0, 2.0]]], np.float32).repeat(16, axis=1).repeat(8, axis=2)
    ((_, tile),) = tiles_of(next(sheets(layer(volume), shown(1), [0], FINE)))
    np.testing.assert_allclose(tile[:, [0, -1]], [[0, 1]] * 16, atol=0.02)


@given(n=st.integers(1, 20_000))
def test_first_the_comparison_is_thinned_then_pictures_become_coarser(n):
    found = list(plans(n))
    assert found[0] == Plan(n_compared=n, longest=512, quality=95)
    assert [plan.n_compared for plan in found] == sorted((plan.n_compared for plan in found), reverse=True)
    assert min(plan.n_compared for plan in found) == min(n, COMPARED_AT_LEAST)
    fineness = [(plan.longest, plan.quality) for plan in found]
    assert fineness == sorted(fineness, reverse=True)
    assert all(plan.n_compared <= COMPARED_AT_LEAST for plan in found if plan.longest < 512 or plan.quality < 75)


@pytest.mark.parametrize("n_bytes", [3_000_000, 700_000, 300_000, 120_000])
def test_sheets_keep_to_their_bytes_and_none_of_the_first_layer_is_left_out(n_bytes):
    volume = np.random.default_rng(3).random((80, 96, 96), np.float32)  # nothing compresses worse
    layers = [layer(volume), replace(layer(volume), key="b")]
    plan, found = drawn(layers, shown(80), lambda at_most: range(min(at_most, 80)), n_bytes=n_bytes)
    assert sum(len(sheet.jpeg) for of_layer in found.values() for sheet in of_layer) <= n_bytes
    assert [image for sheet in found["a"] for image in sheet.images] == list(range(80))
    assert [image for sheet in found["b"] for image in sheet.images] == list(range(plan.n_compared))
    assert (plan == next(plans(80))) == (n_bytes == 3_000_000)
