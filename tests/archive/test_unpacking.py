"""Raw data comes out of every kind of archive as it went in, in one pass over the stream."""

import errno
import gzip
import io
import lzma
import sys
import tarfile
import zipfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from raki.archive import Limits, open_local, options_text, unpack
from raki.errors import DamagedScan, NotAScan, PermanentError, TransientError, UnsupportedScan, WrongOptions
from raki.formats.acquisitions import Format
from raki.options import LARGEST_FILE_BYTES
from raki.phantom.simulation import simulate_scan

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


@contextmanager
def unopened(path):
    raise AssertionError("an archive is unpacked without reading the raw data")
    yield


HDF5 = Format(
    name="hdf5", suffixes=(".h5", ".mrd"), recognises=lambda start: start.startswith(b"\x89HDF"), open=unopened
)
TWIX = Format(name="twix", suffixes=(".dat",), recognises=lambda start: start.startswith(b"twix"), open=unopened)
BART = Format(
    name="bart",
    suffixes=(".hdr",),
    recognises=lambda start: start.startswith(b"# Dimensions"),
    open=unopened,
    companions=(".cfl",),
)
NPY = Format(
    name="npy",
    suffixes=(".npy",),
    recognises=lambda start: start.startswith(b"\x93NUMPY"),
    open=unopened,
    companions=(".json",),
)
FORMATS = (HDF5, TWIX, BART, NPY)

SCAN = b"\x89HDF\r\n\x1a\n" + np.random.default_rng(0).bytes(6000) + b"\0" * 500


class OneWay:
    """A stream as the network gives it: read only, no seeking, in pieces of its own size."""

    def __init__(self, content, piece=3000):
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


def zipped(*members, method=zipfile.ZIP_DEFLATED):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", method) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return packed.getvalue()


def npz():
    packed = io.BytesIO()
    np.savez(packed, noise=np.ones(3), kspace=np.ones((2, 4, 8), np.complex64))
    return packed.getvalue()


def without_end(packed):
    """A tar cut between its last member and the zeros that end it."""
    return packed[: (len(packed.rstrip(b"\0")) + 511) // 512 * 512]


def taken(content, folder, **limits):
    return unpack(OneWay(content), folder, limits=Limits(**limits), formats=FORMATS)


def zstandard(content):
    """As the program of that name packs: with a checksum."""
    return zstd.compress(content, options={zstd.CompressionParameter.checksum_flag: 1})


COMPRESSIONS = {"gz": gzip.compress, "xz": lzma.compress, "zst": zstandard}
KINDS = {
    "plain": lambda content: content,
    **COMPRESSIONS,
    "tar": lambda content: tar(("a/scan.h5", content)),
    "gnu tar": lambda content: tar(("x" * 300 + ".h5", content), form=tarfile.GNU_FORMAT),
    "old tar": lambda content: tar(("a.h5", content), form=tarfile.USTAR_FORMAT),
    "zip": lambda content: zipped(("notes.txt", b"protocol"), ("a/scan.h5", content)),
    "stored zip": lambda content: zipped(("a/scan.h5", content), method=zipfile.ZIP_STORED),
    **{f"tar.{name}": lambda content, pack=pack: pack(tar(("a.h5", content))) for name, pack in COMPRESSIONS.items()},
    "tar.gz in zip": lambda content: zipped(("scan.tgz", gzip.compress(tar(("a.h5", content))))),
    "h5.gz in tar": lambda content: tar(("readme", b"x"), ("scan.h5.gz", gzip.compress(content))),
    "h5.zst in tar.xz": lambda content: lzma.compress(tar(("scan.h5.zst", zstandard(content)))),
    "zip in tar.gz": lambda content: gzip.compress(tar(("a.zip", zipped(("scan.h5", content))))),
    "zip in zip": lambda content: zipped(("a.zip", zipped(("scan.h5", content))), method=zipfile.ZIP_STORED),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("how", ["stream", "local"])
def test_raw_data_comes_out_of_every_kind_as_it_went_in(kind, how, tmp_path):
    packed = KINDS[kind](SCAN)
    dropped, into = tmp_path / "dropped", tmp_path / "into"
    dropped.write_bytes(packed)
    into.mkdir()
    files = taken(packed, into) if how == "stream" else open_local(dropped, into, formats=FORMATS)
    assert [file.read_bytes() for file in files] == [SCAN]
    assert files == ([dropped] if kind == "plain" and how == "local" else [into / "scan.h5"])
    assert sorted(into.iterdir()) == [file for file in files if file != dropped]
    assert dropped.read_bytes() == packed


@pytest.mark.parametrize("pack", COMPRESSIONS.values(), ids=COMPRESSIONS)
def test_a_compressed_stream_may_come_in_parts(pack, tmp_path):
    (file,) = taken(b"".join(pack(SCAN[at : at + 1000]) for at in range(0, len(SCAN), 1000)), tmp_path)
    assert file.read_bytes() == SCAN


def test_zstd_may_begin_and_end_with_frames_to_skip(tmp_path):
    to_skip = b"\x5a\x2a\x4d\x18\x04\0\0\0size"
    (file,) = taken(to_skip + zstd.compress(SCAN) + to_skip, tmp_path)
    assert file.read_bytes() == SCAN


def test_the_stream_is_read_to_its_end(tmp_path):
    for number, packed in enumerate([tar(("a.h5", SCAN)) + bytes(20_000), zipped(("a.h5", SCAN)), gzip.compress(SCAN)]):
        stream = OneWay(packed)
        (tmp_path / str(number)).mkdir()
        unpack(stream, tmp_path / str(number), formats=FORMATS)
        assert stream.rest.tell() == len(packed)


def test_all_files_of_a_scan_come_out_under_names_of_our_own(tmp_path):
    members = [
        ("Doe^Jane/noise.DAT", b"twix noise"),
        ("._noise.DAT", b"twix attributes"),
        ("Doe^Jane/protocol.pdf", b"%PDF"),
        ("Doe^Jane/image.h5.exe", SCAN),
        ("Doe^Jane/calibration", b"twix calibration"),
    ]
    files = taken(zipped(*members), tmp_path)
    assert [file.name for file in files] == ["scan.dat", "scan-2.h5", "scan-3.dat"]
    assert [file.read_bytes() for file in files] == [b"twix noise", SCAN, b"twix calibration"]
    assert sorted(tmp_path.iterdir()) == sorted(files)


@pytest.mark.parametrize("pack", [tar, zipped])
@pytest.mark.parametrize("lead_first", [True, False])
def test_companions_share_the_stem_of_their_raw_data_whichever_comes_first(pack, lead_first, tmp_path):
    members = [
        ("a/one.hdr", b"# Dimensions\n1"),
        ("a/one.cfl", b"a one"),
        ("b/one.cfl", b"b one"),
        ("b/one.HDR", b"# Dimensions\n2"),
        ("a/one.json", b"{}"),
        ("lonely.cfl", b"no header"),
        ("two.npy", b"\x93NUMPY"),
        ("two.json", b'{"two": 2}'),
    ]
    files = taken(pack(*(members if lead_first else reversed(members))), tmp_path)
    contents = {file.name: file.read_bytes() for file in files}
    by_stem = {}
    for name, content in contents.items():
        by_stem.setdefault(Path(name).stem, {})[Path(name).suffix] = content
    assert sorted(by_stem.values(), key=str) == [
        {".hdr": b"# Dimensions\n1", ".cfl": b"a one"},
        {".hdr": b"# Dimensions\n2", ".cfl": b"b one"},
        {".npy": b"\x93NUMPY", ".json": b'{"two": 2}'},
    ]
    assert sorted(tmp_path.iterdir()) == sorted(files)


def test_companions_may_be_compressed_each_alone(tmp_path):
    files = taken(tar(("x.cfl.gz", gzip.compress(b"samples")), ("x.hdr.gz", gzip.compress(b"# Dimensions"))), tmp_path)
    assert [file.name for file in files] == ["scan.hdr", "scan.cfl"]
    assert files[1].read_bytes() == b"samples"


def test_an_npz_is_one_raw_file_wherever_it_is(tmp_path):
    for number, packed in enumerate([npz(), gzip.compress(npz()), tar(("a.npz", npz())), zipped(("a.npz", npz()))]):
        (tmp_path / str(number)).mkdir()
        (file,) = taken(packed, tmp_path / str(number))
        assert file.name == "scan.npz"
        assert file.read_bytes() == npz()
    local = tmp_path / "local"
    local.write_bytes(npz())
    assert open_local(local, tmp_path / "0", formats=FORMATS) == [local]


def test_a_zip_of_arrays_with_descriptions_is_an_archive(tmp_path):
    files = taken(zipped(("kspace.npy", b"\x93NUMPY"), ("kspace.json", b"{}")), tmp_path)
    assert [file.name for file in files] == ["scan.npy", "scan.json"]


@pytest.mark.parametrize("ending", [".tar", ".tar.gz", ".tgz"])
def test_simulated_archives_hold_the_simulated_scan(tmp_path, ending):
    small = {"n_slices": 1, "n_coils": 2, "matrix": 16, "n_acs_lines": 8}
    simulate_scan(tmp_path / "scan.h5", **small)
    simulate_scan(tmp_path / f"scan{ending}", **small)
    (tmp_path / "out").mkdir()
    with (tmp_path / f"scan{ending}").open("rb") as stream:
        (unpacked,) = unpack(stream, tmp_path / "out", formats=FORMATS)
    assert unpacked.read_bytes() == (tmp_path / "scan.h5").read_bytes()


@seed(1)
@settings(max_examples=70)
@given(fraction=st.floats(0, 1, exclude_max=True), kind=st.sampled_from([one for one in KINDS if one != "plain"]))
def test_truncated_anywhere_is_never_half_a_scan(tmp_path_factory, fraction, kind):
    folder = tmp_path_factory.mktemp("cut")
    packed = KINDS[kind](SCAN)
    if kind.endswith("tar"):
        packed = without_end(packed)
    packed = packed[: int(fraction * len(packed))]
    (folder / "into").mkdir()
    (folder / "dropped").write_bytes(packed)
    attempts = (
        lambda: taken(packed, folder / "into"),
        lambda: open_local(folder / "dropped", folder / "into", formats=FORMATS),
    )
    for attempt in attempts:
        with pytest.raises(PermanentError) as raised:
            attempt()
        assert "\n" not in str(raised.value)
        assert not list((folder / "into").iterdir())


@seed(2)
@settings(max_examples=70)
@given(position=st.floats(0, 1, exclude_max=True), value=st.integers(0, 255), kind=st.sampled_from([*KINDS][1:]))
def test_any_changed_byte_gives_the_scan_or_a_clear_sentence(tmp_path_factory, position, value, kind):
    """What an uncompressed tar holds has no checksum."""
    folder = tmp_path_factory.mktemp("changed")
    packed = bytearray(KINDS[kind](SCAN))
    packed[int(position * len(packed))] = value
    try:
        (file,) = taken(bytes(packed), folder)
    except PermanentError:
        assert not list(folder.iterdir())
    else:
        assert file.read_bytes() == SCAN or kind.endswith("tar")
        assert file.stat().st_size == len(SCAN)


@pytest.mark.parametrize(
    ("packed", "error", "named"),
    [
        (b"", NotAScan, "empty"),
        (gzip.compress(b"", mtime=0), NotAScan, "empty"),
        (b"hello", NotAScan, "text"),
        (zstd.compress(b"hello"), NotAScan, "text"),
        (b"PK\x03\x04....", DamagedScan, "zip archive is truncated"),
        (zipped(), NotAScan, "none of the 0 entries"),
        (tar(("readme.txt", b"x")), NotAScan, "none of the 1 entries"),
        (tar(("lonely.cfl", b"x")), NotAScan, "none of the 1 entries"),
        (without_end(tar(("scan.h5", SCAN))), DamagedScan, "breaks off"),
        (tar(("scan.h5", SCAN)) + b"more", DamagedScan, "breaks off"),
        (gzip.compress(SCAN) + b"more", DamagedScan, "something else follows"),
        (lzma.compress(SCAN) + b"more", DamagedScan, "something else follows"),
        (zstd.compress(SCAN) + b"more", DamagedScan, "something else follows"),
        (gzip.compress(SCAN)[:-4], DamagedScan, "ends early"),
        (gzip.compress(SCAN)[:-8] + b"\0" * 8, DamagedScan, "checksum"),
        (
            zipped(("a", zipped(("scan.h5", SCAN))), method=zipfile.ZIP_STORED)[:-60],
            DamagedScan,
            "beginning or its end",
        ),
    ],
)
def test_what_is_no_scan_is_named(packed, error, named, tmp_path):
    with pytest.raises(error, match=named):
        taken(packed, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_file_beside_its_companions_stays_where_it_is(tmp_path):
    (tmp_path / "a.hdr").write_bytes(b"# Dimensions")
    (tmp_path / "a.cfl").write_bytes(b"samples")
    (tmp_path / "b.cfl").write_bytes(b"of another scan")
    found = [tmp_path / "a.hdr", tmp_path / "a.cfl"]
    assert open_local(tmp_path / "a.hdr", tmp_path, formats=FORMATS) == found
    (tmp_path / "c.h5").write_bytes(SCAN)
    (tmp_path / "d.npz").write_bytes(npz())
    (tmp_path / "notes.txt").write_bytes(b"protocol")
    assert open_local(tmp_path, tmp_path, formats=FORMATS) == [*found, tmp_path / "c.h5", tmp_path / "d.npz"]
    with pytest.raises(UnsupportedScan, match="3 files of raw data, and raki takes 2"):
        open_local(tmp_path, tmp_path, limits=Limits(n_files=2), formats=FORMATS)


OPTIONS = b"# Dimensions of nothing: BART's files begin like this\n[reconstruction]\nseed = 1\n"


@pytest.mark.parametrize("pack", [tar, zipped])
@pytest.mark.parametrize("name", ["raki.toml", "site/scan/raki.toml", "site/scan.raki.toml", "raki.toml.gz"])
def test_a_scans_options_come_out_of_its_archive_beside_the_raw_data(pack, name, tmp_path):
    packed = pack(
        ("._raki.toml", b"x"), (name, gzip.compress(OPTIONS) if name.endswith("gz") else OPTIONS), ("a.h5", SCAN)
    )
    assert taken(packed, tmp_path) == [tmp_path / "scan.h5"]
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == {"scan.h5": SCAN, "raki.toml": OPTIONS}
    (tmp_path / "archive").write_bytes(packed)
    (tmp_path / "local").mkdir()
    open_local(tmp_path / "archive", tmp_path / "local", formats=FORMATS)
    assert options_text(tmp_path / "archive", tmp_path / "local") == OPTIONS


def test_of_options_that_are_too_large_as_much_comes_out_as_tells_so(tmp_path):
    taken(tar(("raki.toml", b"#" * 3 * LARGEST_FILE_BYTES), ("a.h5", SCAN)), tmp_path)
    assert (tmp_path / "raki.toml").stat().st_size == LARGEST_FILE_BYTES + 1


def test_several_files_of_options_in_one_archive_or_folder_are_refused(tmp_path):
    with pytest.raises(WrongOptions, match="archive holds several files of options"):
        taken(tar(("a.h5", SCAN), ("a.raki.toml", OPTIONS), ("b/raki.toml", OPTIONS)), tmp_path)
    assert not list(tmp_path.iterdir())
    for name in ("a.raki.toml", "raki.toml"):
        (tmp_path / name).write_bytes(OPTIONS)
    with pytest.raises(WrongOptions, match="folder holds several files of options"):
        options_text(tmp_path, tmp_path)


def test_options_alone_are_no_scan(tmp_path):
    with pytest.raises(NotAScan, match="none of the 1 entries"):
        taken(tar(("raki.toml", OPTIONS)), tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_nearest_file_of_options_is_the_scans(tmp_path):
    into = tmp_path / "into"
    into.mkdir()
    (tmp_path / "a.h5").write_bytes(SCAN)
    assert options_text(tmp_path / "a.h5", into) == options_text(tmp_path, into) == b""
    (tmp_path / "raki.toml").write_bytes(b"folder")
    assert open_local(tmp_path, into, formats=FORMATS) == [tmp_path / "a.h5"]
    assert options_text(tmp_path / "a.h5", into) == options_text(tmp_path, into) == b"folder"
    (tmp_path / "a.raki.toml").write_bytes(b"name")
    assert options_text(tmp_path / "a.h5", into) == b"name"
    assert options_text(tmp_path / "b.h5", into) == b"folder"
    (into / "raki.toml").write_bytes(b"archive")
    assert options_text(tmp_path / "a.h5", into) == b"archive"


def test_options_are_raw_data_in_no_folder_however_they_begin(tmp_path):
    (tmp_path / "raki.toml").write_bytes(OPTIONS)
    (tmp_path / "a.h5").write_bytes(SCAN)
    assert open_local(tmp_path, tmp_path, formats=FORMATS) == [tmp_path / "a.h5"]


def test_what_is_not_there_or_not_raw_data_is_named(tmp_path):
    with pytest.raises(NotAScan, match="no file of this name"):
        open_local(tmp_path / "Doe^Jane.h5", tmp_path, formats=FORMATS)
    (tmp_path / "notes.txt").write_bytes(b"protocol")
    with pytest.raises(NotAScan, match="text"):
        open_local(tmp_path / "notes.txt", tmp_path, formats=FORMATS)
    with pytest.raises(NotAScan, match="none of the 1 files in the folder"):
        open_local(tmp_path, tmp_path, formats=FORMATS)


class FullDisk:
    def __init__(self, error):
        self.error, self.rest = error, io.BytesIO(SCAN)

    def read(self, n_bytes):
        if block := self.rest.read(min(n_bytes, 5000)):
            return block
        raise OSError(self.error, "")


def test_a_full_disk_is_worth_another_attempt(tmp_path):
    with pytest.raises(TransientError, match="MiB left"):
        taken(SCAN, tmp_path, free_bytes=1 << 60)
    with pytest.raises(TransientError, match="nothing more could be written"):
        unpack(FullDisk(errno.ENOSPC), tmp_path, formats=FORMATS)
    with pytest.raises(ConnectionResetError):
        unpack(FullDisk(errno.ECONNRESET), tmp_path, formats=FORMATS)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["scan.zip", "scan", "scan.h5.gz"])
def test_simulation_knows_only_the_endings_it_writes(name, tmp_path):
    with pytest.raises(ValueError, match="is written as"):
        simulate_scan(tmp_path / name, matrix=16)
