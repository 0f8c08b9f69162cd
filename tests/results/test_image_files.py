"""Image files hold the pixels and the place of the volume."""

import io
import itertools

import ismrmrd
import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from raki.results.image_files import (
    affine_ras_mm,
    evenly_spaced,
    png,
    window_top,
    write_ismrmrd_image,
    write_nifti,
)
from raki.scan import Frame, Geometry
from tests.results.example_reconstruction import HEADER_XML, TILTED

LPS_TO_RAS = np.array([-1.0, -1.0, 1.0])

# Counters with gaps, as a scanner's may have.
FRAMES = (Frame(contrast=1), Frame(contrast=1, phase=4, set=2), Frame(contrast=3, repetition=9))


def volume(n_slices=3, geometry=TILTED, seed=1):
    return np.random.default_rng(seed).rayleigh(size=(n_slices, *geometry.matrix)).astype(np.float32)


def rotations():
    """Read, phase and slice directions of any oblique slab."""

    def directions(seed):
        orthogonal, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
        return [tuple(float(part) for part in column) for column in orthogonal.T]

    return st.integers(0, 2**32 - 1).map(directions)


def patient_position_mm(geometry, slice_index, row, column):
    """LPS, from first principles: DC at n // 2 puts that pixel at the slice's centre."""
    n_rows, n_columns = geometry.matrix
    return (
        np.array(geometry.position_mm)
        + np.array(geometry.read_direction) * (column - n_columns // 2) * geometry.fov_mm[0] / n_columns
        + np.array(geometry.phase_direction) * (row - n_rows // 2) * geometry.fov_mm[1] / n_rows
        + np.array(geometry.slice_direction) * slice_index * geometry.slice_spacing_mm
    )


@settings(derandomize=True, deadline=None, max_examples=40)
@given(
    directions=rotations(),
    matrix=st.tuples(st.integers(1, 50), st.integers(1, 50)),
    voxel=st.tuples(st.integers(0, 9), st.integers(0, 49), st.integers(0, 49)),
)
def test_every_voxel_lies_where_the_scanner_measured_it(directions, matrix, voxel):
    read, phase, normal = directions
    geometry = Geometry(
        fov_mm=(210.0, 170.0, 5.0),
        matrix=matrix,
        slice_spacing_mm=7.5,
        read_direction=read,
        phase_direction=phase,
        slice_direction=normal,
        position_mm=(3.0, 40.0, -12.0),
    )
    slice_index, row, column = voxel
    ras_mm = affine_ras_mm(geometry) @ [column, row, slice_index, 1]
    np.testing.assert_allclose(ras_mm[:3], LPS_TO_RAS * patient_position_mm(geometry, *voxel), atol=1e-9)


def test_nifti_reads_back_with_its_place_unit_and_description(tmp_path):
    written = volume()
    write_nifti(written, tmp_path / "image.nii.gz", geometry=TILTED, description="made by a test")
    image = nibabel.load(tmp_path / "image.nii.gz")
    np.testing.assert_array_equal(np.asarray(image.dataobj).transpose(2, 1, 0), written)
    assert image.get_data_dtype() == np.float32
    assert image.header.get_xyzt_units()[0] == "mm"
    assert bytes(image.header["descrip"]).rstrip(b"\0") == b"made by a test"
    np.testing.assert_allclose(image.header.get_zooms(), (2.0, 3.0, 6.0), rtol=1e-6)
    for affine, code in (image.get_sform(coded=True), image.get_qform(coded=True)):
        assert code == 1  # scanner coordinates
        np.testing.assert_allclose(affine, affine_ras_mm(TILTED), atol=1e-4)


def test_nifti_refuses_a_description_that_its_field_would_cut(tmp_path):
    with pytest.raises(ValueError, match="at most 79 bytes, this one 80"):
        write_nifti(volume(), tmp_path / "image.nii.gz", geometry=TILTED, description="x" * 80)


def test_ismrmrd_image_reads_back_slice_by_slice_with_its_place(tmp_path):
    written, path = volume(), tmp_path / "image.h5"
    write_ismrmrd_image(written, path, geometry=TILTED, header_xml=HEADER_XML, comment="of <a> test")
    with ismrmrd.Dataset(path, mode="r") as dataset:
        assert dataset.read_xml_header().decode() == HEADER_XML
        assert dataset.number_of_images("image_0") == len(written)
        for index in range(len(written)):
            image = dataset.read_image("image_0", index)
            np.testing.assert_array_equal(image.data[0, 0], written[index])
            assert tuple(image.matrix_size) == (40, 32, 1)  # readout, phase-encode, slice
            assert image.slice == index
            assert image.image_type == ismrmrd.IMTYPE_MAGNITUDE
            np.testing.assert_allclose(image.field_of_view, TILTED.fov_mm)
            np.testing.assert_allclose(image.position, patient_position_mm(TILTED, index, 16, 20), rtol=1e-6)
            np.testing.assert_allclose(image.read_dir, TILTED.read_direction, rtol=1e-6)
            np.testing.assert_allclose(image.phase_dir, TILTED.phase_direction, rtol=1e-6)
            assert ismrmrd.Meta.deserialize(image.attribute_string)["ImageComments"] == "of <a> test"


def test_nifti_has_frames_as_its_fourth_axis_and_they_lie_on_each_other(tmp_path):
    written, path = volume(6), tmp_path / "image.nii.gz"
    write_nifti(written, path, geometry=TILTED, frames=FRAMES, description="")
    image = nibabel.load(path)
    assert image.shape == (40, 32, 2, 3)
    for frame in range(3):
        frame_pixels = np.asarray(image.dataobj[..., frame]).transpose(2, 1, 0)
        np.testing.assert_array_equal(frame_pixels, written[2 * frame : 2 * frame + 2])
    assert image.header.get_xyzt_units() == ("mm", "unknown")
    write_nifti(written[:2], path, geometry=TILTED, description="")
    np.testing.assert_array_equal(image.affine, nibabel.load(path).affine)


@pytest.mark.parametrize(("step_s", "unit", "fourth"), [(2.0, "sec", 2.0), (None, "unknown", 1.0)])
def test_the_fourth_axis_has_the_time_between_frames_where_it_is_known(tmp_path, step_s, unit, fourth):
    frames = (Frame(repetition=0), Frame(repetition=1))
    path = tmp_path / "image.nii.gz"
    write_nifti(volume(4), path, geometry=TILTED, frames=frames, frame_step_s=step_s, description="")
    header = nibabel.load(path).header
    assert header.get_xyzt_units() == ("mm", unit)
    assert header.get_zooms()[3] == fourth


def test_an_ismrmrd_image_has_the_counters_of_its_frame_and_the_place_of_its_slice(tmp_path):
    written, path = volume(6), tmp_path / "image.h5"
    write_ismrmrd_image(written, path, geometry=TILTED, frames=FRAMES, header_xml=HEADER_XML, comment="")
    with ismrmrd.Dataset(path, mode="r") as dataset:
        images = [dataset.read_image("image_0", index) for index in range(6)]
    found = [
        (Frame(**{name: getattr(image, name) for name in ("contrast", "phase", "repetition", "set")}), image.slice)
        for image in images
    ]
    assert found == list(itertools.product(FRAMES, range(2)))
    for image, pixels in zip(images, written, strict=True):
        np.testing.assert_array_equal(image.data[0, 0], pixels)
        np.testing.assert_allclose(image.position, patient_position_mm(TILTED, image.slice, 16, 20), rtol=1e-6)
    assert [image.image_index for image in images] == [1, 2, 3, 4, 5, 6]


def test_no_file_is_written_of_frames_with_unequal_slices(tmp_path):
    uneven, place = volume(5), {"geometry": TILTED, "frames": FRAMES}
    for write in (
        lambda path: write_nifti(uneven, path, **place, description=""),
        lambda path: write_ismrmrd_image(uneven, path, **place, header_xml=HEADER_XML, comment=""),
    ):
        with pytest.raises(ValueError, match="5 images don't make 3 frames"):
            write(tmp_path / "image")
    assert list(tmp_path.iterdir()) == []


def test_writing_again_replaces_the_images(tmp_path):
    path = tmp_path / "image.h5"
    for n_slices in (5, 2):
        write_ismrmrd_image(volume(n_slices), path, geometry=TILTED, header_xml=HEADER_XML, comment="")
    with ismrmrd.Dataset(path, mode="r") as dataset:
        assert dataset.number_of_images("image_0") == 2


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_no_file_is_written_of_an_image_that_is_not_finite(tmp_path, bad):
    broken = volume()
    broken[1, 2, 3] = bad
    with pytest.raises(ValueError, match="1 pixels are not finite"):
        write_ismrmrd_image(broken, tmp_path / "image.h5", geometry=TILTED, header_xml=HEADER_XML, comment="")
    with pytest.raises(ValueError, match="1 pixels are not finite"):
        write_nifti(broken, tmp_path / "image.nii.gz", geometry=TILTED, description="")
    assert list(tmp_path.iterdir()) == []


def test_grey_is_linear_from_black_at_zero_to_white_at_the_top():
    pixels = np.array([[0.0, 1.0, 2.0, 4.0, 400.0]], np.float32)
    shown = np.asarray(Image.open(io.BytesIO(png(pixels, top=4.0))))
    np.testing.assert_array_equal(shown, [[0, 64, 128, 255, 255]])


def test_a_large_picture_is_reduced_in_proportion():
    picture = Image.open(io.BytesIO(png(np.ones((100, 800), np.float32), top=1.0, longest=200)))
    assert picture.size == (200, 25)


def test_the_window_ignores_a_few_hot_pixels_and_takes_an_empty_image():
    pixels = np.ones((1, 100, 100), np.float32)
    pixels[0, 0, :10] = 1000.0
    assert window_top(pixels) == 1.0
    assert window_top(np.zeros((1, 4, 4), np.float32)) == 1.0


@settings(derandomize=True, deadline=None)
@given(n_slices=st.integers(1, 500), at_most=st.integers(2, 60))
def test_slices_shown_are_distinct_in_order_and_reach_both_ends(n_slices, at_most):
    shown = evenly_spaced(n_slices, at_most)
    assert len(shown) == min(n_slices, at_most)
    assert (shown[0], shown[-1]) == (0, n_slices - 1)
    assert all(before < after for before, after in itertools.pairwise(shown))
