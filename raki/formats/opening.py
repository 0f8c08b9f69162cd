"""Find the format of raw files by their content, and open them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path

from raki.archive import START_BYTES, refusal
from raki.errors import NotAScan
from raki.formats.acquisitions import Acquisitions, Format
from raki.formats.scan_reader import sorted_scan
from raki.formats.sorting.joining import joined
from raki.scan import Scan


@cache
def formats() -> tuple[Format, ...]:
    """All formats that raki reads, in the order of their names."""
    found = (point.load() for point in entry_points(group="raki.formats"))
    return tuple(sorted(found, key=lambda known: known.name))


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
    with joined([(file, candidates(file)) for file in _leading(files)]) as opened:
        yield opened


def _leading(files: Sequence[Path]) -> list[Path]:
    """The files without those that are a part of another one."""
    parts = {lead.with_suffix(suffix) for lead in files for known in _recognised(lead) for suffix in known.companions}
    return [file for file in files if file not in parts]


def candidates(path: Path) -> list[Format]:
    """The formats that a file may be of by its beginning; opening it decides.

    Raises:
        NotAScan: none is, or there is no such file.
    """
    found = _recognised(path)
    if not found:
        raise refusal(_start(path), formats())
    return found


def _recognised(path: Path) -> list[Format]:
    start = _start(path)
    return [known for known in formats() if known.recognises(start)]


def _start(path: Path) -> bytes:
    if not path.is_file():
        raise NotAScan("there is no file of this name; raki needs one file of raw data")
    with path.open("rb") as file:
        return file.read(START_BYTES)
