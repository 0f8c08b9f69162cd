"""A prepared scan comes back bit for bit, and a failed write leaves the old one."""

from dataclasses import replace

import h5py
import numpy as np
import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from raki.errors import DamagedScan, NotAScan, PermanentError, UnsupportedScan
from raki.formats import read_scan
from raki.phantom.simulation import simulate_scan
from raki.prepare.preparation import preprocess
from raki.scan.prepared import open_prepared, read_prepared, write_prepared
from raki.scan.slices import LazySlices


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    path = tmp_path_factory.mktemp("raw") / "scan.h5"
    simulate_scan(path, n_slices=2, n_coils=3, matrix=32, acceleration=4, n_acs_lines=8)
    return preprocess(read_scan(path))


@pytest.fixture(scope="module")
def prepared(scan, tmp_path_factory):
    path = tmp_path_factory.mktemp("prepared") / "scan.h5"
    write_prepared(scan, path)
    return path


def assert_same(first, second):
    for name in ("kspace", "sampled", "noise"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
    plain = {"kspace": None, "sampled": None, "noise": None}
    assert {**vars(first), **plain} == {**vars(second), **plain}


def test_a_scan_comes_back_bit_for_bit(scan, prepared):
    assert_same(read_prepared(prepared), scan)


def test_a_scan_without_noise_or_calibration_comes_back(scan, tmp_path):
    bare = replace(scan, noise=None, acs_lines=None, prewhitened=False, header_xml="")
    write_prepared(bare, tmp_path / "bare.h5")
    back = read_prepared(tmp_path / "bare.h5")
    assert back.noise is None
    assert_same(replace(back, noise=scan.noise), replace(bare, noise=scan.noise))


def test_a_scan_with_oversampled_phase_encode_comes_back(scan, tmp_path):
    wide = replace(scan, geometry=replace(scan.geometry, phase_oversampling=40 / 32))
    write_prepared(wide, tmp_path / "wide.h5")
    assert_same(read_prepared(tmp_path / "wide.h5"), wide)


def test_a_scan_with_an_asymmetric_echo_comes_back(scan, tmp_path):
    short = replace(scan, echo=(6, 32))
    write_prepared(short, tmp_path / "short.h5")
    assert_same(read_prepared(tmp_path / "short.h5"), short)


def test_a_series_comes_back_with_its_step(scan, tmp_path):
    write_prepared(replace(scan, frame_step_s=2.0), tmp_path / "series.h5")
    assert read_prepared(tmp_path / "series.h5").frame_step_s == 2.0


@pytest.mark.parametrize("echo", [(-1, 32), (6, 33), (6, 6)])
def test_an_echo_that_lies_outside_the_readout_is_damage(scan, tmp_path, echo):
    write_prepared(replace(scan, echo=echo), tmp_path / "short.h5")
    with pytest.raises(DamagedScan):
        read_prepared(tmp_path / "short.h5")


def test_same_scan_same_bytes_and_nothing_left_beside(scan, prepared, tmp_path):
    write_prepared(scan, tmp_path / "again.h5")
    assert (tmp_path / "again.h5").read_bytes() == prepared.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["again.h5"]


def unreadable(index):
    raise ValueError("unreadable")


def test_a_failed_write_leaves_the_old_file_and_no_other(scan, prepared, tmp_path):
    path = tmp_path / "scan.h5"
    path.write_bytes(prepared.read_bytes())
    with pytest.raises(ValueError, match="unreadable"):
        write_prepared(replace(scan, kspace=LazySlices(scan.kspace.shape, unreadable)), path)
    assert_same(read_prepared(path), scan)
    assert [one.name for one in tmp_path.iterdir()] == ["scan.h5"]


def test_the_file_describes_itself(prepared):
    with h5py.File(prepared) as file:
        assert file.attrs["format"] == b"raki prepared scan"
        assert file["kspace"].attrs["axes"] == b"slice coil line ro"
        assert file["kspace"].attrs["dc"] == 16
        assert file["kspace"].chunks[0] == 1
        assert file["kspace"].shape[2] == file["sampled"][:].sum()


def test_another_version_is_refused_by_number(prepared, tmp_path):
    path = tmp_path / "later.h5"
    path.write_bytes(prepared.read_bytes())
    with h5py.File(path, "r+") as file:
        file.attrs["version"] = 2
    with pytest.raises(UnsupportedScan, match="layout version 2; this raki reads version 10"):
        read_prepared(path)


TEXT = h5py.string_dtype()


@pytest.mark.parametrize(
    "put",
    [
        lambda file: file.attrs.create("prewhitened", "x" * 99, dtype=TEXT),
        lambda file: file["geometry"].attrs.create("fov_mm", ["x" * 99] * 3, dtype=TEXT),
        lambda file: (file.__delitem__("noise"), file.create_dataset("noise", data=["x" * 99], dtype=TEXT)),
    ],
    ids=["attribute", "geometry", "dataset"],
)
def test_the_librarys_heaps_are_never_looked_into(prepared, put, tmp_path):
    """In one that is damaged it goes round for ever: here an object of no bytes follows itself."""
    path = tmp_path / "heaped.h5"
    path.write_bytes(prepared.read_bytes())
    with h5py.File(path, "r+") as file:
        put(file)
    content = bytearray(path.read_bytes())
    heap = content.index(b"GCOL")
    content[heap + 16 : heap + 32] = bytes(16)
    path.write_bytes(content)
    with pytest.raises(DamagedScan, match="of any length"):
        read_prepared(path)


CONTRADICTIONS = {
    "fewer lines than k-space has": lambda file: file["sampled"].__setitem__(slice(3), False),
    "no mask": lambda file: (file.__delitem__("sampled"), file.__setitem__("sampled", [1, 2, 3])),
    "images without a frame": lambda file: (
        file.__setitem__("more", np.repeat(file["frames"][:], 7, axis=0)),
        file.__delitem__("frames"),
        file.move("more", "frames"),
    ),
    "calibration beyond k-space": lambda file: file.attrs.__setitem__("acs_lines", (0, 10_000)),
    "calibration before k-space": lambda file: file.attrs.__setitem__("acs_lines", (-3, 5)),
    "k-space of other numbers": lambda file: (
        file.__setitem__("real", file["kspace"][:].real),
        file.__delitem__("kspace"),
        file.move("real", "kspace"),
    ),
    "noise of other coils": lambda file: (
        file.__setitem__("fewer", file["noise"][:1]),
        file.__delitem__("noise"),
        file.move("fewer", "noise"),
    ),
    "points of frames of a 2-D scan": lambda file: file.__setitem__("sampled_by_frame", np.ones((1, 1, 1), bool)),
    "lines of images by another mask": lambda file: file.__setitem__("sampled_by_image", np.ones((1, 1), bool)),
    "calibration lines of other coils": lambda file: file.__setitem__("acs", np.ones((1, 1, 1, 1), np.complex64)),
}


@pytest.mark.parametrize("contradiction", CONTRADICTIONS)
def test_parts_that_contradict_each_other_are_damage(prepared, contradiction, tmp_path):
    path = tmp_path / "odd.h5"
    path.write_bytes(prepared.read_bytes())
    with h5py.File(path, "r+") as file:
        CONTRADICTIONS[contradiction](file)
    with pytest.raises(DamagedScan, match="truncated or damaged"), open_prepared(path):
        pass


def test_texts_come_back_whatever_they_hold(scan, tmp_path):
    odd = replace(scan, header_xml="é\0 \n\0", remarks=("", "ü" * 500, "\0"))
    write_prepared(odd, tmp_path / "odd.h5")
    again = read_prepared(tmp_path / "odd.h5")
    assert (again.header_xml, again.remarks) == (odd.header_xml, odd.remarks)


def test_other_files_are_no_prepared_scans(tmp_path):
    (tmp_path / "text.h5").write_bytes(b"text")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["kspace"] = np.zeros(3)
    for name in ("missing.h5", "text.h5", "other.h5"):
        with pytest.raises(NotAScan, match="prepare"):
            read_prepared(tmp_path / name)


def test_a_flipped_bit_in_the_samples_is_noticed(scan, prepared, tmp_path):
    content = bytearray(prepared.read_bytes())
    at = content.find(scan.kspace[1][:, scan.sampled].tobytes()[:64])
    assert at > 0
    content[at + 5] ^= 1
    (tmp_path / "flipped.h5").write_bytes(content)
    with pytest.raises(DamagedScan, match="damaged"):
        read_prepared(tmp_path / "flipped.h5")


@seed(1)
@settings(max_examples=40, deadline=None)
@given(fraction=st.floats(0, 0.9999))
def test_truncated_at_any_byte_is_one_clear_sentence(prepared, tmp_path_factory, fraction):
    content = prepared.read_bytes()
    path = tmp_path_factory.mktemp("cut") / "cut.h5"
    path.write_bytes(content[: int(fraction * len(content))])
    with pytest.raises(PermanentError) as raised:
        read_prepared(path)
    assert str(path) not in str(raised.value)
