"""A preview shows all methods, slices and frames, each lettered and in the convention of its plane, and is small."""

import itertools

import numpy as np
import pytest
from PIL import Image

from raki.results.preview import PREVIEW_BYTES, write_preview
from raki.scan import Frame, Geometry
from tests.results.example_reconstruction import TILTED


def volume(n_slices, geometry=TILTED):
    return np.random.default_rng(1).rayleigh(size=(n_slices, *geometry.matrix)).astype(np.float32)


def test_no_preview_is_written_of_pixels_that_are_not_finite_or_of_uneven_frames(tmp_path):
    broken, path = volume(3), tmp_path / "preview.png"
    broken[1, 2, 3] = np.nan
    with pytest.raises(ValueError, match="1 pixels are not finite"):
        write_preview({"RAKI": broken}, path, geometry=TILTED, caption="")
    with pytest.raises(ValueError, match="5 images don't make 3 frames"):
        write_preview({"RAKI": volume(5)}, path, geometry=TILTED, frames=(Frame(),) * 3, caption="")
    assert list(tmp_path.iterdir()) == []


def test_a_preview_is_small_even_of_pure_noise(tmp_path):
    large = Geometry(fov_mm=(256.0, 256.0, 5.0), matrix=(256, 256), slice_spacing_mm=5.0)
    noise = volume(30, large)
    images = {"Zero-filled": noise, "GRAPPA": noise, "RAKI": noise}
    write_preview(images, tmp_path / "preview.png", geometry=large, caption="noise")
    assert 10_000 < (tmp_path / "preview.png").stat().st_size <= PREVIEW_BYTES


def test_a_preview_has_square_pixels_whatever_the_matrix(tmp_path):
    """A disc in mm stays a disc in the picture, though its matrix is twice as fine along readout."""
    geometry = Geometry(fov_mm=(200.0, 200.0, 5.0), matrix=(64, 128), slice_spacing_mm=5.0)
    row_mm = (np.arange(64)[:, None] - 32) * 200 / 64
    column_mm = (np.arange(128) - 64) * 200 / 128
    disc = (row_mm**2 + column_mm**2 < 60**2).astype(np.float32)[None]
    write_preview({"RAKI": disc}, tmp_path / "preview.png", geometry=geometry, caption="")
    shown = np.asarray(Image.open(tmp_path / "preview.png")) > 128
    middle = shown.shape[1] // 2
    height = shown[40:, middle].sum()
    width = max(shown[row].sum() for row in range(40, len(shown)))
    assert width == pytest.approx(height, rel=0.04)


@pytest.mark.parametrize(("n_slices", "n_rows_of_pictures"), [(1, 1), (2, 2), (11, 3)])
def test_a_preview_shows_a_single_slice_once_and_all_of_several(tmp_path, n_slices, n_rows_of_pictures):
    geometry = Geometry(fov_mm=(200.0, 200.0, 5.0), matrix=(64, 64), slice_spacing_mm=5.0)
    squares = np.zeros((n_slices, 64, 64), np.float32)
    squares[:, 16:48, 16:48] = 1
    write_preview({"": squares}, tmp_path / "preview.png", geometry=geometry, caption="")
    lit = [bool(squares_crossed(row)) for row in np.asarray(Image.open(tmp_path / "preview.png"))]
    assert np.count_nonzero(np.diff(np.array(lit, int)) == 1) == n_rows_of_pictures


def squares_crossed(row):
    """The brightness of each square, of 15 pixels at least, that a row of the picture crosses; letters are narrower."""
    starts = np.flatnonzero(np.diff((row > 80).astype(int), prepend=0) == 1)
    return [int(row[start + 7]) for start in starts if (row[start : start + 15] > 80).all()]


@pytest.mark.parametrize(
    ("n_frames", "n_slices", "rows"), [(1, 1, [1]), (3, 1, [1, 3]), (3, 2, [1, 2, 3]), (50, 4, [1, 4, 6])]
)
def test_a_preview_shows_the_methods_the_slices_and_a_few_frames(tmp_path, n_frames, n_slices, rows):
    """Squares, counted in each row; those of the first frame are bright, of the others half as bright."""
    geometry = Geometry(fov_mm=(200.0, 200.0, 5.0), matrix=(64, 64), slice_spacing_mm=5.0)
    squares = np.zeros((n_frames * n_slices, 64, 64), np.float32)
    squares[:, 16:48, 16:48] = 0.5
    squares[:n_slices] *= 2
    frames = tuple(Frame(repetition=n) for n in range(n_frames))
    write_preview({"": squares}, tmp_path / "preview.png", geometry=geometry, frames=frames, caption="")
    shown = np.asarray(Image.open(tmp_path / "preview.png"))
    found, n_bright = [], []
    for n, lines in itertools.groupby(map(squares_crossed, shown), key=len):
        if n:
            found.append(n)
            *_, line = itertools.islice(lines, 10)  # past the border, where the picture was interpolated
            n_bright.append(sum(value > 200 for value in line))
    assert found == rows
    assert n_bright == rows[: 1 + (n_slices > 1)] + [1] * (n_frames > 1)


def test_a_preview_of_many_frames_is_small_even_of_pure_noise(tmp_path):
    large = Geometry(fov_mm=(256.0, 256.0, 5.0), matrix=(256, 256), slice_spacing_mm=5.0)
    images = dict.fromkeys(("Zero-filled", "GRAPPA", "RAKI"), volume(40, large))
    frames = tuple(Frame(repetition=n) for n in range(8))
    write_preview(images, tmp_path / "preview.png", geometry=large, frames=frames, caption="noise")
    assert 10_000 < (tmp_path / "preview.png").stat().st_size <= PREVIEW_BYTES
