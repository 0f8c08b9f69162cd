"""Axes and fields that describe an array: what is missing, wrong or impossible is one sentence."""

import json
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raki.errors import DamagedScan, NotAScan, PermanentError, UnsupportedScan
from raki.formats.arrays.description import ALL_AXES, Description
from raki.formats.arrays.numpy_files import NUMPY_NPY, NUMPY_NPZ
from raki.formats.arrays.scan import ArrayAcquisitions
from tests.formats.arrays.array_files import kspace, lines, write


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
