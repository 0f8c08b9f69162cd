"""Siemens raw data (twix, .dat) without identity: the same file, as long as before, with nobody's name in it.

A file of VD and later begins with a table of its measurements, which names patient and protocol. Each measurement has
a header of several texts (see `raki.identity.twix_text`), then blocks: a head and the samples of all coils. Heads carry
the time of day and the number of the measurement; samples stay as they are. What is no sample, the signals of belts
and electrodes among it, becomes zeros.

Where what stands: see `raki.formats.twix.blocks`.
"""

import re
import struct
from pathlib import Path
from typing import BinaryIO

import numpy as np

from raki.errors import DamagedScan
from raki.formats.twix.blocks import (
    ACQEND,
    DMA_LENGTH,
    MOST_HEADER_BYTES,
    MOST_LINE_BYTES,
    SYNCDATA,
    TABLE_ENTRY_BYTES,
    TABLE_START,
    Measurement,
    find_measurements,
)
from raki.formats.twix.layout import VD, BlockLayout
from raki.identity.header import NOTHING_OF_A_PERSON, Policy
from raki.identity.person import Identity
from raki.identity.twix_text import TextScrubber
from raki.identity.twix_words import identity_of, tell_tale
from raki.identity.words import require_gone

MOST_BUFFERS, LONGEST_BUFFER_NAME = 64, 48
# Adjustment measurements have names that the scanner gives; any other is somebody's own words.
SCANNERS_OWN_NAME = re.compile(rb"Adj[A-Za-z0-9]{0,32}")
# Of a head: used by nobody but the scanner, or a checksum that is true no more.
BLANK_FIELDS = ("reserved", "free", "application", "checksum")
# Of what stands in front of a coil's samples in VD: times and a checksum.
BLANK_COIL_BYTES = (slice(12, 24), slice(26, 32))
ZEROS = bytes(1 << 16)


def identity_in_twix(path: Path) -> Identity:
    """What the texts of the header tell of patient, study, institution and device.

    Raises:
        DamagedScan: the header is cut short or contradicts itself.
    """
    scrubber = TextScrubber("", NOTHING_OF_A_PERSON)
    with path.open("rb") as file:
        for measurement in find_measurements(file.fileno()):
            _scrubbed_header(file, measurement, scrubber)
    return identity_of(scrubber.removed)


def scrub_twix(source: Path, target: Path, *, token: str, policy: Policy) -> None:
    """Writes the file without identity. Needs memory for one header and one block.

    Raises:
        DamagedScan: the file is cut short or contradicts itself.
        IdentityLeft: something of the identity stands where raki can't take it away.
    """
    scrubber = TextScrubber(token, policy)
    with source.open("rb") as file, target.open("wb") as copy:
        measurements = find_measurements(file.fileno())
        if measurements[0].layout is VD:
            copy.write(_table(file, measurements, token))
        clock = _Clock()
        for number, measurement in enumerate(measurements, 1):
            copy.write(_scrubbed_header(file, measurement, scrubber))
            _copy_blocks(file, copy, measurement, clock, number)
    words = tell_tale(scrubber.removed) - scrubber.vendor - {token}
    with target.open("rb") as copy:
        for measurement in measurements:
            copy.seek(measurement.start)
            require_gone(words, copy.read(_header_bytes(copy, measurement)))


class _Clock:
    """Ticks since midnight become ticks since the file's first block; the differences stay."""

    def __init__(self) -> None:
        self._origin: dict[str, int] = {}

    def reset(self, heads: np.ndarray) -> None:
        """Changes the heads in place."""
        for name in ("time", "pmu_time"):
            origin = self._origin.setdefault(name, int(heads[name][0]))
            heads[name] -= np.uint32(origin)  # wraps around, as the scanner's counter does


def _table(file: BinaryIO, measurements: list[Measurement], token: str) -> bytes:
    """All bytes in front of the first measurement: numbers, places and lengths, the token as the patient's name."""
    file.seek(0)
    table = file.read(TABLE_START + TABLE_ENTRY_BYTES * len(measurements))
    entries = [table[:TABLE_START]]
    for number in range(len(measurements)):
        entry = table[TABLE_START + TABLE_ENTRY_BYTES * number :][:TABLE_ENTRY_BYTES]
        protocol = entry[88:].partition(b"\0")[0]
        name = protocol if SCANNERS_OWN_NAME.fullmatch(protocol) else b""
        entries.append(struct.pack("<II16s64s64s", number + 1, number + 1, entry[8:24], token.encode(), name))
    return b"".join(entries).ljust(measurements[0].start, b"\0")


def _header_bytes(file: BinaryIO, measurement: Measurement) -> int:
    """How long the header is; the position in the file stays."""
    n_left = measurement.end - measurement.start
    n_bytes = struct.unpack("<I", file.peek(4)[:4])[0] if n_left >= 8 else 0  # type: ignore[attr-defined]
    if not 8 <= n_bytes <= min(MOST_HEADER_BYTES, n_left):
        raise DamagedScan(
            f"the protocol announces {n_bytes} bytes in a measurement of {n_left}; raki needs a complete file: copy or "
            "export the scan again"
        )
    return int(n_bytes)


def _scrubbed_header(file: BinaryIO, measurement: Measurement, scrubber: TextScrubber) -> bytes:
    """The header with its texts made anew, each as long as before; what stands behind the last text is left out."""
    file.seek(measurement.start)
    header = file.read(_header_bytes(file, measurement))
    n_buffers, at = struct.unpack_from("<I", header, 4)[0], 8
    parts = [header[:at]]
    for _ in range(min(n_buffers, MOST_BUFFERS + 1)):
        end_of_name = header.find(b"\0", at, at + LONGEST_BUFFER_NAME)
        start = end_of_name + 5
        if end_of_name < 0 or start > len(header) or not header[at:end_of_name].isalnum():
            break
        end = start + struct.unpack_from("<I", header, end_of_name + 1)[0]
        if end > len(header):
            break
        parts += [header[at:start], scrubber.scrub(header[start:end].decode("latin-1")).encode("latin-1")]
        at = end
    if len(parts) != 1 + 2 * n_buffers:
        raise DamagedScan(
            f"the protocol has {len(parts) // 2} of {n_buffers} announced parts; raki needs a complete file: copy or "
            "export the scan again"
        )
    return b"".join(parts).ljust(len(header), b"\0")


def _copy_blocks(file: BinaryIO, copy: BinaryIO, measurement: Measurement, clock: _Clock, number: int) -> None:
    """Copies block for block; from the mark of the end on there are zeros, up to the next measurement."""
    layout, at = measurement.layout, copy.tell()
    n_head_bytes = layout.header.itemsize
    file.seek(at)
    while True:
        head = bytearray(file.read(min(n_head_bytes, measurement.end - at)))
        if len(head) < n_head_bytes:
            # A scan that was stopped has no mark of the end; its lines are as good.
            break
        fields = np.frombuffer(head, layout.header)
        mask = int(fields["mask"][0])
        n_bytes = n_head_bytes if mask & ACQEND else _block_bytes(fields[0], layout, measurement.end - at)
        block = bytes(n_bytes - n_head_bytes) if mask & (ACQEND | SYNCDATA) else file.read(n_bytes - n_head_bytes)
        copy.write(_anonymous(head + block, layout, clock, number, n_coils=0 if mask & (ACQEND | SYNCDATA) else None))
        at += n_bytes
        if mask & ACQEND:
            break
        file.seek(at)
    while at < measurement.end:
        at += copy.write(ZEROS[: measurement.end - at])


def _block_bytes(head: np.void, layout: BlockLayout, n_left: int) -> int:
    """Length of a block with its head. Where several lines were packed into one, what it announces is all of them."""
    n_coils, n_samples = int(head["n_channels"]), int(head["n_samples"])
    is_line = not int(head["mask"]) & SYNCDATA
    n_bytes = layout.line_bytes(n_coils, n_samples) if is_line else int(head["flags_and_length"]) & DMA_LENGTH
    if not layout.header.itemsize <= n_bytes <= min(MOST_LINE_BYTES, n_left) or (is_line and n_coils == 0):
        raise DamagedScan(
            f"a block of {n_coils} coils of {n_samples} samples in {n_bytes} bytes was found where {n_left} bytes are "
            "left; the file is cut short or overwritten: copy or export the scan again"
        )
    return n_bytes


def _anonymous(block: bytearray, layout: BlockLayout, clock: _Clock, number: int, *, n_coils: int | None) -> bytearray:
    """Changes the heads of a block in place: one before all coils, or one a coil; no coils where it holds no line."""
    heads = np.frombuffer(block, layout.header, count=1)
    n_coils = int(heads["n_channels"][0]) if n_coils is None else n_coils
    coils = np.frombuffer(block, np.uint8)[layout.n_line_bytes :].reshape(max(n_coils, 1), -1)
    if layout is not VD:
        heads = np.ndarray(len(coils), layout.header, block, strides=(coils.strides[0],))
    elif n_coils:
        coils[:, 4:8] = np.frombuffer(struct.pack("<I", number), np.uint8)
        for place in BLANK_COIL_BYTES:
            coils[:, place] = 0
    heads["measurement"] = number
    clock.reset(heads)
    for name in BLANK_FIELDS:
        if name in (layout.header.names or ()):
            heads[name] = 0
    return block
