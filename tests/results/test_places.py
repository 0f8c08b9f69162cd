"""Each image says where it was acquired, on an even grid or not: in DICOM, in ISMRMRD, in NIfTI where that can."""

import ismrmrd
import nibabel
import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raki.errors import UnsupportedScan
from raki.export.numpy_files import write_npz
from raki.images import reconstruct
from raki.phantom.simulation import scan_header
from raki.prepare import preprocess
from raki.results import Source, write_results
from raki.results.dicom import write_dicom
from raki.scan import Geometry, Place
from raki.scan.prepared import open_prepared, write_prepared
from tests.formats.sorting.recordings import N, phantom, read, recorded

PLANES = {  # read, phase, slice
    "axial": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "sagittal": ((0, 1, 0), (0, 0, -1), (-1, 0, 0)),
    "coronal": ((1, 0, 0), (0, 0, -1), (0, 1, 0)),
}


def tilted(degrees):
    sine, cosine = np.sin(np.radians(degrees)), np.cos(np.radians(degrees))
    return (1, 0, 0), (0, cosine, sine), (0, -sine, cosine)


def stack(*places):
    """Positions and directions of each slice."""
    return [(position, directions) for position, directions in places]


AXIAL = PLANES["axial"]
STACKS = {
    "three planes": (stack(*(((0, 0, 0), directions) for directions in PLANES.values())), 3),
    "uneven gaps": (stack(*(((1, 2, z), AXIAL) for z in (0, 10, 35))), 2),
    "two groups": (stack(*(((0, 0, z), AXIAL) for z in (0, 5, 40, 45))), 2),
    "tilted": (stack(*(((0, 3 * z, 10 * z), tilted(10 * z)) for z in range(3))), 3),
    "sheared": (stack(*(((2 * z, 0, 5 * z), AXIAL) for z in range(3))), 3),
    "alternating": (
        stack(*(((0, 0, 5 * z), (AXIAL[0], AXIAL[1], tuple((-1) ** z * np.array(AXIAL[2])))) for z in range(3))),
        3,
    ),
}
EVEN = stack(*(((4, 5, 6 + 7 * z), AXIAL) for z in range(3)))


def scan_of(places, frames=1):
    """A scan whose slices lie so; of several frames each a centimetre farther along."""
    heads, lines = [], []
    kspace = phantom(n_slices=len(places))
    for frame in range(frames):
        some, samples = recorded(kspace, repetition=frame)
        slices = some["idx"]["slice"]
        for number, (position, directions) in enumerate(places):
            of_it = slices == number
            some["position"][of_it] = np.add(position, (0, 0, 10.0 * frame))
            for name, direction in zip(("read_dir", "phase_dir", "slice_dir"), directions, strict=True):
                some[name][of_it] = direction
        heads.append(some)
        lines += list(samples)
    return read((np.concatenate(heads), lines), header=scan_header(len(places), 4, N, 1))


def result(scan, folder):
    """Files of a zero-filled reconstruction; the prepared scan went through its file, as in the cloud."""
    write_prepared(preprocess(scan), folder / "prepared.h5")
    with open_prepared(folder / "prepared.h5") as prepared:
        made = reconstruct(prepared, method="zero_filled")
    files = write_results(made, folder / "out", source=Source(name="x", sha256="0", n_bytes=1))
    return made, {file.name: file for file in files}


@pytest.mark.parametrize("name", STACKS)
def test_each_image_says_where_it_was_acquired(name, tmp_path):
    places, n_niftis = STACKS[name]
    made, files = result(scan_of(places), tmp_path)
    # Slices stand in their spatial order, along the direction of the first.
    true = sorted(places, key=lambda place: float(np.dot(place[0], places[0][1][2])))
    with ismrmrd.Dataset(files["image.h5"], mode="r") as dataset:
        images = [dataset.read_image("image_0", index) for index in range(len(places))]
    dicoms = [pydicom.dcmread(path) for path in write_dicom(made, tmp_path / "dicom")]
    n_rows, n_columns = made.scan.geometry.matrix
    for image, dicom, (position, (along, phase, normal)) in zip(images, dicoms, true, strict=True):
        assert np.allclose(image.position, position, atol=0.01)
        for own, direction in ((image.read_dir, along), (image.phase_dir, phase), (image.slice_dir, normal)):
            assert np.allclose(own, direction, atol=1e-4)
        assert np.allclose(dicom.ImageOrientationPatient, [*along, *phase], atol=1e-4)
        row_mm, column_mm = dicom.PixelSpacing
        offset_mm = np.multiply(along, column_mm * (n_columns // 2)) + np.multiply(phase, row_mm * (n_rows // 2))
        assert np.allclose(np.add(dicom.ImagePositionPatient, offset_mm), position, atol=0.01)
        assert "SpacingBetweenSlices" not in dicom
    niftis = sorted(file for file in files if file.startswith("image") and file.endswith(".nii.gz"))
    assert niftis == [f"image-{number}.nii.gz" for number in range(1, n_niftis + 1)]
    assert "don't lie on one even grid" in files["report.html"].read_text().replace("&#39;", "'")
    centres = [centre for file in niftis for centre in centres_of(nibabel.load(files[file]), n_rows, n_columns)]
    assert np.allclose(centres, [position for position, _ in true], atol=0.01)
    with pytest.raises(UnsupportedScan, match="don't lie on one even grid"):
        write_npz(preprocess(scan_of(places)), tmp_path / "a.npz")


def centres_of(nifti, n_rows, n_columns):
    """Of each slice, in LPS."""
    for number in range(nifti.shape[2]):
        x, y, z, _ = nifti.affine @ (n_columns // 2, n_rows // 2, number, 1)
        yield -x, -y, z


def test_slices_on_an_even_grid_are_one_file_and_no_remark(tmp_path):
    made, files = result(scan_of(EVEN), tmp_path)
    assert made.scan.geometry.places == ()
    assert "image.nii.gz" in files
    assert "even grid" not in files["report.html"].read_text()
    (dicom, *_) = [pydicom.dcmread(path) for path in write_dicom(made, tmp_path / "dicom")]
    assert dicom.SpacingBetweenSlices == 7


def test_frames_of_a_table_that_moves_say_where_each_was(tmp_path):
    made, files = result(scan_of(EVEN, frames=2), tmp_path)
    dicoms = [pydicom.dcmread(path) for path in write_dicom(made, tmp_path / "dicom")]
    heights = [float(dicom.ImagePositionPatient[2]) for dicom in dicoms]
    assert heights == pytest.approx([6, 13, 20, 16, 23, 30], abs=0.01)
    assert not any(name.endswith(".nii.gz") for name in files)
    assert "The frames don't lie in the same places" in files["report.html"].read_text().replace("&#39;", "'")


places = st.builds(
    Place,
    position_mm=st.tuples(*[st.sampled_from([0.0, 5.0, 10.0, 12.0])] * 3),
    read_direction=st.just((1.0, 0.0, 0.0)),
    phase_direction=st.just((0.0, 1.0, 0.0)),
    slice_direction=st.sampled_from([(0.0, 0.0, 1.0), (0.0, 0.0, -1.0)]),
)


@given(st.lists(places, min_size=1, max_size=7))
def test_stacks_cover_each_slice_once_where_it_lies(slices):
    first = slices[0]
    geometry = Geometry(fov_mm=(9.0, 9.0, 5.0), matrix=(3, 3), slice_spacing_mm=5.0, **vars(first))
    geometry = geometry.with_places(tuple(slices), len(slices))
    covered = []
    for part, grid in geometry.stacks(len(slices)):
        assert grid.places == ()
        for number in range(part.start, part.stop):
            assert grid.place_of(number - part.start, part.stop - part.start).is_at(slices[number])
            covered.append(number)
    assert covered == list(range(len(slices)))
