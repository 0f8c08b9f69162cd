"""k-space in arrays: whatever holds them and in whatever order of axes, the same lines come out, or one sentence."""

import json
import re
import struct
import tempfile
import zipfile
import zlib
from contextlib import suppress
from pathlib import Path

import h5py
import ismrmrd
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ismrmrd import xsd

from raki.errors import DamagedScan, NotAScan, PermanentError, UnsupportedScan
from raki.formats.acquisitions import START_BYTES, Acquisitions
from raki.formats.arrays import npz_members
from raki.formats.arrays import scan as array_scan
from raki.formats.arrays.bart import BART_CFL
from raki.formats.arrays.description import ALL_AXES, Description
from raki.formats.arrays.fastmri import FASTMRI
from raki.formats.arrays.numpy_files import NUMPY_NPY, NUMPY_NPZ
from raki.formats.arrays.scan import ArrayAcquisitions
from raki.formats.ismrmrd.header import centre_line, field_of_view_mm, matrix_size, parse_header
from raki.formats.placement import image_geometry
from raki.simulation import complex_noise, scan_header

AXES = ("slice", "coil", "pe", "ro")
COUNTERS = (
    "slice",
    "kspace_encode_step_1",
    "kspace_encode_step_2",
    "contrast",
    "phase",
    "repetition",
    "set",
    "average",
)
# Read by content, and written here as their own programs write them.
FORMATS = {"npy": NUMPY_NPY, "npz": NUMPY_NPZ, "bart": BART_CFL, "fastmri": FASTMRI}
FIXTURES = [HealthCheck.function_scoped_fixture]


def kspace(*shape, seed=0):
    return complex_noise(np.random.default_rng(seed), shape)


def write(kind, path, full):
    """Writes `slice coil pe ro` in a format of arrays; returns the path that is opened."""
    if kind == "npy":
        np.save(path.with_suffix(".npy"), full)
        path.with_suffix(".json").write_text('{"axes": "slice coil pe ro"}')
        return path.with_suffix(".npy")
    if kind == "npz":
        np.savez(path.with_suffix(".npz"), kspace=full, axes="slice coil pe ro")
        return path.with_suffix(".npz")
    if kind == "bart":
        n_slices, n_coils, n_pe, n_ro = full.shape
        path.with_suffix(".hdr").write_text(
            f"# Dimensions\n{n_ro} {n_pe} 1 {n_coils} 1 1 1 1 1 1 1 1 1 {n_slices} 1 1 \n# Creator\nBART v0.9.00\n"
        )
        path.with_suffix(".cfl").write_bytes(full.tobytes())
        return path.with_suffix(".hdr")
    with h5py.File(path.with_suffix(".h5"), "w") as file:
        file["kspace"] = full.transpose(0, 1, 3, 2)
    return path.with_suffix(".h5")


def lines(acquisitions):
    """The samples of the image's lines by their counters."""
    image = np.flatnonzero(acquisitions.heads["flags"] & np.uint64(0b11 << 18) == 0)
    places = [tuple(int(acquisitions.heads["idx"][name][index]) for name in COUNTERS) for index in image]
    assert len(set(places)) == len(places)
    return {place: one.copy() for place, one in zip(places, acquisitions.samples(image), strict=True)}


def same(first, second):
    return first.keys() == second.keys() and all(np.array_equal(first[place], second[place]) for place in first)


def opened(path, kind):
    with path.open("rb") as file:
        assert FORMATS[kind].recognises(file.read(START_BYTES))
    with FORMATS[kind].open(path) as acquisitions:
        assert isinstance(acquisitions, Acquisitions)
        return lines(acquisitions), acquisitions.heads, parse_header(acquisitions.header_xml)


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_gives_the_samples_at_their_places(tmp_path, kind):
    full = kspace(2, 3, 5, 8)
    full[:, :, [1, 4]] = 0
    found, heads, header = opened(write(kind, tmp_path / "scan", full), kind)
    assert sorted(place[:2] for place in found) == [(s, line) for s in range(2) for line in (0, 2, 3)]
    for (slice_index, line, *_), samples in found.items():
        np.testing.assert_array_equal(samples, full[slice_index, :, line])
    encoding = header.encoding[0]
    assert matrix_size(encoding.encodedSpace) == (8, 5, 1)
    assert centre_line(encoding) == 2
    assert (heads["center_sample"] == 4).all()
    geometry = image_geometry(heads[[0, -1]], encoding)
    assert (geometry.matrix, geometry.fov_mm, geometry.slice_spacing_mm) == ((5, 8), (8.0, 5.0, 1.0), 1.0)


@settings(max_examples=15)
@given(data=st.data())
def test_the_order_of_axes_doesnt_matter(data):
    others = data.draw(
        st.lists(
            st.sampled_from(["slice", "contrast", "repetition", "average", "phase", "set", "pe2"]),
            unique=True,
            max_size=3,
        )
    )
    order = data.draw(st.permutations([*others, "coil", "pe", "ro"]))
    sizes = {axis: 2 + number for number, axis in enumerate(("coil", "pe", "ro", *others))}
    full = kspace(*sizes.values())
    full[:, 1] = 0
    moved = full.transpose([list(sizes).index(axis) for axis in order])
    plain = lines(ArrayAcquisitions(full, Description(axes=tuple(sizes))))
    assert same(lines(ArrayAcquisitions(moved, Description(axes=tuple(order)))), plain)
    assert len(plain) == (sizes["pe"] - 1) * np.prod([sizes[axis] for axis in others], initial=1)


@settings(max_examples=10)
@given(n_lines=st.integers(1, 12), seed=st.integers(0, 99), is_lazy=st.booleans())
def test_lines_come_in_the_order_asked_for_however_small_the_blocks(n_lines, seed, is_lazy):
    full = kspace(2, 2, 6, 4)
    acquisitions = ArrayAcquisitions(full, Description(axes=AXES))
    wanted = np.random.default_rng(seed).integers(0, 12, n_lines)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(array_scan, "BLOCK_BYTES", 2 * 2 * 4 * 8 if is_lazy else 1)
        small = ArrayAcquisitions(full, Description(axes=AXES))
    for one, other, index in zip(acquisitions.samples(wanted), small.samples(wanted), wanted, strict=True):
        np.testing.assert_array_equal(one, full[index // 6, :, index % 6])
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("kind", ["c16", ">c8", "pairs", "pairs of integers"])
def test_numbers_of_other_types_are_the_same_samples(kind):
    full = np.round(100 * kspace(1, 2, 3, 4))
    pairs = np.stack([full.real, full.imag], axis=-1)
    array, axes = {
        "c16": (full.astype(complex), AXES),
        ">c8": (full.astype(">c8"), AXES),
        "pairs": (pairs.astype(np.float64), (*AXES, "complex")),
        "pairs of integers": (pairs.astype(np.int16), (*AXES, "complex")),
    }[kind]
    found = ArrayAcquisitions(array, Description(axes=axes))
    assert same(lines(found), lines(ArrayAcquisitions(full, Description(axes=AXES))))


def test_a_line_is_acquired_where_any_coil_has_a_number_that_is_not_zero():
    full = np.zeros((1, 2, 5, 4), np.complex64)
    full[0, 1, 2, 3] = 1e-20
    full[0, :, 3] = np.nan
    full[0, :, 4] = np.inf
    assert [place[1] for place in lines(ArrayAcquisitions(full, Description(axes=AXES)))] == [2]


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e30, 1e-30 + 1e300j])
def test_a_line_with_samples_that_no_receiver_gives_is_damage(bad):
    full = kspace(1, 2, 3, 4).astype(complex)
    full[0, 1, 1, 2] = bad
    with pytest.raises(DamagedScan, match="acquisition 1 holds infinite"):
        lines(ArrayAcquisitions(full, Description(axes=AXES)))


def test_noise_and_separate_calibration_come_with_their_flags(tmp_path):
    noise, acs = kspace(3, array_scan.NOISE_SAMPLES + 7), kspace(2, 3, 4, 6)
    np.savez(
        tmp_path / "scan.npz",
        **{"kspace": kspace(2, 3, 9, 8), "axes": ["slice", "coil", "pe", "ro"], "noise": noise, "acs": acs},
        **{"dwell_time_s": 5e-6, "noise_dwell_time_s": 20e-6, "slice_spacing_mm": 3.0},
    )
    with NUMPY_NPZ.open(tmp_path / "scan.npz") as found:
        heads = found.heads
        is_noise = heads["flags"] == 1 << (ismrmrd.ACQ_IS_NOISE_MEASUREMENT - 1)
        apart = heads["flags"] == 1 << (ismrmrd.ACQ_IS_PARALLEL_CALIBRATION - 1)
        np.testing.assert_array_equal(np.hstack(list(found.samples(np.flatnonzero(is_noise)))), noise)
        recorded = np.stack(list(found.samples(np.flatnonzero(apart))))
        mode = parse_header(found.header_xml).encoding[0].parallelImaging.calibrationMode
    np.testing.assert_array_equal(recorded.reshape(2, 4, 3, 6).transpose(0, 2, 1, 3), acs)
    # The centre of k-space is line 4 of 9, and the third of four calibration lines.
    assert heads["idx"]["kspace_encode_step_1"][apart].tolist() == [2, 3, 4, 5] * 2
    assert heads["position"][apart][:, 2].tolist() == [0.0] * 4 + [3.0] * 4
    assert (heads["center_sample"][apart] == 3).all()
    assert mode.value == "separate"
    assert heads["sample_time_us"][is_noise] == pytest.approx([20.0, 20.0])
    assert heads["sample_time_us"][~is_noise] == pytest.approx([5.0] * (8 + 18))


def test_geometry_that_is_told_is_that_of_the_image(tmp_path):
    told = {
        "fov_mm": [220, 165, 4],
        "slice_spacing_mm": 5.5,
        "readout_oversampling": 2,
        "phase_oversampling": 1.25,
        "image_rows": 24,
        "position_mm": [1, 2, 3],
        "read_direction": [0, 1, 0],
        "phase_direction": [0, 0, 1],
        "slice_direction": [1, 0, 0],
        "field_strength_t": 3,
        "acs_lines": [10, 14],
    }
    path = write("npy", tmp_path / "scan", kspace(3, 2, 30, 64))
    path.with_suffix(".json").write_text(json.dumps({"axes": list(AXES), **told}))
    _, heads, header = opened(path, "npy")
    geometry = image_geometry(heads[[0, 30, 60]], header.encoding[0])
    assert geometry.fov_mm == pytest.approx((220, 165, 4))
    assert (geometry.matrix, geometry.phase_oversampling) == ((24, 32), 1.25)
    assert geometry.slice_spacing_mm == 5.5
    assert (geometry.position_mm, geometry.slice_direction) == ((1.0, 2.0, 3.0), (1.0, 0.0, 0.0))
    assert header.acquisitionSystemInformation.systemFieldStrength_T == 3.0
    assert header.experimentalConditions.H1resonanceFrequency_Hz == pytest.approx(127.7e6, rel=1e-3)
    flagged = np.flatnonzero(heads["flags"] == 1 << (ismrmrd.ACQ_IS_PARALLEL_CALIBRATION_AND_IMAGING - 1))
    assert np.unique(heads["idx"]["kspace_encode_step_1"][flagged]).tolist() == [10, 11, 12, 13]


def test_second_phase_encoding_and_frames_are_announced():
    full = kspace(2, 3, 4, 5, 6)
    found = ArrayAcquisitions(full, Description(axes=("contrast", "partition", "coil", "pe", "ro")))
    encoding = parse_header(found.header_xml).encoding[0]
    assert matrix_size(encoding.encodedSpace) == (6, 5, 3)
    assert encoding.encodingLimits.kspace_encoding_step_2.center == 1
    assert encoding.encodingLimits.contrast.maximum == 1


def test_packed_archives_are_read_the_same_and_leave_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    full = kspace(2, 3, 6, 8)
    np.savez(tmp_path / "plain.npz", kspace=full, axes="slice coil pe ro")
    np.savez_compressed(tmp_path / "packed.npz", kspace=full, axes="slice,coil,pe,ro")
    np.save(tmp_path / "fortran.npy", np.asfortranarray(full))
    (tmp_path / "fortran.json").write_text('{"axes": "slice coil pe ro"}')
    plain = opened(tmp_path / "plain.npz", "npz")[0]
    assert same(opened(tmp_path / "packed.npz", "npz")[0], plain)
    assert same(opened(tmp_path / "fortran.npy", "npy")[0], plain)
    assert len(list(tmp_path.iterdir())) == 4


def test_an_array_without_its_axes_is_told_what_to_write_where(tmp_path):
    np.save(tmp_path / "Doe^Jane.npy", kspace(2, 3, 4, 5))
    expected = r'2 x 3 x 4 x 5 .* ends in \.json .*\{"axes": "slice coil pe ro"\}'
    with pytest.raises(UnsupportedScan, match=expected) as raised, NUMPY_NPY.open(tmp_path / "Doe^Jane.npy"):
        pass
    assert "Doe" not in str(raised.value)
    np.savez(tmp_path / "scan.npz", kspace=kspace(2, 3))
    with pytest.raises(UnsupportedScan, match="needs 'axes'"), NUMPY_NPZ.open(tmp_path / "scan.npz"):
        pass


@pytest.mark.parametrize(
    ("axes", "error", "named"),
    [
        ("coil pe ro", DamagedScan, r"3 axes are declared \(coil pe ro\), the array has 4 \(2 x 3 x 4 x 6\)"),
        ("slice coil ky kx", UnsupportedScan, "the axis 'ky' is declared; raki knows coil, pe, ro"),
        ("slice coil pe pe", UnsupportedScan, "'pe' is declared twice"),
        ("pe2 partition pe ro", UnsupportedScan, "'pe2' is declared twice"),
        ("slice coil set ro", UnsupportedScan, r"declared as slice coil set ro; raki needs 'pe' and 'ro'"),
        ("complex coil pe ro", UnsupportedScan, "'complex' stands before others"),
        ("coil pe ro complex", UnsupportedScan, "of type complex64"),
        ([1, 2, 3, 4], UnsupportedScan, "needs 'axes'"),
        ({"slice": 1}, UnsupportedScan, "needs 'axes'"),
        (None, UnsupportedScan, "needs 'axes'"),
    ],
)
def test_wrong_axes_are_refused_with_what_was_found(tmp_path, axes, error, named):
    path = write("npy", tmp_path / "scan", kspace(2, 3, 4, 6))
    path.with_suffix(".json").write_text(json.dumps({"axes": axes}))
    with pytest.raises(error, match=named), NUMPY_NPY.open(path):
        pass


@settings(max_examples=60)
@given(axes=st.lists(st.sampled_from([*ALL_AXES, "ky", ""]), max_size=6), shape=st.lists(st.integers(0, 3), max_size=6))
def test_any_axes_of_any_array_give_lines_or_one_sentence(axes, shape):
    array = np.ones(shape, np.float32 if "complex" in axes else np.complex64)
    with suppress(PermanentError):
        found = ArrayAcquisitions(array, Description(axes=tuple(axes)))
        assert len(lines(found)) == len(found.heads)
        assert set(axes) <= set(ALL_AXES)


@pytest.mark.parametrize(
    ("field", "value", "error", "named"),
    [
        ("fov_mm", [220, 220], DamagedScan, r"'fov_mm' is \[220, 220\]; raki needs 3 numbers from 0.01 to 100000"),
        ("fov_mm", 0, DamagedScan, "needs 3 numbers"),
        ("fov_mm", [1, 2, "3"], DamagedScan, "needs 3 numbers"),
        ("fov_mm", [1, 2, [3]], DamagedScan, "needs 3 numbers"),
        ("slice_spacing_mm", float("nan"), DamagedScan, "'slice_spacing_mm' is nan"),
        ("slice_spacing_mm", True, DamagedScan, "is True; raki needs 1 number"),
        ("dwell_time_s", 5, DamagedScan, "from 1e-12 to 1"),
        ("image_rows", 2.5, DamagedScan, "1 whole number from"),
        ("acs_lines", [3, 3], DamagedScan, "'acs_lines' are 3 to 3"),
        ("acs_lines", [2, 5], DamagedScan, "2 to 5; raki needs the first and one past the last of 4 lines"),
        ("read_direction", [1, 1, 0], DamagedScan, "length 1"),
        ("field_strength_t", 10**300, DamagedScan, "'field_strength_t' is 1000"),
        ("fov", [1, 2, 3], UnsupportedScan, "has 'fov', which raki doesn't know; it may have axes, fov_mm"),
    ],
)
def test_impossible_fields_are_named(tmp_path, field, value, error, named):
    path = write("npy", tmp_path / "scan", kspace(2, 3, 4, 6))
    path.with_suffix(".json").write_text(json.dumps({"axes": "slice coil pe ro", field: value}))
    with pytest.raises(error, match=named), NUMPY_NPY.open(path):
        pass


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[1]", b"\xff\xfe", b"[" * 100_000, b'{"axes": ' + b" " * 2**20 + b"1}"]
)
def test_a_description_that_is_no_json_is_named(tmp_path, content):
    path = write("npy", tmp_path / "scan", kspace(2, 3, 4, 6))
    path.with_suffix(".json").write_bytes(content)
    with pytest.raises(DamagedScan, match="isn't an object of JSON"), NUMPY_NPY.open(path):
        pass


@pytest.mark.parametrize(
    ("arrays", "error", "named"),
    [
        ({"kspace": np.zeros((1, 2, 4, 6), np.complex64)}, NotAScan, "nothing but zeros"),
        ({"kspace": np.ones((1, 2, 4, 6), np.float32)}, UnsupportedScan, "of type float32; raki needs complex"),
        ({"kspace": np.full((1, 2, 4, 6), None)}, UnsupportedScan, "Python objects"),
        ({"kspace": np.zeros((1, 2, 4, 0), np.complex64)}, DamagedScan, "1 x 2 x 4 x 0 of 8 bytes"),
        ({"noise": kspace(3, 9)}, DamagedScan, "'noise' is 3 x 9; .* 'coil sample' of at most 2 x any"),
        ({"noise": np.ones((2, 9))}, UnsupportedScan, "'noise' is of type float64"),
        ({"acs": kspace(1, 2, 5, 6)}, DamagedScan, "'acs' is 1 x 2 x 5 x 6; .* at most 1 x 2 x 4 x 6"),
        ({"acs": kspace(2, 2, 3, 6)}, DamagedScan, "'acs' is 2 x 2 x 3 x 6"),
        ({"acs": kspace(2, 3, 6)}, DamagedScan, "'acs' is 2 x 3 x 6"),
        ({"maps": kspace(1)}, UnsupportedScan, "has 'maps'"),
        ({"maps": kspace(600)}, UnsupportedScan, "4800 bytes beside 'kspace'"),
    ],
)
def test_arrays_that_make_no_scan_are_named(tmp_path, arrays, error, named):
    np.savez(tmp_path / "scan.npz", **{"kspace": kspace(1, 2, 4, 6), "axes": "slice coil pe ro", **arrays})
    with pytest.raises(error, match=named), NUMPY_NPZ.open(tmp_path / "scan.npz"):
        pass


def test_an_archive_of_other_arrays_is_no_scan(tmp_path):
    np.savez(tmp_path / "other.npz", x=1)
    with (
        pytest.raises(NotAScan, match="holds 1 arrays, none of the name 'kspace'"),
        NUMPY_NPZ.open(tmp_path / "other.npz"),
    ):
        pass
    with zipfile.ZipFile(tmp_path / "texts.zip", "w") as archive:
        archive.writestr("readme.txt", "kspace.npy")
    assert not NUMPY_NPZ.recognises((tmp_path / "texts.zip").read_bytes())
    assert not NUMPY_NPZ.recognises(b"PK\x03\x04")


def test_an_archive_that_unpacks_to_more_than_raw_data_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(npz_members, "BLOCK_BYTES", 1 << 12)
    np.savez_compressed(tmp_path / "bomb.npz", kspace=np.zeros((1, 2, 400, 600), np.complex64), axes="slice coil pe ro")
    with pytest.raises(UnsupportedScan, match="'kspace' unpacks from"), NUMPY_NPZ.open(tmp_path / "bomb.npz"):
        pass


def test_an_archive_whose_list_of_members_would_fill_the_memory_is_damage(tmp_path):
    path = write("npz", tmp_path / "scan", kspace(1, 2, 4, 6))
    content = bytearray(path.read_bytes())
    # The archive lies behind two megabytes that it calls its list of members.
    end = content.rindex(b"PK\x05\x06")
    struct.pack_into("<II", content, end + 12, 1 << 21, 0)
    path.write_bytes(bytes(1 << 21) + content[end:])
    with pytest.raises(DamagedScan, match=r"damaged \(ValueError\)"), NUMPY_NPZ.open(path):
        pass


def test_a_changed_sample_in_an_archive_is_noticed(tmp_path):
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "scan.npz", kspace=kspace(1, 2, 4, 6), axes="slice coil pe ro")
        content = bytearray((tmp_path / "scan.npz").read_bytes())
        content[300] ^= 1
        (tmp_path / "scan.npz").write_bytes(content)
        with pytest.raises(DamagedScan), NUMPY_NPZ.open(tmp_path / "scan.npz"):
            pass


@pytest.mark.parametrize(
    ("header", "error", "named"),
    [
        (b"# Dimensions\n", DamagedScan, "isn't a list of dimensions"),
        (b"# Dimensions\n6 4 1 many\n", DamagedScan, "isn't a list of dimensions"),
        (b"# Dimensions\n6 -4 1 2\n", DamagedScan, "isn't a list of dimensions"),
        (b"# Dimensions\n6 0 1 2\n", DamagedScan, "announces 6 x 0 x 1 x 2"),
        (b"# Dimensions\n6 4 1 2" + b" 1" * 12 + b" 2\n", DamagedScan, "and 1 beyond"),
        (b"# Dimensions\n6 4 1 3\n", DamagedScan, "576 bytes; the .cfl beside it has 384"),
        (b"# Dimensions\n999999999999 999999999999 999999999999\n", DamagedScan, "beside it has 384"),
        (b"# Dimensions\n6 4 1 1 2\n", UnsupportedScan, "2 elements along MAPS"),
        (b"# Dimensions\n6 4" + b" 1" * 13 + b" 2\n", UnsupportedScan, "2 elements along BATCH"),
        (b"# Dimensions\n1 6 8\n", UnsupportedScan, "1 sample along READ and 6 x 8 along PHS1 and PHS2"),
        (b"# Dimensions\n48\n# SizesDimensions\n2 2\n", UnsupportedScan, "several arrays"),
    ],
)
def test_cfl_headers_that_make_no_scan_are_named(tmp_path, header, error, named):
    (tmp_path / "scan.hdr").write_bytes(header)
    (tmp_path / "scan.cfl").write_bytes(kspace(48).tobytes())
    with pytest.raises(error, match=re.escape(named)), BART_CFL.open(tmp_path / "scan.hdr"):
        pass


def test_dimensions_of_cfl_are_the_counters_of_the_same_meaning(tmp_path):
    dimensions = [6, 5, 1, 2, 1, 2, 1, 1, 1, 1, 3, 1, 1, 4, 1, 1]
    full = kspace(*dimensions)
    (tmp_path / "scan.hdr").write_text("# Dimensions\n" + " ".join(map(str, dimensions)) + "\n")
    (tmp_path / "scan.cfl").write_bytes(full.tobytes(order="F"))
    found, *_ = opened(tmp_path / "scan.hdr", "bart")
    assert len(found) == 5 * 2 * 3 * 4
    samples = found[3, 4, 0, 1, 0, 2, 0, 0]  # slice 3, line 4, contrast 1, repetition 2
    np.testing.assert_array_equal(samples, full[:, 4, 0, :, 0, 1, 0, 0, 0, 0, 2, 0, 0, 3, 0, 0].T)


def test_header_without_samples_is_named(tmp_path):
    path = write("bart", tmp_path / "scan", kspace(1, 2, 4, 6))
    path.with_suffix(".cfl").unlink()
    with pytest.raises(DamagedScan, match="none, it is missing"), BART_CFL.open(path):
        pass


@pytest.fixture
def knee(tmp_path):
    """A file such as fastMRI's: readout oversampled twice, undersampled lines, a header with a larger encoded FOV."""
    header = scan_header(2, 3, 32, 2)
    encoding = header.encoding[0]
    encoding.encodedSpace.fieldOfView_mm.x, encoding.encodedSpace.fieldOfView_mm.y = 280.0, 162.818
    encoding.encodedSpace.matrixSize.x, encoding.encodedSpace.matrixSize.y = 64, 37
    encoding.reconSpace.fieldOfView_mm.x = encoding.reconSpace.fieldOfView_mm.y = 140.0
    encoding.reconSpace.fieldOfView_mm.z = 4.5
    full = kspace(2, 3, 64, 37)
    mask = np.arange(37) % 2 == 0
    path = tmp_path / "knee.h5"
    with h5py.File(path, "w") as file:
        file["kspace"] = full
        file["mask"] = mask
        file["ismrmrd_header"] = xsd.ToXML(header)
        file["reconstruction_rss"] = np.ones((2, 32, 32), np.float32)
    return path


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


def replace_kspace(file, **options):
    del file["kspace"]
    file.create_dataset("kspace", **options)


def link_elsewhere(file):
    del file["kspace"]
    file["kspace"] = h5py.ExternalLink("other.h5", "kspace")


def compose(file):
    del file["kspace"]
    layout = h5py.VirtualLayout((2, 3, 64, 37), np.complex64)
    layout[:] = h5py.VirtualSource("other.h5", "kspace", (2, 3, 64, 37), np.complex64)
    file.create_virtual_dataset("kspace", layout)


def shorten_mask(file):
    del file["mask"]
    file["mask"] = np.ones(36)


def garble_header(file):
    file["ismrmrd_header"][()] = "<html/>"


def repeat_header(file):
    del file["ismrmrd_header"]
    file["ismrmrd_header"] = ["<a/>", "<b/>"]


ELSEWHERE = {"shape": (2, 3, 64, 37), "dtype": np.complex64, "external": [("other.bin", 0, 2**20)]}
UNWRITTEN = {"shape": (900, 64, 640, 640), "dtype": np.complex64, "chunks": (1, 1, 64, 64)}


@pytest.mark.parametrize(
    ("change", "error", "named"),
    [
        (lambda file: file.pop("kspace"), NotAScan, "no dataset 'kspace'"),
        (link_elsewhere, NotAScan, "no dataset 'kspace'"),
        (compose, UnsupportedScan, "kept in other files"),
        (lambda file: replace_kspace(file, **ELSEWHERE), UnsupportedScan, "kept in other files"),
        (lambda file: replace_kspace(file, **UNWRITTEN), DamagedScan, "900 x 64 x 640 x 640, and 0 bytes"),
        (lambda file: replace_kspace(file, data=kspace(2, 3)), UnsupportedScan, "'kspace' is 2 x 3"),
        (lambda file: replace_kspace(file, data=b"text"), UnsupportedScan, "unusual form"),
        (lambda file: replace_kspace(file, data=np.ones((2, 64, 37))), UnsupportedScan, "of type float64"),
        (shorten_mask, DamagedScan, "'mask' is 36 of float64; .* each of 37"),
        (garble_header, DamagedScan, "header"),
        (repeat_header, DamagedScan, "isn't a text"),
    ],
)
def test_hdf5_that_is_no_such_scan_is_named(knee, change, error, named):
    with h5py.File(knee, "r+") as file:
        change(file)
    with pytest.raises(error, match=named) as raised, FASTMRI.open(knee):
        pass
    assert str(knee.parent) not in str(raised.value)


@pytest.mark.parametrize("options", [{"fletcher32": True}, {"compression": "lzf"}, {"scaleoffset": 3}])
def test_fastmri_packed_in_other_ways_is_refused(knee, options):
    with h5py.File(knee, "r+") as file:
        replace_kspace(file, data=np.ones((2, 3, 64, 37), np.int32), chunks=True, **options)
    with pytest.raises(UnsupportedScan, match="is packed with HDF5's filters"), FASTMRI.open(knee):
        pass


@pytest.mark.parametrize(
    "packed", [b"x", zlib.compress(b""), zlib.compress(bytes(2**20)), b"noise", zlib.compress(bytes(4096))[:-9]]
)
def test_chunks_of_another_length_are_damage(knee, packed):
    """The library itself would read beyond its memory, or unpack as much as a stranger likes."""
    with h5py.File(knee, "r+") as file:
        replace_kspace(file, data=kspace(2, 3, 64, 37), chunks=(1, 1, 64, 8), compression="gzip")
        file["kspace"].id.write_direct_chunk((1, 2, 0, 8), packed)
    with (
        pytest.raises(DamagedScan, match=r"chunk of the dataset 'kspace' has|truncated or damaged"),
        FASTMRI.open(knee),
    ):
        pass


def test_chunks_that_were_never_written_are_lines_that_were_not_acquired(knee):
    with h5py.File(knee, "r+") as file:
        del file["mask"]
        replace_kspace(file, shape=(2, 3, 64, 37), dtype=np.complex64, chunks=(1, 1, 64, 8))
        file["kspace"][:, 1:, :, 10:20] = 1
    found = opened(knee, "fastmri")[0]
    assert sorted(place[:2] for place in found) == [(s, line) for s in range(2) for line in range(10, 20)]
    assert {samples[:, 0].tolist().index(1) for samples in found.values()} == {1}


def test_a_header_longer_than_the_file_is_refused_before_memory_is_taken_for_it(knee):
    with h5py.File(knee) as file:
        at = file["ismrmrd_header"].id.get_offset()
    content = bytearray(knee.read_bytes())
    content[at : at + 4] = b"\xff" * 4
    knee.write_bytes(content)
    with pytest.raises(DamagedScan, match="of 4294967295 bytes"), FASTMRI.open(knee):
        pass


def test_a_heap_in_which_the_library_would_walk_for_ever_is_walked_once(knee):
    content = bytearray(knee.read_bytes())
    first_object = content.rindex(b"GCOL\x01") + 16
    content[first_object : first_object + 16] = struct.pack("<HHIQ", 1, 0, 0, 2**64 - 16)
    knee.write_bytes(content)
    with FASTMRI.open(knee) as acquisitions:
        assert len(acquisitions.heads) > 0


@pytest.mark.parametrize("kind", FORMATS)
@settings(max_examples=15, suppress_health_check=FIXTURES)
@given(fraction=st.floats(0, 0.9999), name=st.sampled_from(["lead", "beside"]))
def test_truncated_at_any_byte_is_one_sentence(tmp_path, kind, fraction, name):
    path = write(kind, tmp_path / "Doe^Jane", kspace(2, 3, 5, 8))
    cut = path.with_suffix(".cfl") if kind == "bart" and name == "beside" else path
    content = cut.read_bytes()
    if kind == "bart" and name == "lead":
        content = content[: content.index(b"\n#", 1) + 1]
    cut.write_bytes(content[: int(fraction * len(content))])
    with pytest.raises(PermanentError) as raised, FORMATS[kind].open(path):
        pass
    assert "Doe" not in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("kind", FORMATS)
@settings(max_examples=20, suppress_health_check=FIXTURES)
@given(data=st.data())
def test_changed_bytes_give_lines_or_one_sentence(tmp_path, kind, data):
    path = write(kind, tmp_path / "Doe^Jane", kspace(2, 3, 5, 8))
    content = bytearray(path.read_bytes())
    # Most of what isn't samples stands at the beginning or the end.
    places = st.one_of(
        st.integers(0, min(400, len(content) - 1)),
        st.integers(-min(600, len(content)), -1),
        st.integers(0, len(content) - 1),
    )
    for at, value in data.draw(
        st.lists(st.tuples(places, st.sampled_from([0, 1, 0x2D, 0x7F, 0xFF])), min_size=1, max_size=4)
    ):
        content[at] = value
    path.write_bytes(content)
    try:
        with FORMATS[kind].open(path) as acquisitions:
            assert all(np.isfinite(samples).all() for samples in lines(acquisitions).values())
    except PermanentError as error:
        assert "Doe" not in str(error)  # noqa: PT017
        assert "\n" not in str(error)  # noqa: PT017


@pytest.mark.parametrize("name", ["brain16_iraki_lowres", "phantom8_ge_7slices"])
def test_real_arrays_are_read_where_they_stand(real_scans, tmp_path, name):
    path = tmp_path / "scan.npy"
    path.symlink_to(real_scans / f"kspace/{name}.npy")
    path.with_suffix(".json").write_text('{"axes": "slice coil pe ro"}')
    full = np.load(path)
    found, _, header = opened(path, "npy")
    assert len(found) == full.shape[0] * full.shape[2]
    assert all(np.array_equal(samples, full[place[0], :, place[1]]) for place, samples in found.items())
    energy = {place: float((np.abs(samples) ** 2).sum()) for place, samples in found.items()}
    assert abs(max(energy, key=energy.get)[1] - centre_line(header.encoding[0])) <= 1


def test_a_real_scan_with_its_noise_and_its_calibration(real_scans, tmp_path):
    folder = real_scans / "kspace"
    full, acs = (np.load(folder / f"phantom16_R2_epi_xingkong{name}.npy") for name in ("", "_acs"))
    np.savez(tmp_path / "scan.npz", kspace=full, acs=acs, axes="slice coil pe ro")
    found, heads, _ = opened(tmp_path / "scan.npz", "npz")
    assert sorted(place[1] for place in found) == list(range(1, 62, 2))
    apart = heads["flags"] == 1 << (ismrmrd.ACQ_IS_PARALLEL_CALIBRATION - 1)
    assert heads["idx"]["kspace_encode_step_1"][apart].tolist() == list(range(20, 44))


def test_folder_of_the_file_is_left_as_it_was(tmp_path):
    for kind in FORMATS:
        path = write(kind, tmp_path / kind, kspace(1, 2, 3, 4))
        before = {one: one.read_bytes() for one in Path(tmp_path).iterdir()}
        opened(path, kind)
        assert {one: one.read_bytes() for one in Path(tmp_path).iterdir()} == before
