"""Reading Siemens raw data (twix, "meas.dat") of the software versions VB to XA.

Two libraries read twix files in Python: twixtools (0.24) and pymapvbvd (0.7). Both were tried and neither is used,
because files come from strangers. Both search the protocol with patterns whose time grows with the square of a word's
length: 200 kB without a blank take more than a minute. twixtools makes lists as long as the protocol's indices say, and
so takes all memory for a changed digit. Where a file ends too early pymapvbvd returns what it has, and twixtools goes
on with the same last line. Both bring matplotlib along. What a reader needs of the format is small (`layout`,
`blocks`, `protocol`); on sound files it agrees with twixtools sample by sample.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from jaxtyping import Complex64, Int

from raki.archive import START_BYTES
from raki.errors import DamagedScan, NotAScan
from raki.formats.acquisitions import Format, require_measured
from raki.formats.sorting.marks import NOT_IMAGE, has_flag
from raki.formats.twix.blocks import (
    Measurement,
    StoredLines,
    coil_numbers,
    find_measurements,
    is_twix,
    read_buffers,
    read_line,
    read_lines,
)
from raki.formats.twix.header import to_header_xml
from raki.formats.twix.heads import NOISE, has_mark, to_heads
from raki.formats.twix.layout import VB
from raki.formats.twix.multiband import refusal_of_sums
from raki.formats.twix.protocol import Protocol


class TwixFile:
    """The last measurement of a file, which is the image.

    The measurements before it are the scanner's adjustments. Their noise lines come first if they were recorded with
    the image's coils; nothing else of them is kept.

    Raises:
        NotAScan: the last measurement has no lines.
        DamagedScan: cut short before the first line, overwritten, or the parts contradict each other.
        UnsupportedScan: too many lines.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        *adjustments, image = find_measurements(fd)
        protocol, lines, heads = self._read(image)
        if not len(heads):
            raise NotAScan("the file's last measurement holds no lines; raki needs the measurement itself")
        _require_samples(heads)
        is_image = ~has_flag(heads, *NOT_IMAGE)
        coils = coil_numbers(fd, lines, int(is_image.argmax()))
        noise = [self._noise(adjustment, coils, protocol.coil_names()) for adjustment in adjustments]
        self.header_xml = to_header_xml(protocol, heads)
        self.refusal = refusal_of_sums(protocol)
        self.cut_from = protocol.count("sKSpace.lPhaseEncodingLines") if lines.is_cut else None
        self.remarks = (_about_end(len(heads)),) if lines.is_cut else ()
        parts = [*(part for part in noise if len(part[1])), (lines, heads)]
        self.heads = np.concatenate([heads for _, heads in parts])
        self._parts = [lines for lines, _ in parts]
        self._starts = np.cumsum([0, *(len(heads) for _, heads in parts)])

    def samples(self, wanted: Int[np.ndarray, " wanted"]) -> Iterator[Complex64[np.ndarray, "coil kept"]]:
        """The kept samples of each wanted line, in the order of `wanted`; reversed lines stay as they were recorded.

        Raises:
            DamagedScan: the file has become shorter, or samples are infinite, undefined or too large.
        """
        for index in wanted:
            part = int(np.searchsorted(self._starts, index, side="right")) - 1
            lines = self._parts[part]
            stored = read_line(self._fd, lines, int(index - self._starts[part]))
            head = self.heads[index]
            first = lines.layout.n_channel_bytes + 8 * int(head["discard_pre"])
            kept = stored[:, first : stored.shape[1] - 8 * int(head["discard_post"])]
            values = np.ascontiguousarray(kept).view("<f4").astype(np.float32, copy=False)
            require_measured(values, int(index))
            yield values.view(np.complex64)

    def _read(self, measurement: Measurement) -> tuple[Protocol, StoredLines, np.ndarray]:
        buffers, first_line = read_buffers(self._fd, measurement)
        protocol, lines = Protocol(buffers), read_lines(self._fd, measurement, first_line)
        return protocol, lines, to_heads(lines.headers, protocol, is_vb=lines.layout is VB)

    def _noise(
        self, measurement: Measurement, coils: tuple[int, ...], names: dict[int, str]
    ) -> tuple[StoredLines, np.ndarray]:
        """The noise lines of an adjustment that were recorded with these coils on these channels."""
        protocol, lines, heads = self._read(measurement)
        theirs = protocol.coil_names()
        is_same = all(theirs.get(channel, name) == name for channel, name in names.items())
        candidates = np.flatnonzero(has_mark(lines.headers, NOISE) & is_same)
        keep = np.array([n for n in candidates if coil_numbers(self._fd, lines, int(n)) == coils], dtype=np.int64)
        _require_samples(heads[keep])
        return StoredLines(headers=lines.headers[keep], places=lines.places[keep], layout=lines.layout), heads[keep]


@contextmanager
def open_twix(path: Path) -> Iterator[TwixFile]:
    """Opens a file.

    Raises:
        NotAScan: not twix, or without lines.
        DamagedScan: truncated or overwritten, as far as it shows at once.
        UnsupportedScan: too many lines.
    """
    fd = os.open(path, os.O_RDONLY)
    try:
        if not is_twix(os.pread(fd, START_BYTES, 0)):
            raise NotAScan("the file doesn't begin like Siemens raw data (twix); raki needs it as the scanner wrote it")
        yield TwixFile(fd)
    finally:
        os.close(fd)


def _about_end(n_lines: int) -> str:
    return (
        f"The file ends after {n_lines} lines, without the scanner's mark of the end: the scan was stopped, or the "
        "copy is not whole."
    )


def _require_samples(heads: np.ndarray) -> None:
    n_kept = heads["number_of_samples"].astype(int) - heads["discard_pre"] - heads["discard_post"]
    if len(heads) and n_kept.min() < 1:
        raise DamagedScan(
            f"line {n_kept.argmin()} has {heads['number_of_samples'][n_kept.argmin()]} samples and cuts off all of "
            "them; raki needs one at least: copy or export the scan again"
        )


TWIX = Format(name="Siemens twix", suffixes=(".dat",), recognises=is_twix, open=open_twix)
