"""HDF5 that is no fastMRI scan, or would harm who reads it, is one sentence."""

import struct
import zlib

import h5py
import numpy as np
import pytest

from raki.errors import DamagedScan, NotAScan, UnsupportedScan
from raki.formats.arrays.fastmri import FASTMRI
from tests.formats.arrays.array_files import kspace, replace_kspace


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


def test_a_header_longer_than_the_file_is_refused_before_memory_is_taken_for_it(knee):
    with h5py.File(knee) as file:
        at = file["ismrmrd_header"].id.get_offset()
    content = bytearray(knee.read_bytes())
    content[at : at + 4] = b"\xff" * 4
    knee.write_bytes(content)
    with pytest.raises(DamagedScan, match="take 4294967295 bytes"), FASTMRI.open(knee):
        pass


def test_a_heap_in_which_the_library_would_walk_for_ever_is_walked_once(knee):
    content = bytearray(knee.read_bytes())
    first_object = content.rindex(b"GCOL\x01") + 16
    content[first_object : first_object + 16] = struct.pack("<HHIQ", 1, 0, 0, 2**64 - 16)
    knee.write_bytes(content)
    with FASTMRI.open(knee) as acquisitions:
        assert len(acquisitions.heads) > 0
