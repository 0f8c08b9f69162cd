"""What is written is read as it was: the samples at their places, and all that the format can say."""

import zipfile
from dataclasses import replace

import h5py
import ismrmrd
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raki.errors import UnsupportedScan
from raki.export import WRITERS
from raki.formats.arrays.bart import BART_CFL
from raki.formats.arrays.numpy_files import NUMPY_NPY, NUMPY_NPZ
from raki.formats.ismrmrd.hdf5 import ISMRMRD_HDF5
from raki.formats.sorting.placement import image_geometry
from raki.phantom.simulation import complex_noise, scan_header
from raki.scan import Frame, Geometry, LazySlices, Scan
from raki.scan.header import centre_line, matrix_size, parse_header, receiver_noise_bandwidth

READERS = {".h5": ISMRMRD_HDF5, ".npz": NUMPY_NPZ, ".npy": NUMPY_NPY, ".hdr": BART_CFL}
COUNTERS = ("contrast", "phase", "repetition", "set", "slice", "kspace_encode_step_1")
GEOMETRY = Geometry(
    fov_mm=(220.0, 165.0, 4.0),
    matrix=(12, 8),
    phase_oversampling=1.25,
    slice_spacing_mm=5.5,
    read_direction=(0.0, 0.6, 0.8),
    phase_direction=(0.0, -0.8, 0.6),
    slice_direction=(1.0, 0.0, 0.0),
    position_mm=(-11.0, 2.0, 3.0),
)

ONE_FRAME = (Frame(),)


def small_scan(*, n_slices=2, n_coils=3, n_pe=15, n_ro=16, frames=ONE_FRAME, seed=0, **changes):
    rng = np.random.default_rng(seed)
    sampled = np.arange(n_pe) % 2 == 1
    sampled[5:10] = True
    kspace = complex_noise(rng, (len(frames) * n_slices, n_coils, n_pe, n_ro))
    kspace[:, :, ~sampled] = 0
    scan = Scan(
        kspace=kspace,
        sampled=sampled,
        acs_lines=(6, 9),
        noise=complex_noise(rng, (n_coils, 40)),
        noise_dwell_ratio=0.25,
        readout_oversampling=2.0,
        geometry=GEOMETRY,
        header_xml=ismrmrd.xsd.ToXML(scan_header(n_slices, n_coils, 32, 2)),
        frames=frames,
    )
    return replace(scan, **changes)


def with_flag(heads, flag):
    return np.flatnonzero(heads["flags"] & np.uint64(1 << (flag - 1)))


def written(scan, path, suffix):
    WRITERS[suffix](scan, path.with_suffix(suffix))
    return READERS[suffix].open(path.with_suffix(suffix))


def places(heads):
    return list(zip(*(heads["idx"][name].tolist() for name in COUNTERS), strict=True))


def require_same_image(acquisitions, scan):
    """The scan's sampled lines and no others, every sample the same."""
    image = np.arange(len(acquisitions.heads))
    for flag in (ismrmrd.ACQ_IS_NOISE_MEASUREMENT, ismrmrd.ACQ_IS_PARALLEL_CALIBRATION):
        image = np.setdiff1d(image, with_flag(acquisitions.heads, flag))
    expected = {}
    for number, kspace in enumerate(scan.kspace):
        frame = scan.frames[number // scan.n_slices]
        counters = (frame.contrast, frame.phase, frame.repetition, frame.set, number % scan.n_slices)
        expected |= {(*counters, int(line)): kspace[:, line] for line in np.flatnonzero(scan.sampled)}
    found = places(acquisitions.heads[image])
    assert sorted(found) == sorted(expected)
    for place, samples in zip(found, acquisitions.samples(image), strict=True):
        np.testing.assert_array_equal(samples, expected[place])
    encoding = parse_header(acquisitions.header_xml).encoding[0]
    assert matrix_size(encoding.encodedSpace) == (scan.kspace.shape[3], scan.kspace.shape[2], 1)
    assert centre_line(encoding) == scan.kspace.shape[2] // 2


@pytest.mark.parametrize("suffix", READERS)
def test_samples_are_read_at_the_places_where_they_were(tmp_path, suffix):
    scan = small_scan()
    with written(scan, tmp_path / "scan", suffix) as acquisitions:
        require_same_image(acquisitions, scan)


@settings(max_examples=6)
@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(11, 14), st.integers(8, 11)),
    suffix=st.sampled_from([*READERS]),
    seed=st.integers(0, 99),
)
def test_a_scan_of_any_shape_is_read_as_it_was(tmp_path_factory, shape, suffix, seed):
    n_slices, n_coils, n_pe, n_ro = shape
    scan = small_scan(n_slices=n_slices, n_coils=n_coils, n_pe=n_pe, n_ro=n_ro, seed=seed, header_xml="")
    with written(scan, tmp_path_factory.mktemp("any") / "scan", suffix) as acquisitions:
        require_same_image(acquisitions, scan)


@pytest.mark.parametrize("suffix", READERS)
def test_slices_are_asked_for_one_by_one_and_once(tmp_path, suffix):
    scan = small_scan(n_slices=3)
    asked = []
    lazy = LazySlices(scan.kspace.shape, lambda index: asked.append(index) or scan.kspace[index])
    with written(replace(scan, kspace=lazy), tmp_path / "scan", suffix) as acquisitions:
        require_same_image(acquisitions, scan)
    assert asked == [0, 1, 2]


@pytest.mark.parametrize("suffix", [".h5", ".npz", ".npy"])
def test_geometry_and_calibration_are_read_as_they_were(tmp_path, suffix):
    scan = small_scan()
    with written(scan, tmp_path / "scan", suffix) as acquisitions:
        heads, header = acquisitions.heads, parse_header(acquisitions.header_xml)
    image = np.setdiff1d(np.arange(len(heads)), with_flag(heads, ismrmrd.ACQ_IS_NOISE_MEASUREMENT))
    _, examples = np.unique(heads["idx"]["slice"][image], return_index=True)
    found = image_geometry(heads[image][examples], header.encoding[0])
    assert (found.matrix, found.phase_oversampling) == (GEOMETRY.matrix, GEOMETRY.phase_oversampling)
    for name in ("fov_mm", "position_mm", "read_direction", "phase_direction", "slice_direction", "slice_spacing_mm"):
        assert getattr(found, name) == pytest.approx(getattr(GEOMETRY, name))
    calibrates = with_flag(heads, ismrmrd.ACQ_IS_PARALLEL_CALIBRATION_AND_IMAGING)
    assert sorted(set(heads["idx"]["kspace_encode_step_1"][calibrates].tolist())) == [6, 7, 8]
    assert header.acquisitionSystemInformation.systemFieldStrength_T == pytest.approx(2.89)
    assert receiver_noise_bandwidth(header) == pytest.approx(0.79)


@pytest.mark.parametrize("suffix", [".h5", ".npz"])
@pytest.mark.parametrize("n_samples", [40, 70_000])
def test_noise_is_read_as_it_was_with_the_ratio_of_its_dwell_time(tmp_path, suffix, n_samples):
    scan = small_scan(noise=complex_noise(np.random.default_rng(1), (3, n_samples)))
    with written(scan, tmp_path / "scan", suffix) as acquisitions:
        heads = acquisitions.heads
        noise = with_flag(heads, ismrmrd.ACQ_IS_NOISE_MEASUREMENT)
        np.testing.assert_array_equal(np.hstack(list(acquisitions.samples(noise))), scan.noise)
    image = np.setdiff1d(np.arange(len(heads)), noise)
    ratio = heads["sample_time_us"][image] / heads["sample_time_us"][noise[0]]
    np.testing.assert_allclose(ratio, 0.25, rtol=1e-6)


@pytest.mark.parametrize("suffix", [".h5", ".npz"])
def test_separate_calibration_is_read_as_it_was(tmp_path, suffix):
    frames = (Frame(), Frame(repetition=1))
    acs = np.tile(complex_noise(np.random.default_rng(2), (2, 3, 4, 16)), (2, 1, 1, 1))
    scan = small_scan(acs=acs, acs_lines=None, frames=frames)
    with written(scan, tmp_path / "scan", suffix) as acquisitions:
        apart = with_flag(acquisitions.heads, ismrmrd.ACQ_IS_PARALLEL_CALIBRATION)
        recorded = np.stack(list(acquisitions.samples(apart)))
        idx = acquisitions.heads["idx"][apart]
        encoding = parse_header(acquisitions.header_xml).encoding[0]
        require_same_image(acquisitions, scan)
    # Line 7 of 15 is the centre, and the third of four calibration lines.
    assert idx["kspace_encode_step_1"].tolist() == [5, 6, 7, 8] * 2
    assert idx["slice"].tolist() == [0] * 4 + [1] * 4
    np.testing.assert_array_equal(recorded.reshape(2, 4, 3, 16).transpose(0, 2, 1, 3), acs[:2])
    assert encoding.parallelImaging.calibrationMode.value == "separate"


@pytest.mark.parametrize("suffix", READERS)
def test_frames_keep_their_counters(tmp_path, suffix):
    frames = tuple(Frame(contrast=c, phase=p, repetition=r) for c in range(2) for p in range(2) for r in range(3))
    scan = small_scan(frames=frames)
    with written(scan, tmp_path / "scan", suffix) as acquisitions:
        require_same_image(acquisitions, scan)


def test_frames_with_gaps_are_written_only_where_each_line_has_its_counters(tmp_path):
    scan = small_scan(frames=(Frame(), Frame(contrast=2, repetition=1), Frame(contrast=2, repetition=4)))
    with written(scan, tmp_path / "scan", ".h5") as acquisitions:
        require_same_image(acquisitions, scan)
    for suffix in (".npz", ".npy", ".cfl"):
        with pytest.raises(UnsupportedScan, match=r"3 frames, .* write ISMRMRD"):
            WRITERS[suffix](scan, tmp_path / f"array{suffix}")
    with pytest.raises(UnsupportedScan, match="2 frames"):
        WRITERS[".cfl"](small_scan(frames=(Frame(), Frame(set=1))), tmp_path / "array.cfl")
    assert [one.name for one in tmp_path.iterdir()] == ["scan.h5"]


def test_the_header_is_kept_but_for_its_encoding(tmp_path):
    name = "Müller^Zoë"
    scan = small_scan()
    scan = replace(scan, header_xml=scan.header_xml.replace("Phantom^Digital", name).replace('"ascii"', '"UTF-8"'))
    with written(scan, tmp_path / "scan", ".h5") as acquisitions:
        header = parse_header(acquisitions.header_xml)
    assert header.subjectInformation.patientName == name
    assert header.sequenceParameters.TE == [4.6]
    assert header.encoding[0].parallelImaging.accelerationFactor.kspace_encoding_step_1 == 2
    assert header.acquisitionSystemInformation.receiverChannels == 3


@pytest.mark.parametrize("suffix", [".h5", ".npz"])
def test_whitened_noise_isnt_scaled_again_by_the_receivers_bandwidth(tmp_path, suffix):
    with written(small_scan(prewhitened=True, noise_dwell_ratio=1.0), tmp_path / "scan", suffix) as acquisitions:
        assert receiver_noise_bandwidth(parse_header(acquisitions.header_xml)) == 1.0
        assert not acquisitions.heads["sample_time_us"].any()


def test_other_programs_read_what_is_written(tmp_path):
    scan = small_scan()
    for suffix in (".h5", ".npz", ".npy", ".cfl"):
        WRITERS[suffix](scan, tmp_path / f"scan{suffix}")
    np.testing.assert_array_equal(np.load(tmp_path / "scan.npy"), scan.kspace)
    with np.load(tmp_path / "scan.npz") as archive:
        np.testing.assert_array_equal(archive["kspace"], scan.kspace)
        np.testing.assert_array_equal(archive["noise"], scan.noise)
        assert str(archive["axes"]) == "slice coil pe ro"
    dimensions = [int(n) for n in (tmp_path / "scan.hdr").read_text().splitlines()[1].split()]
    assert dimensions == [16, 15, 1, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 1, 1]
    samples = np.fromfile(tmp_path / "scan.cfl", np.complex64).reshape(dimensions, order="F")
    np.testing.assert_array_equal(samples.squeeze().transpose(3, 2, 1, 0), scan.kspace)
    with ismrmrd.Dataset(tmp_path / "scan.h5", mode="r") as dataset:
        last = dataset.read_acquisition(dataset.number_of_acquisitions() - 1)
    np.testing.assert_array_equal(last.data, scan.kspace[1, :, 13])
    assert last.isFlagSet(ismrmrd.ACQ_LAST_IN_SLICE)
    assert last.isFlagSet(ismrmrd.ACQ_LAST_IN_MEASUREMENT)


@pytest.mark.parametrize("suffix", READERS)
def test_the_same_scan_gives_the_same_bytes(tmp_path, suffix):
    for name in ("first", "second"):
        WRITERS[suffix](small_scan(), tmp_path / f"{name}{suffix}")
    first, second = (sorted(tmp_path.glob(f"{name}.*")) for name in ("first", "second"))
    assert [one.read_bytes() for one in first] == [one.read_bytes() for one in second]


@pytest.mark.parametrize("suffix", WRITERS)
def test_a_scan_that_breaks_off_leaves_what_was_there(tmp_path, suffix):
    def load(index):
        if index:
            raise OSError("the disk is gone")
        return np.ones((3, 15, 16), np.complex64)

    WRITERS[suffix](small_scan(), tmp_path / f"scan{suffix}")
    before = {one: one.read_bytes() for one in tmp_path.iterdir()}
    with pytest.raises(OSError, match="the disk is gone"):
        WRITERS[suffix](small_scan(kspace=LazySlices((2, 3, 15, 16), load)), tmp_path / f"scan{suffix}")
    assert {one: one.read_bytes() for one in tmp_path.iterdir()} == before


def test_no_array_is_packed_so_that_it_can_be_read_where_it_stands(tmp_path):
    WRITERS[".npz"](small_scan(), tmp_path / "scan.npz")
    with zipfile.ZipFile(tmp_path / "scan.npz") as archive:
        assert {member.compress_type for member in archive.infolist()} == {zipfile.ZIP_STORED}


def test_ismrmrd_names_the_same_slices_in_space(tmp_path):
    WRITERS[".h5"](small_scan(n_slices=3), tmp_path / "scan.h5")
    with h5py.File(tmp_path / "scan.h5") as file:
        heads = file["dataset/data"].fields("head")[:]
    assert heads["scan_counter"].tolist() == list(range(len(heads)))
    image = heads[np.setdiff1d(np.arange(len(heads)), with_flag(heads, ismrmrd.ACQ_IS_NOISE_MEASUREMENT))]
    np.testing.assert_allclose(image["position"][:, 0], -11 + 5.5 * image["idx"]["slice"])
