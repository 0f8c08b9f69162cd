"""The binary part of a Siemens twix file: where measurements, their text buffers and their lines stand.

A file of VD to XA starts with a table of measurements; a file of VB is one measurement. A measurement starts with text
buffers, then line follows line up to a block that is marked as the end. In VD a line is one scan header and, for each
coil, a channel header and samples; in VB each coil has its own scan header. Between the lines stand blocks of the
physiological monitoring ("sync data"), which are stepped over.
"""

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from raki.errors import DamagedScan, UnsupportedScan
from raki.formats.twix.layout import VB, VD, BlockLayout

ACQEND, SYNCDATA = 1 << 0, 1 << 5  # of the evaluation mask
DMA_LENGTH, PACKED = (1 << 25) - 1, 1 << 25  # of the first word of a block
# A real line has a few MiB at most; 25 bits is what a block's own length can say.
MOST_LINE_BYTES = DMA_LENGTH
MOST_CHANNELS = 1024
MOST_LINES = 1_000_000
MOST_HEADER_BYTES, MOST_BUFFERS = 1 << 24, 64
TABLE_ENTRY_BYTES, TABLE_START, MOST_MEASUREMENTS = 152, 8, 64
# Multi-raid files start with a small number; a measurement of VB with the length of its text, which is never so short.
LEAST_VB_HEADER_BYTES = 10_000


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One measurement of a file: from `start` up to `end`, in bytes."""

    start: int
    end: int
    layout: BlockLayout


@dataclass(frozen=True, kw_only=True)
class StoredLines:
    """All lines of a measurement: their scan headers, and where in the file each begins."""

    headers: np.ndarray
    places: Int[np.ndarray, " line"]
    layout: BlockLayout
    is_cut: bool = False
    """Whether the file breaks off after them, without the scanner's mark of the end."""


def is_twix(start: bytes) -> bool:
    """Whether a file with this beginning may be twix: a table of measurements (VD to XA), or one measurement (VB)."""
    if len(start) < 8:
        return False
    first, second = struct.unpack_from("<II", start)
    if not 1 <= second <= MOST_MEASUREMENTS:
        return False
    if first >= LEAST_VB_HEADER_BYTES:
        name = start[8:40].partition(b"\0")
        return first <= MOST_HEADER_BYTES and bool(name[1]) and len(name[0]) >= 3 and name[0].isalnum()
    if len(start) < TABLE_START + 16:
        return True
    (offset,) = struct.unpack_from("<Q", start, TABLE_START + 8)
    return TABLE_START + TABLE_ENTRY_BYTES * second <= offset < 1 << 48


def find_measurements(fd: int) -> list[Measurement]:
    """The measurements of a file in their order, the image last.

    Raises:
        DamagedScan: the table points behind the file's end, or backwards.
    """
    n_bytes = os.fstat(fd).st_size
    first, count = struct.unpack("<II", _read(fd, 0, 8))
    if first >= LEAST_VB_HEADER_BYTES:
        return [Measurement(start=0, end=n_bytes, layout=VB)]
    table = _read(fd, TABLE_START, TABLE_ENTRY_BYTES * count)
    starts = [struct.unpack_from("<Q", table, TABLE_ENTRY_BYTES * n + 8)[0] for n in range(count)]
    ends = [*starts[1:], n_bytes]
    if any(not TABLE_START + len(table) <= start < end <= n_bytes for start, end in zip(starts, ends, strict=True)):
        raise DamagedScan(
            f"the file's table of {count} measurements points beyond its {n_bytes} bytes, or backwards; raki needs a "
            "complete file: copy or export the scan again"
        )
    return [Measurement(start=start, end=end, layout=VD) for start, end in zip(starts, ends, strict=True)]


def read_buffers(fd: int, measurement: Measurement) -> tuple[dict[str, str], int]:
    """The measurement's text buffers by their names, and where its first line begins.

    Raises:
        DamagedScan: a buffer is longer than the header, or the header longer than the file.
    """
    n_bytes, n_buffers = struct.unpack("<II", _read(fd, measurement.start, 8))
    if not 8 <= n_bytes <= min(MOST_HEADER_BYTES, measurement.end - measurement.start):
        raise DamagedScan(
            f"the protocol announces {n_bytes} bytes in a measurement of {measurement.end - measurement.start}; raki "
            "needs a complete file: copy or export the scan again"
        )
    header, at = _read(fd, measurement.start, n_bytes), 8
    buffers: dict[str, str] = {}
    for _ in range(n_buffers):
        end_of_name = header.find(b"\0", at, at + 64)
        if end_of_name < 0 or end_of_name + 5 > n_bytes or n_buffers > MOST_BUFFERS:
            break
        name = header[at:end_of_name].decode("latin-1")
        (length,) = struct.unpack_from("<I", header, end_of_name + 1)
        at = end_of_name + 5
        if at + length > n_bytes:
            break
        buffers[name] = _decode(header[at : at + length])
        at += length
    else:
        return buffers, measurement.start + n_bytes
    raise DamagedScan(
        f"the protocol has {len(buffers)} of {n_buffers} announced parts; raki needs a complete file: copy or export "
        "the scan again"
    )


def read_lines(fd: int, measurement: Measurement, first_line: int) -> StoredLines:
    """Walks from line to line up to the mark of the end, or to the last whole line; reads their headers only.

    Raises:
        DamagedScan: there is no whole line before the file's end, or a block's length contradicts its contents.
        UnsupportedScan: more lines than raki keeps in memory.
    """
    headers = bytearray()
    places: list[int] = []
    is_cut = False
    for at, header in _walk(fd, measurement, first_line):
        if header is None:
            is_cut = True
            break
        if len(places) == MOST_LINES:
            raise UnsupportedScan(f"the scan has more than {MOST_LINES} lines; raki reads no more: split the scan")
        headers += header
        places.append(at)
    layout = measurement.layout
    heads = np.frombuffer(headers, layout.header)
    return StoredLines(headers=heads, places=np.array(places, dtype=np.int64), layout=layout, is_cut=is_cut)


def read_line(fd: int, lines: StoredLines, index: int) -> np.ndarray:
    """One line's bytes, coil by coil: `coil byte`, channel headers included. Raises DamagedScan at the file's end."""
    header, layout = lines.headers[index], lines.layout
    n_channels, n_samples = int(header["n_channels"]), int(header["n_samples"])
    n_bytes = layout.line_bytes(n_channels, n_samples) - layout.n_line_bytes
    stored = _read(fd, int(lines.places[index]) + layout.n_line_bytes, n_bytes)
    return np.frombuffer(stored, np.uint8).reshape(n_channels, -1)


def coil_numbers(fd: int, lines: StoredLines, index: int) -> tuple[int, ...]:
    """The receiver channels of one line, as the scanner counts them."""
    at = lines.layout.channel_at
    numbers = np.ascontiguousarray(read_line(fd, lines, index)[:, at : at + 2]).view("<u2")
    return tuple(numbers.ravel().tolist())


def _walk(fd: int, measurement: Measurement, at: int) -> Iterator[tuple[int, bytes | None]]:
    """Where each line begins, and its scan header; None where the end should be marked and the measurement ends.

    Every block takes the walk further, or ends it.

    A block's own length is that of several lines where lines are packed together, and in VB that of one coil or of
    all; so it only has to have room for the samples, whose number tells where the next line begins.
    """
    layout, n_lines, measured = measurement.layout, 0, None
    size, mask_at = layout.header.itemsize, layout.header.fields["mask"][1]  # type: ignore[index]
    while True:
        header = os.pread(fd, size, at) if at + size <= measurement.end else b""
        if len(header) < size:
            yield _end(at, n_lines)
            return
        word, number = struct.unpack_from("<II", header)
        mask, n_samples, n_channels = struct.unpack_from("<QHH", header, mask_at)
        n_announced = n_bytes = word & DMA_LENGTH
        if mask & ACQEND:
            return
        if mask & SYNCDATA:
            fits = n_bytes >= size
        else:
            n_coil_bytes = layout.n_channel_bytes + 8 * n_samples
            n_bytes = layout.n_line_bytes + n_channels * n_coil_bytes
            measured = number if measured is None else measured
            has_room = n_announced >= (n_coil_bytes if layout is VB else n_bytes) or word & PACKED
            fits = number == measured and has_room and n_samples and 0 < n_bytes <= MOST_LINE_BYTES
            fits = fits and 0 < n_channels <= MOST_CHANNELS
        if not fits:
            raise DamagedScan(
                f"the block after {n_lines} lines says {n_channels} coils of {n_samples} samples in {n_announced} "
                "bytes, which is no line of this measurement; the file is overwritten: copy or export the scan again"
            )
        if at + n_bytes > measurement.end:
            yield _end(at, n_lines)
            return
        if not mask & SYNCDATA:
            n_lines += 1
            yield at, header
        at += n_bytes


def _end(at: int, n_lines: int) -> tuple[int, None]:
    if n_lines:
        return at, None
    raise DamagedScan(
        "the scan was cut short before its first line; raki needs one whole image: copy it again from the scanner"
    )


def _decode(text: bytes) -> str:
    """XA writes UTF-8, older scanners Latin-1."""
    try:
        return text.decode()
    except UnicodeDecodeError:
        return text.decode("latin-1")


def _read(fd: int, at: int, n_bytes: int) -> bytes:
    """Exactly so many bytes. `pread` and no memory map: a map of a file that shrinks meanwhile kills the process."""
    found = os.pread(fd, n_bytes, at)
    if len(found) < n_bytes:
        raise DamagedScan(
            f"the file ends {n_bytes - len(found)} bytes too early; raki needs a complete file: copy or export the "
            "scan again"
        )
    return found
