"""What is no scan, or none that can be read, is refused in a sentence."""

import re

import h5py
import numpy as np
import pytest

from raki.errors import DamagedScan, NoiseAlone, NotAScan, UnsupportedScan
from raki.formats import read_scan


@pytest.mark.parametrize(
    ("old", "new", "error", "named"),
    [
        ("<trajectory>cartesian", "<trajectory>spiral", UnsupportedScan, "'spiral'"),
        ("<z>1</z>", "<z>24</z>", UnsupportedScan, "2 slabs"),
        ("<x>64</x>", "<x>many</x>", DamagedScan, "matrix size of many"),
        ("<x>64</x>", "<x>48</x>", DamagedScan, "announces 48 samples"),
        ("<y>32</y>", "<y>24</y>", DamagedScan, "announces 0 to 23"),
        ("<x>220.0</x>", "<x>0</x>", DamagedScan, "field of view of 0"),
        ("<center>16</center>", f"<center>{10**30}</center>", DamagedScan, "as its centre line"),
        ("<center>16</center>", "<center>middle</center>", DamagedScan, "gives middle as its centre line"),
        ("<maximum>1</maximum>", "<maximum>-3</maximum>", DamagedScan, "gives -3 as its last slice"),
        ("<minimum>0</minimum>", "<minimum>none</minimum>", DamagedScan, "gives none as its first slice"),
        ("</encoding>", "", DamagedScan, "not valid ISMRMRD XML"),
        ("<ismrmrdHeader", "<!DOCTYPE x><ismrmrdHeader", DamagedScan, "declares entities"),
    ],
)
def test_header_that_is_wrong_or_asks_too_much_is_named(edit, old, new, error, named):
    path = edit(change_xml=lambda xml: xml.replace(old, new))
    with pytest.raises(error, match=re.escape(named)):
        read_scan(path)


def set_flag(acquisitions):
    acquisitions["head"]["flags"][-1] |= np.uint64(1 << 21)


def spoil(acquisitions):
    acquisitions["data"][-1][3] = np.nan


def shorten(acquisitions):
    acquisitions["data"][-1] = acquisitions["data"][-1][:10]


def overflow(acquisitions):
    acquisitions["data"][-1][3] = 1e30


def misplace(acquisitions):
    acquisitions["head"]["position"][-1] = np.nan


def lose_a_coil(acquisitions):
    acquisitions["head"]["active_channels"][-1] = 2


def lose_all_coils(acquisitions):
    """As converters of other vendors' data do that leave the head unset."""
    acquisitions["head"]["active_channels"] = 0


@pytest.mark.parametrize(
    ("change", "error", "named"),
    [
        (set_flag, UnsupportedScan, "no navigators"),
        (spoil, DamagedScan, "infinite or undefined"),
        (overflow, DamagedScan, "beyond 1e\\+15"),
        (misplace, DamagedScan, "position"),
        (shorten, DamagedScan, "holds 10 numbers"),
        (lose_a_coil, DamagedScan, "2 to 3 coils"),
        (lose_all_coils, DamagedScan, "no coil recorded them"),
        (lambda acquisitions: acquisitions[:16], NoiseAlone, "noise scan"),
        (lambda acquisitions: acquisitions[:0], NotAScan, "no image lines"),
    ],
)
def test_acquisitions_that_do_not_make_a_scan_are_named(edit, change, error, named):
    with pytest.raises(error, match=named):
        read_scan(edit(change))


@pytest.mark.parametrize(
    ("content", "error", "named"),
    [
        (b"", NotAScan, "empty"),
        (b"patient notes\n", NotAScan, "text"),
        (b"\x1f\x8b\x08 packed", NotAScan, "gzip archive"),
        (b"\0" * 128 + b"DICM", NotAScan, "DICOM"),
        (b"\x07\0\xff\xff" * 9, NotAScan, "no raw data that raki knows"),
        (b"\x89HDF\r\n\x1a\n", DamagedScan, "truncated or damaged"),
    ],
)
def test_other_files_are_refused_by_what_they_are(tmp_path, content, error, named):
    path = tmp_path / "Doe^Jane.h5"
    path.write_bytes(content)
    with pytest.raises(error, match=named) as raised:
        read_scan(path)
    assert "Doe" not in str(raised.value)


def test_hdf5_of_something_else_is_no_scan(tmp_path):
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["weights"] = np.zeros((2, 3))
    with pytest.raises(NotAScan, match="no ISMRMRD acquisitions") as raised:
        read_scan(tmp_path / "other.h5")
    assert raised.value.failure_class == "NotAScan"


def test_missing_header_is_named(edit):
    path = edit()
    with h5py.File(path, "r+") as file:
        del file["dataset/xml"]
    with pytest.raises(DamagedScan, match="no header"):
        read_scan(path)


@pytest.mark.parametrize("encoding", ["mbcs", "rot13", "x" * 5000])
def test_a_header_in_an_encoding_that_nobody_knows_is_damage(edit, encoding):
    def declare(xml):
        return f'<?xml version="1.0" encoding="{encoding}"?>' + xml.partition("?>")[2]

    with pytest.raises(DamagedScan, match=r"not valid ISMRMRD XML \(LookupError\)"):
        read_scan(edit(change_xml=declare))


def test_noise_whose_dwell_time_is_no_number_is_noise(edit):
    def garble(acquisitions):
        is_noise = acquisitions["head"]["flags"] & np.uint64(1 << 18) != 0
        acquisitions["head"]["sample_time_us"][is_noise] = np.nan

    scan = read_scan(edit(garble))
    assert scan.noise is not None
    assert scan.noise_dwell_ratio == 1.0
