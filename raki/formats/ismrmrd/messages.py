"""The messages of ISMRMRD's streaming protocol, in a file and on a connection alike: what each is, and how long.

https://ismrmrd.readthedocs.io/en/latest/mrd_messages.html; Inati et al. 2017, doi:10.1002/mrm.26089.
"""

import struct
from enum import IntEnum
from math import prod
from typing import Protocol, runtime_checkable

from raki.errors import DamagedScan
from raki.formats.acquisitions import HEAD

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


@runtime_checkable
class ByteSource(Protocol):
    """What messages are read from: a file, or a connection."""

    def read(self, n_bytes: int, /) -> bytes:
        """So many bytes, and fewer only at the end."""

    def tell(self) -> int:
        """How many bytes were read before."""


def message_kind(file: ByteSource) -> MessageKind:
    """What the message that begins here is. Raises DamagedScan where none does."""
    at = file.tell()
    (number,) = struct.unpack("<H", read_exactly(file, 2))
    try:
        return MessageKind(number)
    except ValueError:
        raise DamagedScan(
            f"the ISMRMRD stream holds no message at byte {at} but the number {number}; a part of it is overwritten or "
            "missing: copy or convert the scan again"
        ) from None


def header_text(file: ByteSource) -> str:
    """The header of a `HEADER` message, ISMRMRD's XML. Raises DamagedScan where it is longer than any or cut short."""
    (n_bytes,) = struct.unpack("<I", read_exactly(file, 4))
    if n_bytes > LARGEST_HEADER_BYTES:
        raise DamagedScan(
            f"the ISMRMRD stream announces a header of {n_bytes} bytes; raki believes {LARGEST_HEADER_BYTES} at most: "
            "copy or convert the scan again"
        )
    return read_exactly(file, n_bytes).decode(errors="replace")


def acquisition_head(file: ByteSource) -> tuple[bytes, int, int]:
    """A `HEAD`; the bytes of the trajectory; those of it and of the samples that follow it."""
    head = read_exactly(file, HEAD.itemsize)
    n_samples, n_coils, n_dimensions = ACQUISITION_SIZES.unpack_from(head)
    return head, 4 * n_dimensions * n_samples, (4 * n_dimensions + 8 * n_coils) * n_samples


def other_bytes(file: ByteSource, kind: MessageKind) -> int:
    """How many bytes a message goes on for that holds no raw data, once its own head is read."""
    if kind == MessageKind.CONFIG_FILE:
        return CONFIG_FILE_BYTES
    if kind in (MessageKind.CONFIG_TEXT, MessageKind.TEXT):
        (n_bytes,) = struct.unpack("<I", read_exactly(file, 4))
        return int(n_bytes)
    if kind == MessageKind.WAVEFORM:
        n_samples, n_channels = struct.unpack_from("<HH", read_exactly(file, WAVEFORM_HEAD_BYTES), 28)
        return int(4 * n_samples * n_channels)
    if kind == MessageKind.IMAGE:
        head = read_exactly(file, IMAGE_HEAD_BYTES)
        (number_type,), matrix = struct.unpack_from("<H", head, 2), struct.unpack_from("<3H", head, 16)
        (n_channels,), (n_text,) = struct.unpack_from("<H", head, 34), struct.unpack("<Q", read_exactly(file, 8))
        return int(n_text + prod(matrix) * n_channels * _number_bytes(number_type))
    number_type, _, n_axes = struct.unpack("<3H", read_exactly(file, 6))
    if n_axes > MOST_AXES:
        raise DamagedScan(
            f"the ISMRMRD stream holds an array of {n_axes} axes; ISMRMRD has {MOST_AXES} at most: copy or convert the "
            "scan again"
        )
    lengths = struct.unpack(f"<{n_axes}Q", read_exactly(file, 8 * n_axes))
    return prod(lengths) * _number_bytes(number_type)


def _number_bytes(number_type: int) -> int:
    if number_type not in BYTES_PER_NUMBER:
        raise DamagedScan(
            f"the ISMRMRD stream holds numbers of the unknown type {number_type}; raki knows 1 to 8: "
            "copy or convert the scan again"
        )
    return BYTES_PER_NUMBER[number_type]


def read_exactly(file: ByteSource, n_bytes: int) -> bytes:
    """So many bytes. Raises DamagedScan where the stream ends before."""
    content = file.read(n_bytes)
    if len(content) < n_bytes:
        raise CutShort(file.tell())
    return content


def text_message(kind: MessageKind, text: str) -> bytes:
    """A whole message of a kind that holds a text: `CONFIG_TEXT`, `HEADER` or `TEXT`."""
    content = text.encode()
    return struct.pack("<HI", kind, len(content)) + content


class CutShort(DamagedScan):
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
