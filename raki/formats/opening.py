"""Find the format of raw files by their content, and open them."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path

from raki.archive import START_BYTES, companion_of, recognised, refusal
from raki.errors import NotAScan, PermanentError
from raki.formats.acquisitions import Acquisitions, Format
from raki.formats.others import guarded
from raki.formats.scan_reader import sorted_scan
from raki.formats.sorting.joining import joined, with_noise
from raki.plugins import plugins
from raki.scan import Scan


@cache
def formats() -> tuple[Format, ...]:
    """All formats that raki reads, in the order of their names. Broken ones are left out, and logged."""
    found = (
        plugin.value if plugin.is_ours else guarded(plugin)
        for plugin in plugins("raki.formats", Format)
        if plugin.why_not is None
    )
    return tuple(sorted(found, key=lambda known: known.name))


def read_scan(path: Path, *others: Path) -> Scan:
    """Reads a raw scan and sorts it, all in memory, in this process: for files of your own.

    Args:
        path: a file of raw data, of a format in `raki.formats.formats()`; found by its content.
        others: further files of the same scan: its noise scan, its calibration scan.

    Returns:
        Complex64 k-space with axes slice, coil, pe, ro, its readout oversampling and noise as acquired.

    Raises:
        NotAScan: a file is missing, empty, or nothing that an MRI scanner wrote.
        DamagedScan: the format is right, but the content is truncated or contradicts itself.
        UnsupportedScan: raw data of a format or kind that raki doesn't reconstruct, or several scans.

    >>> import raki
    >>> from pathlib import Path
    >>> raki.simulate_scan(Path("scan.h5"), n_slices=1, n_coils=4, matrix=32, acceleration=2, n_acs_lines=12)
    >>> raki.read_scan(Path("scan.h5")).kspace.shape
    (1, 4, 32, 64)
    """
    with open_scan([path, *others]) as scan:
        return scan.in_memory()


@contextmanager
def open_scan(files: Sequence[Path], noise: Path | None = None) -> Iterator[Scan]:
    """Opens a raw scan and sorts it; its slices are read from the files when they are asked for, inside the block.

    Args:
        files: one file of raw data, or all files of one scan: the measurement, its noise scan, its calibration scan,
            and whatever stands beside them as a part of them.
        noise: what is the scan's noise scan by its name. Left out, with a sentence, where it is something else; and
            where the scan has noise of its own.

    Raises:
        NotAScan: a file is missing, empty, or nothing that an MRI scanner wrote.
        DamagedScan: the format is right, but the content is truncated or contradicts itself.
        UnsupportedScan: raw data of a format or kind that raki doesn't reconstruct, or several scans.
    """
    with open_raw(files, noise) as (_, acquisitions):
        yield sorted_scan(acquisitions)


@contextmanager
def open_raw(files: Sequence[Path], noise: Path | None = None) -> Iterator[tuple[Format, Acquisitions]]:
    """Opens the files of one scan as they were acquired; the format is that of the measurement itself.

    Arguments and errors are those of `open_scan`.
    """
    with joined([(file, candidates(file)) for file in _leading(files)]) as opened, ExitStack() as stack:
        format_, measurement = opened
        yield format_, with_noise(measurement, _noise_in(noise, stack)) if noise else measurement


def _noise_in(file: Path, stack: ExitStack) -> Acquisitions | None:
    """What a file holds; None where raki reads nothing in it."""
    try:
        return stack.enter_context(joined([(file, candidates(file))]))[1]
    except PermanentError:
        return None


def _leading(files: Sequence[Path]) -> list[Path]:
    """The files without those that are a part of another one."""
    parts = {companion_of(lead, part) for lead in files for known in _recognised(lead) for part in known.companions}
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
    return [known for known in formats() if known in recognised(formats(), path, start)]


def _start(path: Path) -> bytes:
    if not path.is_file():
        raise NotAScan("there is no file of this name; raki needs one file of raw data")
    with path.open("rb") as file:
        return file.read(START_BYTES)
