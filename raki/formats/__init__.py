"""Raw data as scanners write it. The format is found by content, never by name.

Each format is one module and one entry point in the group `raki.formats`: see `raki.formats.acquisitions.Format`.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path

from raki.errors import NotAScan, PermanentError
from raki.formats.acquisitions import START_BYTES, Acquisitions, Format
from raki.formats.joining import joined
from raki.formats.scan_reader import sorted_scan
from raki.scan import Scan

PACKED = {b"\x1f\x8b": "gzip", b"\xfd7zXZ\x00": "xz", b"PK\x03\x04": "zip", b"\x28\xb5\x2f\xfd": "zstd"}


@cache
def formats() -> tuple[Format, ...]:
    """All formats that raki reads, in the order of their names."""
    found = (point.load() for point in entry_points(group="raki.formats"))
    return tuple(sorted(found, key=lambda one: one.name))


def find_format(start: bytes) -> Format | None:
    """The format of a file that begins with these bytes (`START_BYTES` of them); the first, where several may be."""
    return next((one for one in formats() if one.recognises(start)), None)


def read_scan(path: Path, *others: Path) -> Scan:
    """Reads a raw scan and sorts it, all in memory. Arguments and errors are those of `open_scan`."""
    with open_scan([path, *others]) as scan:
        return scan.in_memory()


@contextmanager
def open_scan(files: Sequence[Path]) -> Iterator[Scan]:
    """Opens a raw scan and sorts it; its slices are read from the files when they are asked for, inside the block.

    Args:
        files: one file of raw data, or all files of one scan: the measurement, its noise scan, its calibration scan,
            and whatever stands beside them as a part of them.

    Raises:
        NotAScan: a file is missing, empty, or nothing that an MRI scanner wrote.
        DamagedScan: the format is right, but the content is truncated or contradicts itself.
        UnsupportedScan: raw data of a format or kind that raki doesn't reconstruct, or several scans.
    """
    with open_raw(files) as (_, acquisitions):
        yield sorted_scan(acquisitions)


@contextmanager
def open_raw(files: Sequence[Path]) -> Iterator[tuple[Format, Acquisitions]]:
    """Opens the files of one scan as they were acquired; the format is that of the measurement itself.

    Arguments and errors are those of `open_scan`.
    """
    with joined([(one, candidates(one)) for one in _leading(files)]) as opened:
        yield opened


def refusal(start: bytes) -> PermanentError:
    """The error for a file that begins with these bytes and isn't a scan; it names what the file seems to be."""
    wanted = f"raki reads {', '.join(one.name for one in formats())}"
    if not start:
        return NotAScan(f"the file is empty; {wanted}: copy the scan again")
    for magic, name in PACKED.items():
        if start.startswith(magic):
            return NotAScan(f"this is a {name} archive; {wanted}: unpack it first (raki.archive.unpack)")
    if start[128:132] == b"DICM":
        return NotAScan(f"this is a DICOM file, which holds images; {wanted}: export the raw data")
    if b"\0" not in start:
        return NotAScan(f"the file holds text; {wanted}: export the raw data")
    return NotAScan(f"the file begins like no raw data that raki knows; {wanted}: convert it to ISMRMRD")


def _leading(files: Sequence[Path]) -> list[Path]:
    """The files without those that are a part of another one."""
    parts = {lead.with_suffix(suffix) for lead in files for one in _recognised(lead) for suffix in one.companions}
    return [file for file in files if file not in parts]


def candidates(path: Path) -> list[Format]:
    """The formats that a file may be of by its beginning; opening it decides.

    Raises:
        NotAScan: none is, or there is no such file.
    """
    found = _recognised(path)
    if not found:
        raise refusal(_start(path))
    return found


def _recognised(path: Path) -> list[Format]:
    start = _start(path)
    return [one for one in formats() if one.recognises(start)]


def _start(path: Path) -> bytes:
    if not path.is_file():
        raise NotAScan("there is no file of this name; raki needs one file of raw data")
    with path.open("rb") as file:
        return file.read(START_BYTES)
