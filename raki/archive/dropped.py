"""What was dropped: a stream from the network, or a file or folder on this machine."""

from collections.abc import Sequence
from pathlib import Path

from raki.archive.limits import DEFAULT_LIMITS, Limits
from raki.archive.raw_data import START_BYTES, RawData, companion_of, recognised, refusal
from raki.archive.streams import Readable, decompressor_for
from raki.archive.tar import is_tar
from raki.archive.unpacking import several_options, unpack_with
from raki.archive.zip import ZipArchive, is_zip
from raki.errors import NotAScan, UnsupportedScan
from raki.names import OPTIONS_FILE, is_options_file, options_beside
from raki.options import LARGEST_FILE_BYTES


def unpack(stream: Readable, into: Path, *, formats: Sequence[RawData], limits: Limits = DEFAULT_LIMITS) -> list[Path]:
    """Writes all raw data of one scan out of a stream into a folder, and returns the files in the archive's order.

    The files are `scan.h5`, `scan-2.dat` and so on; the companions of one (the `.cfl` of a `.hdr`) have its stem and
    follow it. Whether several belong together is for the reader to decide. Of an archive that holds a scan's options
    they come out too, as `raki.toml`, which isn't among the files returned.

    Knows plain files, tar and zip archives, and files and tar archives in gzip, zstd or xz, one within another. Reads
    the stream once, to its end, in bounded memory; it needs `read` only, so it may come over the network. What is
    found is written once and moved to its place at the end, so that an error leaves nothing. One kind has to be on the
    disk twice, packed and unpacked: a zip archive that comes in a stream, or within another archive, for its directory
    stands at its end.

    Args:
        formats: what raw data is looked for, as `raki.formats.formats()`.

    Raises:
        NotAScan: nothing in the stream is raw data that raki reads; an empty stream has nothing.
        UnsupportedScan: too many files of raw data, or a zip archive with a password or of a rare kind.
        DamagedScan: an archive ends early or a checksum is wrong.
        UnsafeArchive: links, devices, names that lead outside, overlaps, or more than the limits allow.
        WrongOptions: several files of options in one archive.
        TransientError: the disk is too full.
    """
    return unpack_with(lambda unpacking: unpacking.take_stream(stream), into, limits, formats)


def open_local(path: Path, into: Path, *, formats: Sequence[RawData], limits: Limits = DEFAULT_LIMITS) -> list[Path]:
    """The files of one scan on this machine; an archive is unpacked into a folder, as by `unpack`.

    Raw data stays where it is, and its companions beside it are found. A folder stands for all raw data that lies
    directly in it, in the order of names. Of a zip archive no copy is made.

    Args:
        formats: what raw data is looked for, as `raki.formats.formats()`.

    Raises:
        NotAScan: there is no such file, or nothing that raki reads in it. Otherwise as `unpack`.
    """
    if path.is_dir():
        return _raw_in_folder(path, limits, formats)
    if not path.is_file():
        raise NotAScan("there is no file of this name; raki needs raw data, an archive of it, or a folder")
    if raw := _raw(path, formats):
        return raw
    start = _start(path)
    if not (is_zip(start) or is_tar(start) or decompressor_for(start)):
        raise refusal(start, formats)
    with path.open("rb") as file:
        if is_zip(start):
            n_bytes = path.stat().st_size
            return unpack_with(lambda unpacking: unpacking.take_zip(file, n_bytes), into, limits, formats)
        return unpack(file, into, formats=formats, limits=limits)


def options_text(path: Path, into: Path) -> bytes:
    """The content of the file that holds the options of a scan, which `open_local` opened with the same arguments.

    It stands in the scan's archive or folder, or else beside the scan as `NAME.raki.toml` or `raki.toml`. Empty where
    there is none; of a file that is too large as much as tells so.

    Raises:
        WrongOptions: the folder holds several.
    """
    if path.is_dir():
        found = [file for file in _files_in(path) if is_options_file(file.name)]
        if len(found) > 1:
            raise several_options("folder")
    else:
        places = [into / OPTIONS_FILE, *(path.with_name(name) for name in options_beside(path.name))]
        found = [place for place in places if place.is_file()]
    if not found:
        return b""
    with found[0].open("rb") as file:
        return file.read(LARGEST_FILE_BYTES + 1)


def _raw_in_folder(folder: Path, limits: Limits, formats: Sequence[RawData]) -> list[Path]:
    files = [file for file in _files_in(folder) if not is_options_file(file.name)]
    found = [raw for file in files if (raw := _raw(file, formats))]
    if not found:
        raise NotAScan(
            f"none of the {len(files)} files in the folder is raw data that raki reads; name the scan itself"
        )
    if len(found) > limits.n_files:
        raise UnsupportedScan(
            f"the folder holds several scans: {len(found)} files of raw data, and raki takes {limits.n_files}; keep "
            "those of one scan in a folder of their own"
        )
    companions = {companion for _, *others in found for companion in others}
    return [file for lead, *others in found if lead not in companions for file in (lead, *others)]


def _files_in(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.is_file() and not file.name.startswith("._"))


def _raw(path: Path, formats: Sequence[RawData]) -> list[Path]:
    """The file and the companions that stand beside it, if it is raw data; otherwise none."""
    start = _start(path)
    if is_zip(start):
        with path.open("rb") as file:
            return [path] if ZipArchive(file).is_numpy else []
    if is_tar(start) or decompressor_for(start):
        return []
    found = recognised(formats, path, start)
    beside = {companion_of(path, companion) for known in found for companion in known.companions}
    return [path, *sorted(file for file in beside if file.is_file())] if found else []


def _start(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(START_BYTES)
