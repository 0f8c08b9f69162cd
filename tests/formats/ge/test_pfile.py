"""A GE P-file is read as it was acquired, or refused in one sentence, whatever its bytes."""

import struct
from contextlib import suppress

import ismrmrd
import numpy as np
import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from raki.archive import START_BYTES
from raki.errors import DamagedScan, PermanentError, UnsupportedScan
from raki.formats.acquisitions import HEAD, Acquisitions
from raki.formats.ge.pfile import GE_PFILE
from raki.formats.scan_reader import sorted_scan
from raki.scan.header import parse_header
from tests.formats.ge.ge_files import FOV_MM, HEADER_BYTES, SPACING_MM, p_file

N_SLICES, N_COILS, N_LINES, N_RO = 3, 2, 10, 8


def integers(shape=(N_SLICES, N_COILS, N_LINES, N_RO), *, largest=1000, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(-largest, largest, shape) + 1j * rng.integers(-largest, largest, shape)


@pytest.fixture
def stored(tmp_path):
    def write(content):
        path = tmp_path / "P00001.7"
        path.write_bytes(content)
        return path

    return write


def kspace(path):
    with GE_PFILE.open(path) as acquisitions:
        return sorted_scan(acquisitions).in_memory().kspace


@pytest.mark.parametrize("revision", [0, 1])
@pytest.mark.parametrize("point_size", [2, 4])
@pytest.mark.parametrize("is_chopped", [False, True])
def test_what_was_recorded_comes_back_in_the_order_of_space(stored, revision, point_size, is_chopped):
    samples = integers(largest=30_000 if point_size == 2 else 10_000_000)
    content = p_file(samples, revision=revision, point_size=point_size, is_chopped=is_chopped, stored_order=(0, 2, 1))
    # Read x phase points to inferior, and the table goes to superior.
    np.testing.assert_array_equal(kspace(stored(content)), samples[::-1].astype(np.complex64))


def test_an_open_file_is_acquisitions(stored):
    with GE_PFILE.open(stored(p_file(integers()))) as acquisitions:
        assert isinstance(acquisitions, Acquisitions)
        assert acquisitions.heads.dtype == HEAD
        assert acquisitions.heads.shape == (N_SLICES * N_LINES,)


@given(st.lists(st.integers(0, N_SLICES * N_LINES - 1), max_size=30))
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_lines_in_any_order(stored, wanted):
    samples = integers().astype(np.complex64)
    lines = samples.swapaxes(1, 2).reshape(-1, N_COILS, N_RO)
    with GE_PFILE.open(stored(p_file(samples, is_chopped=True))) as acquisitions:
        found = list(acquisitions.samples(np.array(wanted, int)))
    assert len(found) == len(wanted)
    for index, one in zip(wanted, found, strict=True):
        np.testing.assert_array_equal(one, lines[index])


def test_reference_lines_are_marked_and_no_lines_of_the_image(stored):
    samples = integers()
    path = stored(p_file(samples, n_reference=4))
    with GE_PFILE.open(path) as acquisitions:
        heads = acquisitions.heads.reshape(N_SLICES, N_LINES)
        assert parse_header(acquisitions.header_xml).encoding[0].echoTrainLength == 4
    is_reference = heads["flags"] & np.uint64(1 << (ismrmrd.ACQ_IS_PHASECORR_DATA - 1)) != 0
    np.testing.assert_array_equal(is_reference, np.broadcast_to(np.arange(N_LINES) >= 6, is_reference.shape))
    np.testing.assert_array_equal(kspace(path), samples[::-1, :, :6].astype(np.complex64))


@pytest.mark.parametrize("rotation", [0, 1, 2, 3])
@pytest.mark.parametrize("transpose", [0, 3])
def test_directions_don_t_depend_on_how_the_scanner_turned_its_image(stored, rotation, transpose):
    """LPS: readout to the right, phase-encode to posterior, read x phase to inferior."""
    path = stored(p_file(integers(), rotation=rotation, transpose=transpose))
    with GE_PFILE.open(path) as acquisitions:
        heads = acquisitions.heads
        geometry = sorted_scan(acquisitions).geometry
    np.testing.assert_allclose(heads["read_dir"][0], (-1, 0, 0), atol=1e-6)
    np.testing.assert_allclose(heads["phase_dir"][0], (0, 1, 0), atol=1e-6)
    np.testing.assert_allclose(heads["slice_dir"][0], (0, 0, -1), atol=1e-6)
    np.testing.assert_allclose(heads["position"][0], (0, 0, -30), atol=1e-3)
    np.testing.assert_allclose(heads["position"][-1], (0, 0, -30 + (N_SLICES - 1) * SPACING_MM), atol=1e-3)
    assert geometry.slice_spacing_mm == pytest.approx(SPACING_MM)


def test_the_header_tells_what_the_p_file_tells(stored):
    with GE_PFILE.open(stored(p_file(integers()))) as acquisitions:
        header = parse_header(acquisitions.header_xml)
        heads = acquisitions.heads
    assert header.subjectInformation.patientName == "Doe^Jane"
    assert header.subjectInformation.patientID == "P-1234"
    assert header.subjectInformation.patientGender == "F"
    assert header.subjectInformation.patientBirthdate is None  # 1950 had no 29th of February
    assert str(header.measurementInformation.seriesDate) == "2018-04-11"
    assert header.measurementInformation.patientPosition.value == "HFS"
    assert header.acquisitionSystemInformation.systemFieldStrength_T == 3
    assert header.acquisitionSystemInformation.receiverChannels == N_COILS
    assert header.acquisitionSystemInformation.institutionName is None
    assert header.sequenceParameters.TR == [300]
    assert header.sequenceParameters.TE == [4]
    assert header.sequenceParameters.TI == []
    assert header.sequenceParameters.flipAngle_deg == [15]
    space = header.encoding[0].encodedSpace
    assert (space.matrixSize.x, space.matrixSize.y, space.fieldOfView_mm.x) == (N_RO, N_LINES, FOV_MM)
    assert space.fieldOfView_mm.z == 5
    assert heads["sample_time_us"][0] == 20
    assert heads["center_sample"][0] == N_RO // 2


def test_a_patient_on_the_side_leaves_the_position_out(stored):
    with GE_PFILE.open(stored(p_file(integers(), position=4))) as acquisitions:
        assert parse_header(acquisitions.header_xml).measurementInformation is None


@pytest.mark.parametrize(
    ("number", "code"), [(7.6, ">f"), (9.0, ">f"), (11.0, "<f"), (24.0, "<f"), (26.0, "<f"), (30.1, "<f")]
)
def test_another_revision_is_recognised_and_refused_by_its_number(stored, number, code):
    content = bytearray(p_file(integers()))
    struct.pack_into(code, content, 0, number)
    assert GE_PFILE.recognises(bytes(content[:START_BYTES]))
    refused = pytest.raises(
        UnsupportedScan, match=rf"revision {number:.3f}; raki reads the revisions 20.006 and 26.002"
    )
    with refused, GE_PFILE.open(stored(content)):
        pass


@pytest.mark.parametrize("start", [b"", b"\0" * 4096, b"GE_MED_NMR", b"x" * 4096, b"\x89HDF\r\n\x1a\n" * 20])
def test_other_files_are_not_recognised(start):
    assert not GE_PFILE.recognises(start)


def test_a_revision_without_the_mark_is_not_recognised():
    assert not GE_PFILE.recognises(p_file(integers())[:START_BYTES].replace(b"GE_MED_NMR", b"GE_MED_XYZ"))


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"n_passes": 2}, "several passes"),
        ({"n_echoes": 2}, "several echoes"),
        ({"n_excitations": 2}, "several excitations"),
        ({"asset": 1}, "ASSET"),
        ({"second_group": 3}, "several groups of receivers"),
        ({"dacq_control": 2}, "flipped lines"),
        ({"data_collect_type": 64}, "data_collect_type 0x40"),
        ({"data_collect_type1": 0x400}, "data_collect_type1 0x400"),
        ({"phase_scale": 0.75}, "scaled steps"),
        ({"dim_y": 16}, "another matrix"),
        ({"transpose": -1}, "turned in an unknown way"),
    ],
)
def test_what_could_not_be_tested_is_refused_by_its_name(stored, changed, named):
    with pytest.raises(UnsupportedScan, match=named), GE_PFILE.open(stored(p_file(integers(), **changed))):
        pass


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"off_data": 4096}, "data from byte 4096"),
        ({"n_slices": 0}, "0 slices"),
        ({"n_slices": 4}, "its header announces"),
        ({"frame_size": 0}, "0 samples a line"),
        ({"da_yres": 17}, "17 stored lines"),
        ({"last_receiver": -3}, "receivers 0 to -3"),
        ({"last_receiver": 7}, "its header announces"),
        ({"fov": 100.0}, "corners are"),
        ({"fov": float("nan")}, "corners are"),
    ],
)
def test_a_header_that_contradicts_itself_is_damage(stored, changed, named):
    with pytest.raises(DamagedScan, match=named), GE_PFILE.open(stored(p_file(integers(), **changed))):
        pass


def test_slices_that_are_named_twice_are_damage(stored):
    samples = integers()
    content = bytearray(p_file(samples))
    struct.pack_into("<h", content, 36864 + 72 + 2, 1)
    with pytest.raises(DamagedScan, match="table of slices"), GE_PFILE.open(stored(content)):
        pass


@pytest.mark.parametrize(("axis", "named"), [(0, "shifted against each other"), (1, "not parallel")])
def test_slices_that_are_no_stack_are_refused(stored, axis, named):
    content = bytearray(p_file(integers()))
    corners = np.frombuffer(content, "<f4", 9, 36864 + 72 + 4).reshape(3, 3).copy()
    corners[:, 0] += 20 if axis == 0 else (0, 0, 20)
    content[36864 + 72 + 4 : 36864 + 72 + 40] = corners.tobytes()
    with pytest.raises(UnsupportedScan, match=named), GE_PFILE.open(stored(content)):
        pass


@seed(1)
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(n_bytes=st.integers(4, 400_000))
def test_truncated_at_any_byte_is_damage(stored, n_bytes):
    content = p_file(integers((3, 8, 32, 64)))
    path = stored(content[: min(n_bytes, len(content) - 1)])
    with pytest.raises(DamagedScan) as raised, GE_PFILE.open(path):
        pass
    assert "\n" not in str(raised.value)
    assert str(path) not in str(raised.value)


@seed(2)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    position=st.integers(0, 1500) | st.integers(36864, 37100) | st.integers(198000, 199700), value=st.integers(0, 255)
)
def test_any_changed_byte_gives_a_scan_or_one_sentence(stored, position, value):
    content = bytearray(p_file(integers()))
    content[position] = value
    with suppress(PermanentError):
        assert np.isfinite(kspace(stored(content))).all()


@seed(3)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    position=st.integers(4, HEADER_BYTES[1] - 4096),
    n_bytes=st.sampled_from([4, 64, 4096]),
    fill=st.sampled_from([0, 127, 255]),
)
def test_an_overwritten_part_gives_a_scan_or_one_sentence(stored, position, n_bytes, fill):
    content = bytearray(p_file(integers()))
    content[position : position + n_bytes] = bytes([fill]) * n_bytes
    with suppress(PermanentError):
        assert np.isfinite(kspace(stored(content))).all()


def test_the_gradient_echo_scan_equals_the_sorted_kspace_that_others_made_of_it(real_scans):
    """The same numbers; the slices run to posterior, against the order of the scanner's table."""
    expected = np.load(real_scans / "kspace/phantom8_ge_7slices.npy")
    path = real_scans / "vendor/P20480_GRE_rev26.7"
    np.testing.assert_array_equal(kspace(path), expected[::-1])
    with path.open("rb") as file:
        assert GE_PFILE.recognises(file.read(START_BYTES))


@pytest.mark.parametrize("name", ["P20480_GRE_rev26.7", "P12800_rev20.7"])
def test_the_objects_lie_in_the_middle_without_ghosts(real_scans, name):
    """A wrong sign of the odd lines moves them by half the field of view, a missed line leaves a ghost there."""
    scan = kspace(real_scans / "vendor" / name)
    images = np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(scan, axes=(-2, -1))), axes=(-2, -1))
    energy = (np.abs(images) ** 2).sum(axis=(0, 1))
    rows = energy.sum(axis=1)
    assert rows[:8].sum() + rows[-8:].sum() < 0.01 * rows.sum()
    assert abs(rows @ np.arange(len(rows)) / rows.sum() - len(rows) / 2) < 10


def shares_of_coils(path):
    """Of each coil in the image's energy, `slice coil row column`, in space."""
    scan = kspace(path)
    images = np.abs(np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(scan, axes=(-2, -1))), axes=(-2, -1))) ** 2
    total = images.sum(axis=1, keepdims=True)
    return np.where(total > 0.04 * total.max(), images / total, 0)


def centres(shares, axis):
    """Where each coil sees best along one axis, from the middle of all."""
    profiles = np.moveaxis(shares, (1, axis), (0, 1)).sum(axis=(2, 3))
    profiles = profiles / profiles.sum(axis=0).clip(min=1e-9)
    found = profiles @ np.arange(profiles.shape[1]) / profiles.sum(axis=1)
    return found - found.mean()


def test_a_head_coil_lies_the_same_in_a_coronal_and_an_axial_scan(real_scans):
    """Each element is at the same place around the patient: the directions agree with each other and with the slices.

    Coronal: rows from right to left, slices to posterior. Axial: columns from left to right, rows to posterior.
    """
    coronal = shares_of_coils(real_scans / "vendor/P20480_GRE_rev26.7")
    axial = shares_of_coils(real_scans / "vendor/P12800_rev20.7")[-1:]
    assert np.corrcoef(centres(coronal, 2), -centres(axial, 3))[0, 1] > 0.9
    assert np.corrcoef(centres(coronal, 0), centres(axial, 2))[0, 1] > 0.9


def test_the_real_scans_directions(real_scans):
    directions = {}
    for name in ("P20480_GRE_rev26.7", "P12800_rev20.7"):
        with GE_PFILE.open(real_scans / "vendor" / name) as acquisitions:
            head = acquisitions.heads[0]
        directions[name] = [head[field].round(3).tolist() for field in ("read_dir", "phase_dir", "slice_dir")]
    assert directions["P20480_GRE_rev26.7"] == [[0, 0, 1], [1, 0, 0], [0, 1, 0]]
    assert directions["P12800_rev20.7"] == [[-1, 0, 0], [0, 1, 0], [0, 0, -1]]
