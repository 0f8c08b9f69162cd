"""Truncated, overwritten and lying files: a scan or one clear sentence, never a crash, a hang or a lie."""

import struct
from contextlib import suppress

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from ismrmrd.hdf5 import acquisition_dtype, acquisition_header_dtype

from raki.errors import DamagedScan, PermanentError, UnsupportedScan
from raki.formats import open_scan, read_scan, scan_reader
from raki.formats.ismrmrd import hdf5


@seed(1)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(fraction=st.floats(0, 0.9999))
def test_truncated_at_any_byte_is_one_clear_sentence(raw, tmp_path, fraction):
    content = raw.read_bytes()
    path = tmp_path / "cut.h5"
    path.write_bytes(content[: int(fraction * len(content))])
    with pytest.raises(PermanentError) as raised:
        read_scan(path)
    assert str(tmp_path) not in str(raised.value)
    assert "\n" not in str(raised.value)


@seed(2)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(position=st.floats(0, 0.9999), value=st.integers(0, 255))
def test_any_changed_byte_gives_a_scan_or_a_clear_sentence(raw, tmp_path, position, value):
    content = bytearray(raw.read_bytes())
    content[int(position * min(len(content), 30_000))] = value
    path = tmp_path / "changed.h5"
    path.write_bytes(content)
    with suppress(PermanentError):
        assert np.isfinite(read_scan(path).kspace).all()


@pytest.mark.parametrize("how", ["zeros", "ones", "noise", "cut out", "put in"])
@pytest.mark.parametrize("n_bytes", [1, 8, 64, 512])
def test_an_overwritten_part_gives_a_scan_or_a_clear_sentence(raw, tmp_path, how, n_bytes):
    random = np.random.default_rng([n_bytes, len(how)])
    path = tmp_path / "Doe^Jane.h5"
    for at in (int(random.integers(16_000)), int(random.integers(raw.stat().st_size))):
        content = bytearray(raw.read_bytes())
        noise = random.bytes(n_bytes)
        old, new = {
            "zeros": (n_bytes, bytes(n_bytes)),
            "ones": (n_bytes, b"\xff" * n_bytes),
            "noise": (n_bytes, noise),
            "cut out": (n_bytes, b""),
            "put in": (0, noise),
        }[how]
        content[at : at + old] = new
        path.write_bytes(content)
        try:
            assert np.isfinite(read_scan(path).kspace).all()
        except PermanentError as error:
            assert "Doe" not in str(error)  # noqa: PT017
            assert "\n" not in str(error)  # noqa: PT017


@pytest.mark.parametrize("size", [0, 2**64 - 16, 2**64 - 8])
def test_a_heap_in_which_the_library_would_walk_for_ever_is_damage(raw, tmp_path, size):
    """A hole of zeros, as a broken copy leaves it, is an object of no size; a size near 2^64 leads back."""
    content = bytearray(raw.read_bytes())
    first_object = content.rindex(b"GCOL\x01") + 16
    content[first_object : first_object + 16] = struct.pack("<HHIQ", 1 if size else 0, 0, 0, size)
    path = tmp_path / "hole.h5"
    path.write_bytes(content)
    with pytest.raises(DamagedScan, match="a list of 1536 bytes was announced in the HDF5 file"):
        read_scan(path)


def test_a_checksummed_chunk_that_is_too_short_is_refused(raw, tmp_path):
    """The HDF5 library reads beyond its memory here."""
    path = tmp_path / "short.h5"
    path.write_bytes(raw.read_bytes())
    with h5py.File(path, "r+") as file:
        acquisitions = file["dataset/data"][:]
        del file["dataset/data"]
        table = file["dataset"].create_dataset("data", data=acquisitions, chunks=(16,), fletcher32=True)
        table.id.write_direct_chunk((16,), b"abc")
    with pytest.raises(UnsupportedScan, match="filters"):
        read_scan(path)


def test_heads_are_read_without_the_samples(raw, monkeypatch):
    """HDF5 reads all lists of a table to give one of its fields: the whole file, however large."""
    monkeypatch.setattr(h5py.Dataset, "__getitem__", lambda *_: pytest.fail("read through the library"))
    with open_scan([raw]) as scan:
        assert scan.kspace[0].any()


def head_type(change):
    """ISMRMRD's acquisition with one field of its header changed: a type of the same size and names."""
    fields = {name: (kind, offset) for name, (kind, offset, *_) in acquisition_header_dtype.fields.items()}
    change(fields)
    formats, offsets = zip(*fields.values(), strict=True)
    head = np.dtype({"names": list(fields), "formats": formats, "offsets": offsets, "itemsize": 340})
    return np.dtype([("head", head), ("traj", acquisition_dtype["traj"]), ("data", acquisition_dtype["data"])])


def widen(fields):
    fields["read_dir"] = (np.dtype(("<f8", 3)), fields["read_dir"][1])


def retype(fields):
    fields["active_channels"] = (np.dtype("<f2"), fields["active_channels"][1])


def rename(fields):
    fields["positiom"] = fields.pop("position")


@pytest.mark.parametrize(
    ("change", "named"),
    [(retype, "'active_channels' is missing"), (rename, "'position' is missing")],
)
def test_acquisitions_of_another_type_are_refused_before_they_are_read(raw, tmp_path, change, named):
    path = tmp_path / "types.h5"
    path.write_bytes(raw.read_bytes())
    with h5py.File(path, "r+") as file:
        del file["dataset/data"]
        file["dataset"].create_dataset("data", (4,), head_type(change))
    with pytest.raises(DamagedScan, match=named):
        read_scan(path)


def test_fields_that_overlap_are_refused():
    with pytest.raises(DamagedScan, match="fields overlap"):
        hdf5._require_type(head_type(widen)["head"], acquisition_header_dtype)


@pytest.mark.parametrize("chunks", [(40,), (1,), None])
def test_a_list_longer_than_the_file_is_refused_before_memory_is_taken_for_it(raw, tmp_path, chunks):
    path = tmp_path / "long.h5"
    path.write_bytes(raw.read_bytes())
    with h5py.File(path, "r+") as file:
        acquisitions = file["dataset/data"][:]
        del file["dataset/data"]
        file["dataset"].create_dataset("data", data=acquisitions, chunks=chunks)
    np.testing.assert_array_equal(read_scan(path).kspace, read_scan(raw).kspace)
    content = bytearray(path.read_bytes())
    last_reference = content.rindex(struct.pack("<I", 2 * 3 * 64))
    content[last_reference : last_reference + 4] = b"\xff" * 4
    path.write_bytes(content)
    with pytest.raises(DamagedScan, match="the lists in the HDF5 file take"):
        read_scan(path)


@pytest.mark.parametrize("fault", [AttributeError, KeyError, TypeError, ValueError, IndexError])
@pytest.mark.parametrize("place", ["lay_out", "require_supported", "has_flag"])
def test_a_fault_of_our_own_is_not_called_damage(raw, monkeypatch, fault, place):
    def break_down(*_):
        raise fault("a fault in raki")

    monkeypatch.setattr(scan_reader, place, break_down)
    with pytest.raises(fault, match="a fault in raki"):
        read_scan(raw)
