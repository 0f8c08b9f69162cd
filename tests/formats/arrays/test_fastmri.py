"""fastMRI: lines from the mask, geometry from the header."""

import h5py
import numpy as np
import pytest

from raki.formats.sorting.placement import image_geometry
from raki.scan.header import centre_line, field_of_view_mm, matrix_size
from tests.formats.arrays.array_files import kspace, opened, replace_kspace, same


def test_fastmri_takes_lines_from_the_mask_and_geometry_from_the_header(knee):
    found, heads, header = opened(knee, "fastmri")
    with h5py.File(knee) as file:
        full = file["kspace"][:]
    assert sorted(place[:2] for place in found) == [(s, line) for s in range(2) for line in range(0, 37, 2)]
    np.testing.assert_array_equal(found[1, 4, 0, 0, 0, 0, 0, 0], full[1, :, :, 4])
    encoding = header.encoding[0]
    assert matrix_size(encoding.encodedSpace) == (64, 37, 1)
    assert centre_line(encoding) == 18
    geometry = image_geometry(heads[[0, -1]], encoding)
    assert geometry.matrix == (32, 32)
    assert geometry.encoded_rows == 37
    assert geometry.fov_mm == pytest.approx((140.0, 140.0, 4.5), rel=0.01)
    assert geometry.slice_spacing_mm == 4.5
    assert header.subjectInformation.patientName == "Phantom^Digital"


@pytest.mark.parametrize("n_pe", [20, 37, 50])
def test_fastmri_believes_the_array_where_the_header_counts_other_lines(knee, n_pe):
    with h5py.File(knee, "r+") as file:
        del file["kspace"], file["mask"]
        file["kspace"] = kspace(2, 3, 64, n_pe)
    _, _, header = opened(knee, "fastmri")
    assert matrix_size(header.encoding[0].encodedSpace) == (64, n_pe, 1)
    assert centre_line(header.encoding[0]) == n_pe // 2
    # The distance of the lines is that of the field of view.
    assert field_of_view_mm(header.encoding[0].encodedSpace)[1] == pytest.approx(162.8, rel=0.02)


def test_fastmri_of_a_single_coil_and_an_image_beyond_what_was_encoded(knee):
    with h5py.File(knee, "r+") as file:
        xml = file["ismrmrd_header"][()].decode().replace("<y>162.818</y>", "<y>105.0</y>")
        del file["kspace"], file["ismrmrd_header"]
        file["kspace"] = kspace(2, 64, 37)
        file["ismrmrd_header"] = xml
    found, heads, header = opened(knee, "fastmri")
    assert {samples.shape for samples in found.values()} == {(1, 64)}
    geometry = image_geometry(heads[[0, -1]], header.encoding[0])
    assert (geometry.matrix, geometry.phase_oversampling) == ((24, 32), 1.0)
    assert geometry.fov_mm[1] == pytest.approx(105.0)


@pytest.mark.parametrize("options", [{"chunks": (1, 1, 64, 8)}, {"chunks": True, "compression": "gzip"}])
def test_fastmri_in_chunks_is_read_the_same(knee, options):
    whole = opened(knee, "fastmri")[0]
    with h5py.File(knee, "r+") as file:
        full = file["kspace"][:]
        del file["kspace"]
        file.create_dataset("kspace", data=full, **options)
    assert same(opened(knee, "fastmri")[0], whole)


def test_chunks_that_were_never_written_are_lines_that_were_not_acquired(knee):
    with h5py.File(knee, "r+") as file:
        del file["mask"]
        replace_kspace(file, shape=(2, 3, 64, 37), dtype=np.complex64, chunks=(1, 1, 64, 8))
        file["kspace"][:, 1:, :, 10:20] = 1
    found = opened(knee, "fastmri")[0]
    assert sorted(place[:2] for place in found) == [(s, line) for s in range(2) for line in range(10, 20)]
    assert {samples[:, 0].tolist().index(1) for samples in found.values()} == {1}
