"""ISMRMRD (MRD) raw data as a stream of messages: what converters write by default, and reconstruction servers speak.

Each message is a number that says what it is, then what it holds; a message of its own closes the stream. The stream
has no table of contents, so it is walked through once when it is opened.

`ismrmrd.serialization.ProtocolDeserializer` has no such walk: it reads all samples on the way to the last head (0.16 s
for 200 MB, against 0.03 s), asks for 4 GiB of memory where seven bytes announce them, and ends a stream that is cut
short in a bare ValueError. The tests hold reader and writer against it.

Inati et al. 2017, Magn Reson Med 77:411-421, doi:10.1002/mrm.26089;
https://ismrmrd.readthedocs.io/en/latest/mrd_streaming_protocol.html.
"""

import struct
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum
from math import prod
from pathlib import Path
from typing import BinaryIO

import numpy as np
from jaxtyping import Complex64, Int

from raki.archive import START_BYTES
from raki.errors import DamagedScan, NotAScan, UnsupportedScan
from raki.formats.acquisitions import HEAD, Format, require_measured

# Those of scanners have less than one megabyte.
LARGEST_HEADER_BYTES = 32 << 20

CONFIG_FILE_BYTES = 1024
ACQUISITION_SIZES = struct.Struct("<34xH2xH136xH")
"""Of a head: number_of_samples, active_channels, trajectory_dimensions."""
MOST_AXES = 7
IMAGE_HEAD_BYTES, WAVEFORM_HEAD_BYTES = 198, 40
BYTES_PER_NUMBER = {1: 2, 2: 2, 3: 4, 4: 4, 5: 4, 6: 8, 7: 8, 8: 16}
"""By ISMRMRD's code for the type of an image's or array's numbers."""


class MessageKind(IntEnum):
    """The kinds of messages, as little-endian 16-bit numbers."""

    CONFIG_FILE = 1
    CONFIG_TEXT = 2
    HEADER = 3
    CLOSE = 4
    TEXT = 5
    ACQUISITION = 1008
    IMAGE = 1022
    WAVEFORM = 1026
    ARRAY = 1030


class IsmrmrdStream:
    """The header and the acquisitions of one stream; see `raki.formats.acquisitions.Acquisitions`.

    Raises:
        DamagedScan: the stream ends before its first acquisition, or is none from some byte on.
        UnsupportedScan: several measurements.
        NotAScan: images or texts only.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        found = _walk(file)
        self.header_xml, self.heads, self._samples_begin = found.header_xml, found.heads, found.samples_begin
        # Its header tells how many lines were to come, whatever came of them.
        self.cut_from = 1 if found.is_cut else None
        self.remarks = (_about_end(len(found.heads)),) if found.is_cut else ()

    def samples(self, wanted: Int[np.ndarray, " wanted"]) -> Iterator[Complex64[np.ndarray, "coil kept"]]:
        """The kept samples of the wanted acquisitions, in the order asked for."""
        for index in wanted.tolist():
            head = self.heads[index]
            n_coils, n_samples = int(head["active_channels"]), int(head["number_of_samples"])
            self._file.seek(self._samples_begin[index])
            content = _read(self._file, 8 * n_coils * n_samples)
            samples = np.frombuffer(content, np.dtype("<c8")).astype(np.complex64, copy=False)
            require_measured(samples.view(np.float32), int(index))
            before, after = int(head["discard_pre"]), int(head["discard_post"])
            yield samples.reshape(n_coils, n_samples)[:, before : max(n_samples - after, before)]


@contextmanager
def open_stream(path: Path) -> Iterator[IsmrmrdStream]:
    """Opens a file that holds one stream. Errors are those of `IsmrmrdStream`."""
    with path.open("rb") as file:
        yield IsmrmrdStream(file)


def looks_like_stream(start: bytes) -> bool:
    """Whether a file that begins with these bytes holds messages: configurations and texts up to the header."""
    at = 0
    while at + 6 <= min(len(start), START_BYTES):
        kind, n_bytes = struct.unpack_from("<HI", start, at)
        if kind == MessageKind.HEADER:
            return b"ismrmrdHeader" in start[at:]
        if kind == MessageKind.CONFIG_FILE:
            text, at = start[at + 2 : at + 2 + CONFIG_FILE_BYTES].split(b"\0")[0], at + 2 + CONFIG_FILE_BYTES
        elif kind in (MessageKind.CONFIG_TEXT, MessageKind.TEXT):
            text, at = start[at + 6 : at + 6 + n_bytes], at + 6 + n_bytes
        else:
            return False
        if any(byte < 32 and byte not in b"\t\r\n" for byte in text):
            return False
    return at > 0


@dataclass(frozen=True)
class _Messages:
    """What was found in a stream: the header, the heads, and where each acquisition's samples begin."""

    header_xml: str
    heads: np.ndarray
    samples_begin: Sequence[int]
    is_cut: bool


def _walk(file: BinaryIO) -> _Messages:
    n_file_bytes = file.seek(0, 2)
    file.seek(0)
    headers, heads, places = list[str](), bytearray(), array("Q")
    is_cut = False
    try:
        while (kind := _kind(file)) != MessageKind.CLOSE:
            if kind == MessageKind.HEADER:
                headers.append(_header(file))
            elif kind == MessageKind.ACQUISITION:
                head, n_before, n_bytes = _acquisition(file)
                _step_over(file, n_bytes, n_file_bytes)
                heads += head
                places.append(file.tell() - n_bytes + n_before)
            else:
                _step_over(file, _other_bytes(file, kind), n_file_bytes)
    except _CutShort:
        if not places:
            raise
        is_cut = True
    _require_one_measurement(headers, places)
    if file.tell() < n_file_bytes and not is_cut:
        raise DamagedScan(
            f"{n_file_bytes - file.tell()} bytes follow the end of the ISMRMRD stream; raki reads one stream a file: "
            "copy or convert the scan again"
        )
    return _Messages(headers[0], np.frombuffer(heads, HEAD), places, is_cut)


def _kind(file: BinaryIO) -> MessageKind:
    at = file.tell()
    (number,) = struct.unpack("<H", _read(file, 2))
    try:
        return MessageKind(number)
    except ValueError:
        raise DamagedScan(
            f"the ISMRMRD stream holds no message at byte {at} but the number {number}; a part of it is overwritten or "
            "missing: copy or convert the scan again"
        ) from None


def _header(file: BinaryIO) -> str:
    (n_bytes,) = struct.unpack("<I", _read(file, 4))
    if n_bytes > LARGEST_HEADER_BYTES:
        raise DamagedScan(
            f"the ISMRMRD stream announces a header of {n_bytes} bytes; raki believes {LARGEST_HEADER_BYTES} at most: "
            "copy or convert the scan again"
        )
    return _read(file, n_bytes).decode(errors="replace")


def _step_over(file: BinaryIO, n_bytes: int, n_file_bytes: int) -> None:
    if file.tell() + n_bytes > n_file_bytes:
        raise _CutShort(n_file_bytes)
    file.seek(n_bytes, 1)


def _acquisition(file: BinaryIO) -> tuple[bytes, int, int]:
    """A head; the bytes of the trajectory; those of it and of the samples that follow it."""
    head = _read(file, HEAD.itemsize)
    n_samples, n_coils, n_dimensions = ACQUISITION_SIZES.unpack_from(head)
    return head, 4 * n_dimensions * n_samples, (4 * n_dimensions + 8 * n_coils) * n_samples


def _other_bytes(file: BinaryIO, kind: MessageKind) -> int:
    """How many bytes a message goes on for that holds no raw data, once its own head is read."""
    if kind == MessageKind.CONFIG_FILE:
        return CONFIG_FILE_BYTES
    if kind in (MessageKind.CONFIG_TEXT, MessageKind.TEXT):
        (n_bytes,) = struct.unpack("<I", _read(file, 4))
        return int(n_bytes)
    if kind == MessageKind.WAVEFORM:
        n_samples, n_channels = struct.unpack_from("<HH", _read(file, WAVEFORM_HEAD_BYTES), 28)
        return int(4 * n_samples * n_channels)
    if kind == MessageKind.IMAGE:
        head = _read(file, IMAGE_HEAD_BYTES)
        (number_type,), matrix = struct.unpack_from("<H", head, 2), struct.unpack_from("<3H", head, 16)
        (n_channels,), (n_text,) = struct.unpack_from("<H", head, 34), struct.unpack("<Q", _read(file, 8))
        return int(n_text + prod(matrix) * n_channels * _number_bytes(number_type))
    number_type, _, n_axes = struct.unpack("<3H", _read(file, 6))
    if n_axes > MOST_AXES:
        raise DamagedScan(
            f"the ISMRMRD stream holds an array of {n_axes} axes; ISMRMRD has {MOST_AXES} at most: copy or convert the "
            "scan again"
        )
    lengths = struct.unpack(f"<{n_axes}Q", _read(file, 8 * n_axes))
    return prod(lengths) * _number_bytes(number_type)


def _number_bytes(number_type: int) -> int:
    if number_type not in BYTES_PER_NUMBER:
        raise DamagedScan(
            f"the ISMRMRD stream holds numbers of the unknown type {number_type}; raki knows 1 to 8: "
            "copy or convert the scan again"
        )
    return BYTES_PER_NUMBER[number_type]


def _read(file: BinaryIO, n_bytes: int) -> bytes:
    content = file.read(n_bytes)
    if len(content) < n_bytes:
        raise _CutShort(file.tell())
    return content


class _CutShort(DamagedScan):
    """The stream ends before its closing message."""

    def __init__(self, n_bytes: int) -> None:
        super().__init__(
            f"the ISMRMRD stream breaks off after {n_bytes} bytes, before its closing message; it was cut short: copy "
            "or convert the scan again"
        )

    @property
    def failure_class(self) -> str:
        """To all but the walk it is damage."""
        return DamagedScan.__name__


def _about_end(n_acquisitions: int) -> str:
    return (
        f"The stream ends after {n_acquisitions} acquisitions, without its closing message: the scan was stopped, or "
        "the copy is not whole."
    )


def _require_one_measurement(headers: Sequence[str], places: Sequence[int]) -> None:
    if not places:
        raise NotAScan("the ISMRMRD stream holds no acquisitions; raki needs raw data, not images: export it")
    if not headers:
        raise DamagedScan("the ISMRMRD stream has acquisitions but no header; raki needs it: convert the scan again")
    if len(headers) > 1:
        raise UnsupportedScan(f"the ISMRMRD stream holds {len(headers)} measurements; raki reads one a file: split it")


ISMRMRD_STREAM = Format(
    name="ISMRMRD stream", suffixes=(".mrd", ".ismrmrd", ".bin"), recognises=looks_like_stream, open=open_stream
)
