"""A client's messages to a raw file on disk, line by line: no more memory than one block, no more disk than is allowed.

What is written is an ISMRMRD stream with one header, the acquisitions and the closing message: a raw file like any.
"""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from raki.errors import DamagedScan, NotAScan, TooLarge, TransientError
from raki.formats.ismrmrd.messages import (
    MessageKind,
    acquisition_head,
    header_text,
    message_kind,
    other_bytes,
    read_exactly,
    text_message,
)
from raki.names import OPTIONS_FILE
from raki.options import LARGEST_FILE_BYTES, Value, method_names, read_options
from raki.serving.connection import BLOCK_BYTES, Connection
from raki.wording import plain

CONFIGURATIONS = (MessageKind.CONFIG_FILE, MessageKind.CONFIG_TEXT)


@dataclass
class Received:
    """What a client has sent, besides the lines that are in the file."""

    n_acquisitions: int = 0
    n_bytes: int = 0
    has_header: bool = False
    options: dict[str, Mapping[str, Value]] = field(default_factory=dict)
    """What its configuration asks for, by how it said it; see `raki.options.choose`."""
    remarks: list[str] = field(default_factory=list)


def receive(connection: Connection, path: Path, *, most_bytes: int) -> Received | None:
    """Writes the lines of one scan to a file, from the first message to the closing one.

    Args:
        most_bytes: all that may be sent, whatever it is.

    Returns:
        None where the client said nothing at all, as those do that look whether anybody is there.

    Raises:
        DamagedScan: it breaks off, or holds no message at some byte.
        NotAScan: images, or no acquisitions.
        TooLarge: more bytes are announced than may be sent; they are not waited for.
        WrongOptions: of the configuration's text; see `raki.options.read_options`.
        TransientError: the client is too slow, or the disk is full.
    """
    received = Received()
    try:
        with path.open("wb") as file:
            if not connection.peek():
                return None
            while (kind := message_kind(connection)) != MessageKind.CLOSE:
                _take(connection, kind, file, received, most_bytes)
                connection.begin_message()
            file.write(struct.pack("<H", MessageKind.CLOSE))
    except OSError as error:
        raise TransientError(
            f"the scan could not be kept on disk ({type(error).__name__}); free space there, and send it again"
        ) from None
    if not received.n_acquisitions:
        raise NotAScan("the client closed the stream before any acquisition; raki needs raw data: send its lines")
    received.n_bytes = connection.tell()
    return received


def _take(connection: Connection, kind: MessageKind, file: BinaryIO, received: Received, most_bytes: int) -> None:
    if kind == MessageKind.HEADER:
        # Some clients end their texts as C does.
        file.write(text_message(kind, header_text(connection).rstrip("\0")))
        received.has_header = True
    elif kind == MessageKind.ACQUISITION:
        if not received.has_header:
            raise DamagedScan("the client sent an acquisition before the header; raki needs the header first")
        head, _, n_bytes = acquisition_head(connection)
        _require_room(connection, n_bytes, most_bytes)
        file.write(struct.pack("<H", kind) + head)
        for block in _blocks(connection, n_bytes):
            file.write(block)
        received.n_acquisitions += 1
    elif kind == MessageKind.IMAGE:
        raise NotAScan("the client sent images; raki needs raw data: send the lines as acquired")
    else:
        n_bytes = other_bytes(connection, kind)
        _require_room(connection, n_bytes, most_bytes)
        kept = min(n_bytes, LARGEST_FILE_BYTES + 1) if kind in CONFIGURATIONS else 0
        content = read_exactly(connection, kept)
        for _ in _blocks(connection, n_bytes - kept):
            pass
        if kind in CONFIGURATIONS:
            _configure(kind, content.split(b"\0")[0], received)


def _require_room(connection: Connection, n_bytes: int, most_bytes: int) -> None:
    if (needed := connection.tell() + n_bytes) > most_bytes:
        raise TooLarge(
            f"the scan has {needed} bytes or more, and this server takes {most_bytes} at most; start it with more "
            "(--most-gb), or drop the scan as a file"
        )


def _blocks(connection: Connection, n_bytes: int) -> Iterator[bytes]:
    while n_bytes:
        block = read_exactly(connection, min(n_bytes, BLOCK_BYTES))
        n_bytes -= len(block)
        yield block


def _configure(kind: MessageKind, content: bytes, received: Received) -> None:
    """A text is a `raki.toml`; a name is that of a method, or of something that only other servers have."""
    if kind == MessageKind.CONFIG_TEXT:
        received.options[OPTIONS_FILE] = read_options(content)
    elif (name := content.decode(errors="replace")) in method_names():
        received.options["configuration"] = {"method": name}
    elif name:
        received.remarks.append(
            f"There is no configuration '{plain(name, 40)}' here, and the server's own settings are used; a method's "
            f"name would be taken: {', '.join(method_names())}."
        )
