"""From the file to the image: what lay at a place in the scanner lies there in the image, whatever was oversampled."""

import ismrmrd
import numpy as np
import pytest
from ismrmrd import xsd

from raki.errors import DamagedScan, UnsupportedScan
from raki.formats import read_scan
from raki.images import reconstruct
from raki.phantom.phantom import FOV_MM, phantom_kspace
from raki.phantom.simulation import scan_header
from raki.prepare.preparation import preprocess
from raki.results.image_files import affine_ras_mm


def write_scan(path, kspace, *, encoded_mm, recon_mm, recon_matrix, lines=None):
    """A single slice `coil pe ro` as ISMRMRD; lengths and the image's matrix along readout and phase-encode."""
    n_coils, n_pe, n_ro = kspace.shape
    header = scan_header(1, n_coils, 32, 1)
    (encoding,) = header.encoding
    for space, matrix, fov_mm in (
        (encoding.encodedSpace, (n_ro, n_pe), encoded_mm),
        (encoding.reconSpace, recon_matrix, recon_mm),
    ):
        space.matrixSize = xsd.matrixSizeType(x=matrix[0], y=matrix[1], z=1)
        space.fieldOfView_mm = xsd.fieldOfViewMm(x=fov_mm[0], y=fov_mm[1], z=4.0)
    encoding.encodingLimits.kspace_encoding_step_1 = xsd.limitType(minimum=0, maximum=n_pe - 1, center=n_pe // 2)
    with ismrmrd.Dataset(path, mode="w") as dataset:
        dataset.write_xml_header(xsd.ToXML(header).encode())
        for line in range(n_pe) if lines is None else lines:
            acquisition = ismrmrd.Acquisition.from_array(np.ascontiguousarray(kspace[:, line]), center_sample=n_ro // 2)
            acquisition.idx.kspace_encode_step_1 = int(line)
            acquisition.read_dir[0] = acquisition.phase_dir[1] = acquisition.slice_dir[2] = 1.0
            dataset.append_acquisition(acquisition)
    return path


def point_kspace(n_pe, n_ro, encoded_mm, place_mm):
    """What one coil receives of a point at `place_mm` along readout and phase-encode."""
    along_ro = (np.arange(n_ro) - n_ro // 2) * place_mm[0] / encoded_mm[0]
    along_pe = (np.arange(n_pe) - n_pe // 2) * place_mm[1] / encoded_mm[1]
    return np.exp(-2j * np.pi * (along_pe[:, None] + along_ro)).astype(np.complex64)[None]


@pytest.mark.parametrize(
    ("n_pe", "n_ro", "encoded_mm", "recon_mm", "recon_matrix", "matrix"),
    [
        pytest.param(64, 128, (440, 220), (220, 220), (64, 64), (64, 64), id="none along phase-encode"),
        pytest.param(80, 128, (440, 275), (220, 220), (64, 64), (64, 64), id="by a quarter"),
        pytest.param(70, 128, (440, 242), (220, 220), (64, 64), (64, 64), id="by rows that are not whole"),
        pytest.param(128, 128, (440, 440), (220, 220), (64, 64), (64, 64), id="twofold"),
        pytest.param(60, 128, (440, 275), (220, 220), (64, 64), (64, 64), id="with fewer lines than rows"),
        pytest.param(96, 128, (440, 275), (220, 220), (64, 64), (64, 64), id="with more lines than rows"),
        pytest.param(80, 128, (440, 275), (220, 220), (128, 128), (64, 64), id="in an interpolated image"),
        pytest.param(45, 100, (300, 180), (205, 150), (68, 37), (37, 68), id="both not whole, odd"),
    ],
)
@pytest.mark.parametrize("place_mm", [(71.0, -60.0), (-90.0, 55.0), (0.0, 0.0)])
def test_a_point_lies_in_the_image_where_it_lay_in_the_scanner(
    tmp_path, n_pe, n_ro, encoded_mm, recon_mm, recon_matrix, matrix, place_mm
):
    kspace = point_kspace(n_pe, n_ro, encoded_mm, place_mm)
    path = write_scan(tmp_path / "scan.h5", kspace, encoded_mm=encoded_mm, recon_mm=recon_mm, recon_matrix=recon_matrix)
    result = reconstruct(preprocess(read_scan(path)), method="zero_filled")
    geometry = result.scan.geometry
    assert geometry.matrix == matrix
    row, column = np.unravel_index(result.result[0].argmax(), matrix)
    right, anterior, _ = affine_ras_mm(geometry)[:3] @ [column, row, 0, 1]
    pixel_mm = geometry.fov_mm[0] / matrix[1], geometry.fov_mm[1] / matrix[0]
    assert abs(-right - place_mm[0]) <= 0.5001 * pixel_mm[0]
    # Fewer lines than rows make a point wider than a pixel, its maximum no less exact.
    assert abs(-anterior - place_mm[1]) <= 0.5001 * pixel_mm[1]
    assert np.abs(np.subtract(geometry.fov_mm[:2], recon_mm)).max() <= 0.5001 * max(pixel_mm)


def test_the_head_has_its_size_and_place_when_phase_encode_is_oversampled(tmp_path):
    """The encoded field of view is a quarter larger than the image's; air fills the rest."""
    coil_images = to_images(phantom_kspace(1, 6, 64, 0, readout_oversampling=2)[0])
    wide = to_kspace(np.pad(coil_images, ((0, 0), (8, 8), (0, 0))))
    lines = sorted({*range(0, 80, 2), *range(28, 52)})
    path = write_scan(
        tmp_path / "scan.h5",
        wide,
        encoded_mm=(2 * FOV_MM, 1.25 * FOV_MM),
        recon_mm=(FOV_MM, FOV_MM),
        recon_matrix=(64, 64),
        lines=lines,
    )
    truth = np.sqrt((np.abs(coil_images[..., 32:96]) ** 2).sum(axis=0))
    result = reconstruct(preprocess(read_scan(path)), method="grappa")
    # Measured, plus a third; a head squeezed by a quarter is off by 0.5 and more.
    assert np.linalg.norm(result.result[0] - truth) / np.linalg.norm(truth) < 0.0094


def to_images(kspace):
    shifted = np.fft.ifftshift(kspace, axes=(-2, -1))
    return np.fft.fftshift(np.fft.ifft2(shifted, norm="ortho"), axes=(-2, -1))


def to_kspace(images):
    shifted = np.fft.ifftshift(images, axes=(-2, -1))
    return np.fft.fftshift(np.fft.fft2(shifted, norm="ortho"), axes=(-2, -1)).astype(np.complex64)


@pytest.mark.parametrize(
    ("encoded_mm", "recon_mm", "named"),
    [
        ((440, 165), (220, 220), "along phase-encode is 220 mm, the encoded one 165 mm"),
        ((200, 220), (220, 220), "along readout is 220 mm, the encoded one 200 mm"),
    ],
)
def test_an_image_of_more_than_was_encoded_is_refused(tmp_path, encoded_mm, recon_mm, named):
    kspace = point_kspace(64, 128, encoded_mm, (0, 0))
    path = write_scan(tmp_path / "scan.h5", kspace, encoded_mm=encoded_mm, recon_mm=recon_mm, recon_matrix=(64, 64))
    with pytest.raises(UnsupportedScan, match=named):
        read_scan(path)


def test_lengths_rounded_in_the_header_are_no_reason_to_refuse(tmp_path):
    kspace = point_kspace(64, 128, (440, 219.9), (0, 0))
    path = write_scan(tmp_path / "scan.h5", kspace, encoded_mm=(440, 219.9), recon_mm=(220, 220), recon_matrix=(64, 64))
    assert read_scan(path).geometry.phase_oversampling == 1.0


@pytest.mark.parametrize(
    ("encoded_mm", "recon_matrix", "error", "named"),
    [
        ((440, 1e5), (64, 64), DamagedScan, "rows of 64 phase-encode lines"),
        ((440, 220), (1, 65535), DamagedScan, "rows of 64 phase-encode lines"),
        ((440, 1e-9), (64, 64), DamagedScan, "field of view of 1e-09 mm along y"),
        ((1e300, 220), (64, 64), DamagedScan, r"field of view of 1e\+300 mm along x"),
    ],
)
def test_a_header_that_would_fill_the_memory_is_refused(tmp_path, encoded_mm, recon_matrix, error, named):
    kspace = point_kspace(64, 128, (440, 220), (0, 0))
    path = write_scan(
        tmp_path / "scan.h5", kspace, encoded_mm=encoded_mm, recon_mm=(220, 220), recon_matrix=recon_matrix
    )
    with pytest.raises(error, match=named):
        read_scan(path)
