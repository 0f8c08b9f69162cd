"""Where nothing tells how the image lies in the patient, nothing pretends to know."""

import h5py
import nibabel
import numpy as np
import pytest
from PIL import Image

from raki.export import export
from raki.formats import read_scan
from raki.images import reconstruct
from raki.inspection.survey.survey import survey_here
from raki.phantom import simulate_scan
from raki.prepare import preprocess
from raki.results import Source, write_results
from raki.scan.prepared import read_prepared, write_prepared
from tests.formats.arrays.array_files import write
from tests.results.test_display import letter_boxes, panel_of

UNKNOWN = "don't tell how the slices lie in the patient"


def lines():
    """A bright square in the middle, `slice coil pe ro`."""
    images = np.zeros((2, 3, 32, 32), complex)
    images[..., 12:21, 12:21] = 1
    return np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(images, (-2, -1)), norm="ortho"), (-2, -1)).astype(np.complex64)


def bare_ismrmrd(path):
    simulate_scan(path, n_slices=1, n_coils=2, matrix=32, acceleration=1, n_acs_lines=0, seed=0)
    with h5py.File(path, "r+") as file:
        acquisitions = file["dataset/data"][()]
        acquisitions["head"]["read_dir"] = acquisitions["head"]["phase_dir"] = 0
        file["dataset/data"][...] = acquisitions
    return path


def exported(path, suffix):
    target = path.with_suffix(suffix)
    export([write("npy", path, lines())], target)
    return target


BARE = {
    "NumPy": lambda folder: write("npy", folder / "scan", lines()),
    "BART": lambda folder: write("bart", folder / "scan", lines()),
    "ISMRMRD without directions": lambda folder: bare_ismrmrd(folder / "scan.h5"),
    "ISMRMRD made of NumPy": lambda folder: exported(folder / "scan", ".h5"),
    "NumPy made of NumPy": lambda folder: exported(folder / "scan", ".npz"),
}


def results_of(path, folder):
    prepared = folder / "prepared.h5"
    write_prepared(preprocess(read_scan(path)), prepared)
    reconstruction = reconstruct(read_prepared(prepared), method="zero_filled")
    files = write_results(reconstruction, folder / "out", source=Source(name="raw", sha256="0", n_bytes=1))
    return {file.name: file for file in files}


@pytest.mark.parametrize("name", BARE)
def test_a_scan_without_directions_has_no_letters_and_says_so(name, tmp_path):
    path = BARE[name](tmp_path)
    files = results_of(path, tmp_path)
    report = files["report.html"].read_text()
    assert UNKNOWN in report.replace("&#39;", "'")
    assert "without letters" in report
    assert 'aria-hidden="true">R<' not in report
    assert "patient's right is on the left" not in report.replace("&#39;", "'")
    panel = panel_of(Image.open(files["preview.png"]))
    assert all(np.max(panel.crop(box)) < 150 for box in letter_boxes(panel))
    assert int(nibabel.load(files["image.nii.gz"]).header["sform_code"]) == 2  # "aligned", not "scanner"
    assert survey_here([path]).placement.plane is None


def test_one_direction_that_is_told_is_enough(tmp_path):
    path = write("npy", tmp_path / "scan", lines())
    path.with_suffix(".json").write_text('{"axes": "slice coil pe ro", "slice_direction": [0, 0, 1]}')
    files = results_of(path, tmp_path)
    report = files["report.html"].read_text()
    assert UNKNOWN not in report.replace("&#39;", "'")
    panel = panel_of(Image.open(files["preview.png"]))
    assert all(np.max(panel.crop(box)) > 180 for box in letter_boxes(panel))
    assert int(nibabel.load(files["image.nii.gz"]).header["sform_code"]) == 1
