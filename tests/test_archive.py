import gzip
import io
import lzma
import tarfile

import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from raki.archive import Limits, Meter, unpack_scan
from raki.errors import DamagedScan, NotAScan, PermanentError, UnsafeArchive, UnsupportedScan
from raki.simulation import simulate_scan

SCAN = b"\x89HDF\r\n\x1a\n" + bytes(range(256)) * 20


class OneWay:
    """A stream as the network gives it: read only, no seeking, in pieces of its own size."""

    def __init__(self, content, piece=700):
        self.rest, self.piece = io.BytesIO(content), piece

    def read(self, n_bytes=-1):
        return self.rest.read(self.piece if n_bytes < 0 else min(n_bytes, self.piece))


def tar(*members, form=tarfile.PAX_FORMAT, **fields):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=form) as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            for field, value in fields.items():
                setattr(member, field, value)
            archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def without_end(packed):
    """A tar cut between its last member and the zeros that end it."""
    return packed[: (len(packed.rstrip(b"\0")) + 511) // 512 * 512]


def unpack(content, tmp_path, **limits):
    return unpack_scan(OneWay(content), tmp_path, limits=Limits(**limits))


@pytest.mark.parametrize(
    "packed",
    [
        SCAN,
        gzip.compress(SCAN),
        lzma.compress(SCAN),
        tar(("a/scan.h5", SCAN)),
        tar(("a/scan.h5", SCAN), form=tarfile.GNU_FORMAT),
        gzip.compress(tar(("notes.txt", b"protocol"), ("./._scan.h5", SCAN[:50]), ("x" * 300 + ".h5", SCAN))),
        gzip.compress(SCAN[:100]) + gzip.compress(SCAN[100:]),
    ],
    ids=["plain", "gz", "xz", "tar", "gnu tar", "tar.gz", "gz in two parts"],
)
def test_the_scan_comes_out_as_it_went_in(packed, tmp_path):
    path = unpack(packed, tmp_path)
    assert path.read_bytes() == SCAN
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("ending", [".tar", ".tar.gz", ".tgz"])
def test_simulated_archives_hold_the_simulated_scan(tmp_path, ending):
    small = {"n_slices": 1, "n_coils": 2, "matrix": 16, "n_acs_lines": 8}
    simulate_scan(tmp_path / "scan.h5", **small)
    simulate_scan(tmp_path / f"scan{ending}", **small)
    (tmp_path / "out").mkdir()
    with (tmp_path / f"scan{ending}").open("rb") as stream:
        unpacked = unpack_scan(stream, tmp_path / "out")
    assert unpacked.read_bytes() == (tmp_path / "scan.h5").read_bytes()


@seed(1)
@settings(max_examples=80, deadline=None)
@given(fraction=st.floats(0, 0.9999), compress=st.booleans())
def test_truncated_anywhere_is_never_half_a_scan(tmp_path_factory, fraction, compress):
    folder = tmp_path_factory.mktemp("cut")
    packed = tar(("scan.h5", SCAN), form=tarfile.USTAR_FORMAT)
    packed = gzip.compress(packed) if compress else without_end(packed)
    with pytest.raises(PermanentError):
        unpack(packed[: int(fraction * len(packed))], folder)
    assert not list(folder.iterdir())


@pytest.mark.parametrize(
    ("packed", "error", "named"),
    [
        (b"", NotAScan, "empty"),
        (gzip.compress(b"", mtime=0), NotAScan, "empty"),
        (b"hello", NotAScan, "text"),
        (b"PK\x03\x04....", NotAScan, "zip archive"),
        (tar(("readme.txt", b"x")), NotAScan, "none of the 1 entries"),
        (tar(("1.h5", SCAN), ("2.h5", SCAN)), UnsupportedScan, "several scans"),
        (without_end(tar(("scan.h5", SCAN))), DamagedScan, "breaks off"),
        (tar(("scan.h5", SCAN)) + b"more", DamagedScan, "breaks off"),
        (gzip.compress(SCAN)[:-4], DamagedScan, "EOFError"),
        (gzip.compress(SCAN)[:-8] + b"\0" * 8, DamagedScan, "BadGzipFile"),
    ],
)
def test_what_is_no_single_scan_is_named(packed, error, named, tmp_path):
    with pytest.raises(error, match=named):
        unpack(packed, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../scan.h5", "a/../../scan.h5", "C:\\scan.h5", "..\\scan.h5", "\\\\x\\y"]
)
def test_names_that_lead_outside_are_refused(name, tmp_path):
    with pytest.raises(UnsafeArchive, match="leads outside"):
        unpack(tar((name, SCAN)), tmp_path)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_are_refused(kind, tmp_path):
    with pytest.raises(UnsafeArchive, match="a link, a device"):
        unpack(tar(("scan.h5", b""), type=kind, linkname="/etc/passwd"), tmp_path)


def test_size_count_and_ratio_are_limited(tmp_path):
    with pytest.raises(UnsafeArchive, match="more than 1000 bytes"):
        unpack(SCAN, tmp_path, n_bytes=1000)
    with pytest.raises(UnsafeArchive, match="more than 3 entries"):
        unpack(tar(*[(f"{n}.txt", b"") for n in range(4)]), tmp_path, n_members=3)
    bomb = gzip.compress(SCAN + bytes(Meter.RATIO_JUDGED_FROM))
    with pytest.raises(UnsafeArchive, match="more than 50 times"):
        unpack(bomb, tmp_path, ratio=50.0)
    assert not list(tmp_path.iterdir())


def test_a_header_that_would_fill_the_memory_is_refused(tmp_path):
    packed = tar(("scan.h5", SCAN), pax_headers={"comment": "x" * (8 << 20)})
    with pytest.raises(UnsafeArchive, match="names and attributes"):
        unpack(packed, tmp_path)


@pytest.mark.parametrize("name", ["scan.zip", "scan", "scan.h5.gz"])
def test_simulation_knows_only_the_endings_it_writes(name, tmp_path):
    with pytest.raises(ValueError, match="is written as"):
        simulate_scan(tmp_path / name, matrix=16)
