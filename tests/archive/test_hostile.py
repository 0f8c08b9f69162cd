"""No archive writes outside its folder, fills the disk, or gets its own words into a message."""

import gzip
import io
import lzma
import stat
import struct
import tarfile
import tracemalloc
import zipfile

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from raki.archive import Limits, open_local, unpack
from raki.archive.limits import RATIO_JUDGED_FROM
from raki.errors import DamagedScan, NotAScan, PermanentError, UnsafeArchive, UnsupportedScan
from tests.archive.test_unpacking import BART, FORMATS, SCAN, OneWay, taken, tar, zipped, zstd

BAD_NAMES = [
    "/etc/passwd",
    "../scan.h5",
    "a/../../scan.h5",
    "C:\\scan.h5",
    "C:scan.h5",
    "..\\scan.h5",
    "\\\\server\\share\\scan.h5",
    "/",
]


def zip_of(*infos):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for info, content in infos:
            archive.writestr(info, content)
    return packed.getvalue()


def zip_entry(name="scan.h5", **fields):
    info = zipfile.ZipInfo(name)
    for field, value in fields.items():
        setattr(info, field, value)
    return info


@pytest.mark.parametrize("pack", [tar, zipped])
@pytest.mark.parametrize("name", BAD_NAMES)
def test_names_that_lead_outside_are_refused(name, pack, tmp_path):
    with pytest.raises(UnsafeArchive, match="leads outside"):
        taken(pack((name, SCAN)), tmp_path)
    assert not list(tmp_path.iterdir())


@seed(1)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.lists(st.sampled_from(["..", ".", "/", "\\", "C:", "Doe^Jane", "\n", "\udcff", "é", ".cfl", ".hdr", " "]))
    .map("".join)
    .filter(len),
    form=st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]),
)
def test_no_name_leads_outside_or_into_a_message(name, form, tmp_path_factory):
    folder = tmp_path_factory.mktemp("parent") / "into"
    folder.mkdir()
    members = [(name, SCAN), (name + ".hdr", b"# Dimensions"), (name + ".cfl", b"samples")]
    try:
        files = taken(tar(*members, form=form), folder)
    except PermanentError as error:
        files = []
        assert "Doe" not in str(error)  # noqa: PT017
        assert "\n" not in str(error)  # noqa: PT017
    assert sorted(folder.iterdir()) == sorted(files)
    assert list(folder.parent.iterdir()) == [folder]
    assert all(file.name.startswith("scan") and file.is_file() and not file.is_symlink() for file in files)


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, b"V"])
def test_devices_are_refused(kind, tmp_path):
    with pytest.raises(UnsafeArchive, match="a device"):
        taken(tar(("scan.h5", b""), type=kind), tmp_path)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
@pytest.mark.parametrize("target", ["/etc/passwd", "../scan.h5", "noise.h5", "x" * 300 + ".h5", ""])
def test_a_link_is_followed_nowhere_and_one_that_lacks_its_raw_data_is_no_whole_scan(kind, target, tmp_path):
    link = tar(("exam/second.h5", b""), type=kind, linkname=target)
    with pytest.raises(UnsafeArchive, match="a link to something that isn't in it"):
        taken(link, tmp_path)
    with pytest.raises(UnsafeArchive, match="a link to something that isn't in it"):
        taken(tar(("exam/scan.h5", SCAN)) + link, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("kind", "target"), [(tarfile.SYMTYPE, "./scan.h5"), (tarfile.LNKTYPE, "exam/scan.h5")])
def test_a_link_to_what_is_there_or_to_no_raw_data_is_passed_over(kind, target, tmp_path):
    latest = tar(("exam/latest.h5", b""), type=kind, linkname=target)
    elsewhere = tar(("exam/notes", b""), type=kind, linkname="/etc/passwd")
    (file,) = taken(latest + elsewhere + tar(("exam/scan.h5", SCAN)), tmp_path)
    assert file.read_bytes() == SCAN


SPARSE = {"GNU.sparse.major": "1", "GNU.sparse.name": "padding.bin"}


def test_a_sparse_file_beside_the_scan_is_passed_over_and_a_sparse_scan_is_not(tmp_path):
    padding = tar(("GNUSparseFile.1/padding.bin", b"1\n0\n0\n" + bytes(600)), pax_headers=SPARSE)
    old = bytearray(tar(("padding.bin", b"x" * 700), form=tarfile.GNU_FORMAT))
    old[156:157], old[482] = b"S", 1  # whose map goes on in a block behind the header
    old[148:156] = b"%06o\0 " % (sum(old[:148]) + 8 * 32 + sum(old[156:512]))
    old[512:512] = bytes(512)
    (file,) = taken(padding + bytes(old) + tar(("scan.h5", SCAN)), tmp_path)
    assert file.read_bytes() == SCAN
    file.unlink()
    with pytest.raises(UnsafeArchive, match="without its holes"):
        taken(
            tar(("scan.h5", SCAN)) + tar(("x", SCAN), pax_headers={**SPARSE, "GNU.sparse.name": "noise.h5"}), tmp_path
        )


def test_archives_one_after_the_other_are_one(tmp_path):
    (file,) = taken(tar(("notes.txt", b"hello")) + tar(("scan.h5", SCAN)), tmp_path)
    assert file.read_bytes() == SCAN
    with pytest.raises(DamagedScan, match="breaks off"):
        taken(tar(("scan.h5", SCAN)) + b"something else" * 99, tmp_path)


@pytest.mark.parametrize("mode", [stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK])
def test_devices_in_zip_are_refused(mode, tmp_path):
    packed = zip_of((zip_entry(external_attr=(mode | 0o777) << 16, create_system=3), b"/etc/passwd"))
    with pytest.raises(UnsafeArchive, match="holds a device"):
        taken(packed, tmp_path)


def zip_link(name, target):
    """As `zip --symlinks` packs one."""
    return zip_entry(name, external_attr=(stat.S_IFLNK | 0o777) << 16, create_system=3), target


@pytest.mark.parametrize("target", ["/etc/passwd", "../scan.h5", "noise.h5", "x" * 5000 + ".h5", "", b"\xff\0\n"])
@pytest.mark.parametrize("beside", [True, False])
def test_a_link_in_zip_that_lacks_its_raw_data_is_no_whole_scan(target, beside, tmp_path):
    scan = [(zip_entry("exam/scan.h5"), SCAN)] if beside else []
    with pytest.raises(UnsafeArchive, match="a link to something that isn't in it"):
        taken(zip_of(zip_link("exam/second.h5", target), *scan), tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("pack", [zip_of, lambda *entries: tar(("inner.zip", zip_of(*entries)))])
def test_a_link_in_zip_to_what_is_there_or_to_no_raw_data_is_passed_over(pack, tmp_path):
    links = [zip_link("latest.h5", "exam/scan.h5"), zip_link("exam/notes", "/etc/passwd")]
    (file,) = taken(pack(*links, (zip_entry("exam/scan.h5"), SCAN)), tmp_path)
    assert file.read_bytes() == SCAN
    file.unlink()
    with pytest.raises(NotAScan, match="are links"):
        taken(pack(links[1], (zip_entry("exam/notes.txt"), "hello")), tmp_path)


@pytest.mark.parametrize("pack", [tar, zipped])
def test_counts_and_lengths_are_limited(pack, tmp_path):
    with pytest.raises(UnsafeArchive, match="more than 3 entries"):
        taken(pack(*[(f"{n}.txt", b"") for n in range(4)]), tmp_path, n_members=3)
    with pytest.raises(UnsafeArchive, match="longer than 100 bytes"):
        taken(pack(("a/" * 50 + "scan.h5", SCAN)), tmp_path, n_name_bytes=100)
    with pytest.raises(UnsupportedScan, match="more than 2 files of raw data"):
        taken(pack(*[(f"{n}.h5", SCAN) for n in range(3)]), tmp_path, n_files=2)
    with pytest.raises(UnsafeArchive, match="more than 1000 bytes"):
        taken(pack(("scan.h5", SCAN)), tmp_path, n_bytes=1000)
    assert not list(tmp_path.iterdir())


def test_members_are_counted_over_all_archives_within(tmp_path):
    inner = tar(("1.txt", b""), ("2.txt", b""))
    with pytest.raises(UnsafeArchive, match="more than 5 entries"):
        taken(zipped(*[(f"{n}.tar", inner) for n in range(2)]), tmp_path, n_members=5)


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress, zstd.compress, lambda content: zipped(("a", content))])
def test_size_and_ratio_are_limited(pack, tmp_path):
    with pytest.raises(UnsafeArchive, match="more than 1000 bytes"):
        taken(pack(SCAN[:500] + bytes(700)), tmp_path, n_bytes=1000)
    bomb = pack(SCAN + bytes(RATIO_JUDGED_FROM))
    with pytest.raises(UnsafeArchive, match="more than 50 times"):
        taken(bomb, tmp_path, ratio=50.0)
    with pytest.raises(UnsafeArchive, match="more than 50 times"):
        taken(tar(("bomb", bomb)), tmp_path, ratio=50.0)
    assert not list(tmp_path.iterdir())


def test_the_ratio_is_judged_over_all_members(tmp_path):
    """Eight members of which none is a bomb."""
    content = b"\x89HDF" + bytes(RATIO_JUDGED_FROM // 8 + 1000)
    with pytest.raises(UnsafeArchive, match="more than 50 times"):
        taken(zipped(*[(f"{n}.h5", content) for n in range(8)]), tmp_path, ratio=50.0)


def test_archives_within_archives_are_opened_so_deep_and_no_deeper(tmp_path):
    for packed in (gzip.compress(gzip.compress(gzip.compress(SCAN))), zipped(("a", tar(("b", zipped(("c", SCAN))))))):
        with pytest.raises(UnsafeArchive, match="more than 2 deep"):
            taken(packed, tmp_path)
        assert not list(tmp_path.iterdir())
        (file,) = taken(packed, tmp_path, n_levels=3)
        assert file.read_bytes() == SCAN
        file.unlink()


def test_a_header_that_would_fill_the_memory_is_refused(tmp_path):
    announced = tarfile.TarInfo("./PaxHeaders/scan.h5")
    announced.type, announced.size = tarfile.XHDTYPE, 8 << 30
    for packed in (
        tar(("scan.h5", SCAN), pax_headers={"comment": "x" * (2 << 20)}),
        announced.tobuf(tarfile.GNU_FORMAT) + bytes(1024),
    ):
        with pytest.raises(UnsafeArchive, match="names and attributes"):
            taken(packed, tmp_path)


@pytest.mark.parametrize(
    "record", [b"9 path=x", b"0 path=x\n", b"x path=x\n", b"99999 path=x\n", b"11 size=-5\n", b"7" * 9000]
)
def test_damaged_attributes_are_damage(record, tmp_path):
    header = tarfile.TarInfo("attributes")
    header.type, header.size = tarfile.XHDTYPE, len(record)
    packed = header.tobuf() + record + bytes(-len(record) % 512) + tar(("scan.h5", SCAN))
    with pytest.raises(DamagedScan, match="attributes"):
        taken(packed, tmp_path)


def test_thousands_of_long_names_before_a_member_are_refused(tmp_path):
    header = tarfile.TarInfo("././@LongLink")
    header.type = tarfile.GNUTYPE_LONGNAME
    with pytest.raises(UnsafeArchive, match="names and attributes"):
        taken(header.tobuf() * 2100 + tar(("scan.h5", SCAN)), tmp_path)


def test_a_window_that_would_fill_the_memory_is_refused(tmp_path):
    compressor = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: 30})
    xz = lzma.compress(SCAN, filters=[{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 1 << 29}])
    for packed in (compressor.compress(SCAN) + compressor.flush(), xz):
        with pytest.raises(UnsafeArchive, match="256 MiB of memory"):
            taken(packed, tmp_path)


def test_a_thousand_empty_parts_are_no_end(tmp_path):
    (file,) = taken(gzip.compress(b"", mtime=0) * 1000 + gzip.compress(SCAN), tmp_path)
    assert file.read_bytes() == SCAN


def test_a_zip_with_a_password_is_unsupported(tmp_path):
    packed = bytearray(zipped(("scan.h5", SCAN)))
    for signature, flags_at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        packed[packed.index(signature) + flags_at] |= 1
    with pytest.raises(UnsupportedScan, match="encrypted"):
        taken(bytes(packed), tmp_path)


@pytest.mark.parametrize("method", [9, 12, 14, 99])
def test_zip_methods_but_the_usual_are_unsupported(method, tmp_path):
    packed = bytearray(zipped(("scan.h5", SCAN)))
    for signature, method_at in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        packed[packed.index(signature) + method_at] = method
    with pytest.raises(UnsupportedScan, match=f"by method {method},"):
        taken(bytes(packed), tmp_path)


def test_zip_entries_that_share_bytes_are_refused(tmp_path):
    """The directory lists one entry twice."""
    packed = zipped(("scan.h5", SCAN))
    start, end = packed.index(b"PK\x01\x02"), packed.index(b"PK\x05\x06")
    directory = packed[start:end] * 2
    closing = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 2, 2, len(directory), start, 0)
    with pytest.raises(UnsafeArchive, match="overlap"):
        taken(packed[:start] + directory + closing, tmp_path)


def test_a_zip_that_lies_about_sizes_is_damage(tmp_path):
    packed = bytearray(zipped(("scan.h5", SCAN)))
    size_at = packed.index(b"PK\x01\x02") + 24
    for size in (len(SCAN) - 1, len(SCAN) + 1):
        packed[size_at : size_at + 4] = struct.pack("<L", size)
        with pytest.raises(DamagedScan, match="zip archive is truncated or damaged"):
            taken(bytes(packed), tmp_path)
        assert not list(tmp_path.iterdir())


def test_a_zip_directory_that_would_fill_the_memory_is_refused(tmp_path):
    """Many gigabytes, as the closing record of a sparse file says."""
    path = tmp_path / "dropped"
    with path.open("wb") as file:
        file.write(b"PK\x03\x04")
        file.seek((1 << 30) - 22)
        file.write(struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 9, 9, (1 << 30) - 1000, 22, 0))
    with pytest.raises(UnsafeArchive, match="directory of the zip archive"):
        open_local(path, tmp_path, formats=FORMATS)


def test_zip64_is_read(tmp_path):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive, archive.open("scan.h5", "w", force_zip64=True) as member:
        member.write(SCAN)
    plain = packed.getvalue()
    start, end = plain.index(b"PK\x01\x02"), plain.index(b"PK\x05\x06")
    n_bytes = end - start
    record = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 1, 1, n_bytes, start)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, end, 1)
    closing = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    (file,) = taken(plain[:end] + record + locator + closing, tmp_path)
    assert file.read_bytes() == SCAN


def test_what_is_recognised_may_also_be_a_part(tmp_path):
    """Samples may begin like another format by chance."""
    (hdr, cfl) = taken(tar(("a.cfl", SCAN), ("a.hdr", b"# Dimensions")), tmp_path)
    assert (hdr.suffix, cfl.read_bytes()) == (*BART.suffixes, SCAN)


def test_memory_does_not_grow_with_the_file(tmp_path):
    content = b"\x89HDF" + SCAN * 4000
    for packed in (tar(("scan.h5", content)), zstd.compress(content), zipped(("scan.h5", content))):
        stream = OneWay(packed, piece=1 << 20)
        tracemalloc.start()
        (file,) = unpack(stream, tmp_path, limits=Limits(ratio=1e9), formats=FORMATS)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert file.stat().st_size == len(content)
        assert peak < len(content) / 3


@pytest.mark.parametrize(
    "part",
    [gzip.compress(b"", 1), lzma.compress(b""), b"\x50\x2a\x4d\x18\0\0\0\0"],
    ids=["gzip", "xz", "zstd, to be skipped"],
)
def test_more_parts_than_any_program_packs_are_unsafe(tmp_path, part):
    with pytest.raises(UnsafeArchive, match=r"is packed in 10\d{3} parts of"):
        taken(part * 20_000, tmp_path)


def test_a_zip_entry_without_a_name_is_damage(tmp_path):
    packed = zipped(("x", SCAN))
    start = packed.index(b"PK\x01\x02")
    nameless = packed[: start + 28] + b"\0\0" + packed[start + 30 : start + 46] + packed[start + 47 :]
    end = nameless.index(b"PK\x05\x06")
    size = struct.pack("<I", end - start)
    with pytest.raises(DamagedScan, match=r"no name|truncated or damaged"):
        taken(nameless[: end + 12] + size + nameless[end + 16 :], tmp_path)
