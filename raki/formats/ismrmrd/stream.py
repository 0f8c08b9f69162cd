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
from pathlib import Path
from typing import BinaryIO

import numpy as np
from jaxtyping import Complex64, Int

from raki.archive import START_BYTES
from raki.errors import DamagedScan, NotAScan, UnsupportedScan
from raki.formats.acquisitions import HEAD, Format, require_measured
from raki.formats.ismrmrd.messages import (
    CONFIG_FILE_BYTES,
    CutShort,
    MessageKind,
    acquisition_head,
    header_text,
    message_kind,
    other_bytes,
    read_exactly,
)


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
            content = read_exactly(self._file, 8 * n_coils * n_samples)
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
        while (kind := message_kind(file)) != MessageKind.CLOSE:
            if kind == MessageKind.HEADER:
                headers.append(header_text(file))
            elif kind == MessageKind.ACQUISITION:
                head, n_before, n_bytes = acquisition_head(file)
                _step_over(file, n_bytes, n_file_bytes)
                heads += head
                places.append(file.tell() - n_bytes + n_before)
            else:
                _step_over(file, other_bytes(file, kind), n_file_bytes)
    except CutShort:
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


def _step_over(file: BinaryIO, n_bytes: int, n_file_bytes: int) -> None:
    if file.tell() + n_bytes > n_file_bytes:
        raise CutShort(n_file_bytes)
    file.seek(n_bytes, 1)


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
