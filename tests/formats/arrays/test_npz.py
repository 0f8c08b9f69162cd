"""NumPy's archives: packed or not the same lines; what is no archive of a scan is one sentence."""

import struct
import tempfile
import zipfile

import numpy as np
import pytest

from raki.errors import DamagedScan, NotAScan, UnsupportedScan
from raki.formats.arrays.numpy_files import NUMPY_NPZ
from tests.formats.arrays.array_files import kspace, opened, same, write


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


@pytest.mark.parametrize("order", "<>")
def test_a_text_of_numbers_that_are_no_letters_is_damage(tmp_path, order):
    """Found by fuzzing: Python makes a text of them, and fails with a SystemError wherever it is used."""
    broken = np.full(6, 0x7FFFFFFF, f"{order}u4").view(f"{order}U6")
    np.savez(tmp_path / "scan.npz", kspace=kspace(1, 2, 4, 6), axes=broken)
    with pytest.raises(DamagedScan, match="numbers that are no letters"), NUMPY_NPZ.open(tmp_path / "scan.npz"):
        pass
    np.savez(tmp_path / "scan.npz", kspace=kspace(1, 2, 4, 6), axes=broken.view([("text", f"{order}U6")]))
    with pytest.raises(UnsupportedScan, match="holds Python objects, records"), NUMPY_NPZ.open(tmp_path / "scan.npz"):
        pass
