"""Every picture lies as radiologists have it, says so by letters, and DICOM's directions follow its pixels.

The head has markers to the left, to anterior and to the head; where each has to be seen is computed from the geometry
that stands in the raw file.
"""

import base64
import io
import itertools

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFont

from raki.formats import read_scan
from raki.images import reconstruct
from raki.prepare import preprocess
from raki.results import Source, write_results
from raki.results.dicom import write_dicom
from raki.results.display import letters, view_of
from raki.results.preview import write_preview
from raki.scan import Geometry, Place
from tests.results.marked_head import GE_SLICES, MARKERS_MM, Slice, head, write_ge, write_ismrmrd, write_twix
from tests.results.test_image_files import patient_position_mm, rotations
from tests.results.test_report import Page, tiles_by_layer, viewer_of

# Right and down on the screen, in LPS: axial from the feet, coronal from the front, sagittal from the left.
SCREEN = {
    "axial": ((1, 0, 0), (0, 1, 0)),
    "coronal": ((1, 0, 0), (0, 0, -1)),
    "sagittal": ((0, 1, 0), (0, 0, -1)),
}
LETTERS = {"axial": "RLAP", "coronal": "RLHF", "sagittal": "APHF"}
"""At the left, right, top and bottom edge."""
# By name: what writes it, its slices, their plane.
SCANS = {
    "ISMRMRD, axial": (write_ismrmrd, [Slice((0.0, 1.0, 0.0), (-1.0, 0.0, 0.0))], "axial"),
    "ISMRMRD, coronal": (write_ismrmrd, [Slice((0.0, 0.0, 1.0), (1.0, 0.0, 0.0))], "coronal"),
    "ISMRMRD, sagittal": (write_ismrmrd, [Slice((0.0, -1.0, 0.0), (0.0, 0.0, 1.0))], "sagittal"),
    "twix, axial": (write_twix, [Slice((-1.0, 0.0, 0.0), (0.0, 1.0, 0.0))], "axial"),
    "twix, coronal": (write_twix, [Slice((1.0, 0.0, 0.0), (0.0, 0.0, -1.0))], "coronal"),
    "twix, sagittal": (write_twix, [Slice((0.0, 0.0, -1.0), (0.0, 1.0, 0.0))], "sagittal"),
    "GE, axial": (write_ge, GE_SLICES, "axial"),
}


@pytest.fixture(scope="module", params=SCANS)
def made(request, tmp_path_factory):
    """The plane, the files of a raw file's reconstruction, and its DICOM images."""
    folder = tmp_path_factory.mktemp("scan")
    write, slices, plane = SCANS[request.param]
    write(folder / "raw", slices)
    reconstruction = reconstruct(preprocess(read_scan(folder / "raw")), method="zero_filled")
    files = write_results(reconstruction, folder / "out", source=Source(name="raw", sha256="0", n_bytes=1))
    dicoms = [pydicom.dcmread(path) for path in write_dicom(reconstruction, folder / "dicom")]
    return plane, {file.name: file for file in files}, dicoms


def points_of(dicom):
    """Each pixel in LPS, as DICOM PS3.3, section C.7.6.2.1.1 has it."""
    orientation = np.array(dicom.ImageOrientationPatient, float)
    row_mm, column_mm = map(float, dicom.PixelSpacing)
    columns = np.arange(dicom.Columns)[:, np.newaxis] * column_mm * orientation[:3]
    rows = np.arange(dicom.Rows)[:, np.newaxis, np.newaxis] * row_mm * orientation[3:]
    return np.array(dicom.ImagePositionPatient, float) + rows + columns


def test_each_pixel_of_dicom_shows_what_lies_where_it_says(made):
    plane, _, dicoms = made
    expected = np.array([head(points_of(dicom)) for dicom in dicoms])
    shown = np.array([dicom.pixel_array for dicom in dicoms], float)
    np.testing.assert_allclose(shown / shown.max(), expected / expected.max(), atol=0.01)
    for dicom in dicoms:
        directions = np.array(dicom.ImageOrientationPatient, float).reshape(2, 3)
        np.testing.assert_allclose(directions, SCREEN[plane], atol=1e-6)


def assert_markers_are_seen(pixels, plane):
    """Those of this plane through the centre, where they belong on the screen; and not where a mirror has them."""
    middle = np.array(pixels.shape) / 2
    right, down = (np.array(direction) for direction in SCREEN[plane])
    pixel_mm = 240.0 / len(pixels)
    seen = []
    for marker_mm in MARKERS_MM.values():
        offset = np.array([marker_mm @ down, marker_mm @ right]) / pixel_mm
        if offset.any():
            row, column = np.rint(middle + offset).astype(int)
            mirrored_row, mirrored_column = np.rint(middle - offset).astype(int)
            assert pixels[row, column] > 1.5 * pixels[mirrored_row, mirrored_column]
            seen.append(pixels[row, column])
    anterior, *_, superior = seen
    if plane == "sagittal":  # of a transposed image they would have changed places, with nothing on the other side
        assert anterior > 1.1 * superior


def test_the_reports_picture_lies_so_and_has_the_letters_at_its_edges(made):
    plane, files, dicoms = made
    html = files["report.html"].read_text()
    middle = len(dicoms) // 2
    (picture,) = [
        attributes["src"]
        for attributes in Page(html).all("img")
        if attributes["alt"].lower() == f"slice {middle + 1}, {plane}, all acquired lines"
    ]
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(picture.partition(",")[2]))), float)
    assert_markers_are_seen(shown, plane)
    # As DICOM has it, but for the window.
    top = np.percentile([dicom.pixel_array for dicom in dicoms], 99.7)
    np.testing.assert_allclose(shown / 255, np.minimum(dicoms[middle].pixel_array / top, 1), atol=0.01)
    edges = dict(zip(("left", "right", "top", "bottom"), LETTERS[plane], strict=True))
    after = html.partition(picture)[2]
    for edge, letter in edges.items():
        assert f'<i class="{edge}" aria-hidden="true">{letter}</i>' in after.partition("</div>")[0]
    # In the viewer, and so on paper, as there.
    data = viewer_of(html)
    assert [data["views"][view]["edges"] for view in data["view_of"]] == [edges] * len(dicoms)
    (layer,) = data["layers"]
    tile = tiles_by_layer(html)[layer["key"]][middle]
    np.testing.assert_allclose(np.minimum(tile / data["window"][1], 1), shown / 255, atol=0.05)


def test_the_previews_picture_lies_so_and_has_the_letters_at_its_edges(made):
    plane, files, _ = made
    picture = Image.open(files["preview.png"])
    # One method stands at the upper left; its panel is as high as wide.
    panel = panel_of(picture)
    assert_markers_are_seen(np.asarray(panel.resize((32, 32), Image.Resampling.BOX), float), plane)
    for letter, box in zip(LETTERS[plane], letter_boxes(panel), strict=True):
        assert read_letter(panel.crop(box)) == letter


PANEL, GAP, TEXT = 420, 8, 23


def panel_of(preview):
    upper = GAP + 2 * TEXT
    return preview.crop((GAP, upper, GAP + PANEL, upper + PANEL))


def letter_boxes(panel):
    """Around each letter: left, right, top, bottom."""
    width, height = panel.size
    return [
        (0, height // 2 - 15, 30, height // 2 + 15),
        (width - 30, height // 2 - 15, width, height // 2 + 15),
        (width // 2 - 15, 0, width // 2 + 15, 30),
        (width // 2 - 15, height - 30, width // 2 + 15, height),
    ]


def read_letter(crop):
    """The letter whose shape is most like what stands there."""
    found = np.asarray(crop, float)
    shape = found[np.ix_((found > 180).any(axis=1), (found > 180).any(axis=0))]

    def likeness(letter):
        drawn = Image.new("L", (60, 60))
        ImageDraw.Draw(drawn).text((20, 20), letter, fill=220, font=ImageFont.load_default(size=26))
        lit = np.asarray(drawn.crop(drawn.getbbox()).resize(shape.shape[::-1]), float)
        return np.corrcoef(lit.ravel(), shape.ravel())[0, 1]

    return max("APLRHF", key=likeness)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(directions=rotations(), matrix=st.tuples(st.integers(1, 9), st.integers(1, 9)), is_mirrored=st.booleans())
def test_turning_an_image_leaves_each_pixel_where_it_was_in_the_patient(directions, matrix, is_mirrored):
    read, phase, normal = directions
    geometry = Geometry(
        fov_mm=(210.0, 170.0, 5.0),
        matrix=matrix,
        slice_spacing_mm=5.0,
        read_direction=tuple(-np.array(read)) if is_mirrored else read,
        phase_direction=phase,
        slice_direction=normal,
        position_mm=(3.0, 40.0, -12.0),
    )
    place = geometry.place_of(0, 1)
    view = view_of(geometry, 0, 1)
    numbers = np.arange(matrix[0] * matrix[1]).reshape(matrix)
    row_mm, column_mm = view.spacing_mm(geometry)
    for (row, column), number in np.ndenumerate(view.turned(numbers)):
        there_mm = (
            view.corner_mm(geometry, place)
            + np.multiply(view.down, row * row_mm)
            + np.multiply(view.right, column * column_mm)
        )
        np.testing.assert_allclose(
            there_mm, patient_position_mm(geometry, 0, *divmod(int(number), matrix[1])), atol=1e-9
        )
    height, width = view.turned(numbers).shape
    assert view.aspect(geometry) == pytest.approx(width * column_mm / (height * row_mm))
    # No other turn would be nearer to the convention of the nearest plane.
    plane = ("sagittal", "coronal", "axial")[int(np.argmax(np.abs(np.cross(read, phase))))]
    right, down = (np.array(direction) for direction in SCREEN[plane])
    likeness = right @ view.right + down @ view.down
    for first, second in itertools.permutations((np.array(read), np.array(phase))):
        for sign, other in itertools.product((1, -1), repeat=2):
            assert likeness >= right @ first * sign + down @ second * other - 1e-3


@pytest.mark.parametrize("plane", SCREEN)
def test_every_way_to_scan_a_plane_is_shown_alike(plane):
    right, down = (np.array(direction, float) for direction in SCREEN[plane])
    for first, second in ((right, down), (down, right)):
        for sign, other in itertools.product((1, -1), repeat=2):
            geometry = Geometry(
                fov_mm=(200.0, 200.0, 5.0),
                matrix=(8, 8),
                slice_spacing_mm=5.0,
                read_direction=tuple(sign * first),
                phase_direction=tuple(other * second),
                slice_direction=tuple(np.cross(right, down)),
            )
            view = view_of(geometry, 0, 1)
            assert (view.plane, view.right, view.down) == (plane, tuple(right), tuple(down))
            assert "".join(view.edges.values()) == LETTERS[plane]


@pytest.mark.parametrize(
    ("direction", "text"),
    [
        ((1, 0, 0), "L"),
        ((0.98, 0.17, 0), "L"),
        ((-0.9, 0.4, 0.1), "RP"),
        ((0, -0.6, -0.8), "FA"),
        ((-0.6, 0.6, 0.5), "RPH"),
    ],
)
def test_an_oblique_edge_has_the_nearest_letter_first(direction, text):
    assert letters(np.array(direction, float)) == text


def test_slices_of_several_planes_are_each_shown_in_their_own_shape(tmp_path):
    """A panel is shaped as the middle slice is; one that is wider or higher stands in the middle of it, undistorted."""
    places = [
        Place(position_mm=(0.0, 0.0, 0.0), read_direction=read, phase_direction=phase, slice_direction=(0.0, 0.0, 1.0))
        for read, phase in (((1.0, 0.0, 0.0), (0.0, 1.0, 0.0)), ((0.0, 0.0, 1.0), (1.0, 0.0, 0.0)))
    ]
    geometry = Geometry(fov_mm=(200.0, 100.0, 5.0), matrix=(50, 100), slice_spacing_mm=5.0, places=tuple(places))
    bright = np.ones((2, 50, 100), np.float32)
    write_preview({"": bright}, tmp_path / "preview.png", geometry=geometry, caption="")
    tiles = np.asarray(Image.open(tmp_path / "preview.png"))[GAP + 2 * TEXT + PANEL + GAP :] > 128
    tile_width = (tiles.shape[1] - 2 * GAP - 3 * GAP) // 4
    for number, aspect in enumerate((2.0, 0.5)):
        left = GAP + number * (tile_width + GAP)
        columns = tiles[:, left : left + tile_width]
        height, width = columns.sum(axis=0).max(), columns.sum(axis=1).max()
        assert width / height == pytest.approx(aspect, rel=0.1)
