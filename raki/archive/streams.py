"""Streams that are read once, from start to end: looked ahead into, cut to a part, decompressed."""

import bz2
import lzma
import sys
import zlib
from collections.abc import Callable
from typing import Protocol, runtime_checkable

from raki.errors import DamagedScan, UnsafeArchive

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

BLOCK_BYTES = 1 << 20
# What follows a part's end is copied: a file of a million tiny parts must not copy a large block for each.
PACKED_BLOCK_BYTES = 1 << 16
# Programs that pack in many parts put 64 KiB or more into each. The work that a part takes, however small it is, is
# that of some hundred bytes.
PARTS_FREE, LEAST_PART_BYTES = 10_000, 1024
# `xz -9` asks for 65 MiB, `zstd --ultra -22` for 128 MiB; a hostile header may ask for 4 GiB.
XZ_MEMORY_BYTES = 256 << 20
ZSTD_WINDOW_LOG = 27


@runtime_checkable
class Readable(Protocol):
    """A stream that is read from start to end."""

    def read(self, n_bytes: int, /) -> bytes:
        """At most so many bytes, and none only at the end."""


class Content:
    """A stream with a look ahead; what passes is counted."""

    def __init__(self, stream: Readable, count: Callable[[int], None] | None = None) -> None:
        self._stream, self._count = stream, count
        self._ahead = b""

    def read(self, n_bytes: int, /) -> bytes:
        """At most so many bytes, and none only at the end."""
        if self._ahead:
            block, self._ahead = self._ahead[:n_bytes], self._ahead[n_bytes:]
            return block
        return self._fetch(n_bytes)

    def read_all_of(self, n_bytes: int) -> bytes:
        """So many bytes, fewer only at the end."""
        self.peek(n_bytes)
        block, self._ahead = self._ahead[:n_bytes], self._ahead[n_bytes:]
        return block

    def peek(self, n_bytes: int) -> bytes:
        """The next so many bytes, fewer only at the end; they stay to be read."""
        while len(self._ahead) < n_bytes and (block := self._fetch(n_bytes - len(self._ahead))):
            self._ahead += block
        return self._ahead[:n_bytes]

    def put_back(self, block: bytes) -> None:
        """Bytes that were read are to be read again."""
        self._ahead = block + self._ahead

    def skip_zeros(self) -> None:
        """Reads on to the first byte that is not zero, or to the end."""
        while (block := self.read(BLOCK_BYTES)) and not (rest := block.lstrip(b"\0")):
            pass
        if block:
            self.put_back(rest)

    def _fetch(self, n_bytes: int) -> bytes:
        block = self._stream.read(n_bytes)
        if self._count is not None:
            self._count(len(block))
        return block


class Part:
    """The next so many bytes of a stream, which must have them."""

    def __init__(self, stream: Readable, n_bytes: int) -> None:
        self._stream, self._n_left = stream, n_bytes

    def read(self, n_bytes: int, /) -> bytes:
        """At most so many bytes, and none only at the end.

        Raises:
            DamagedScan: the stream ends before the part does.
        """
        if not self._n_left:
            return b""
        block = self._stream.read(min(n_bytes, self._n_left))
        if not block:
            raise DamagedScan("the archive breaks off before its end; raki needs all of it: copy it again")
        self._n_left -= len(block)
        return block


@runtime_checkable
class Decompressor(Protocol):
    """One part of a compressed stream, as the standard library's decompressors have it."""

    @property
    def eof(self) -> bool:
        """Whether the part's end has been reached."""

    @property
    def needs_input(self) -> bool:
        """Whether there may be no more output without more input."""

    @property
    def unused_data(self) -> bytes:
        """What was given beyond the part's end."""

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """Takes all of the input, gives at most so much output."""


class GzipDecompressor:
    """zlib's object for one gzip member, with the interface of its siblings; the checksum is checked."""

    def __init__(self) -> None:
        self._inflate = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)

    @property
    def eof(self) -> bool:
        """Whether the member's end has been reached."""
        return self._inflate.eof

    @property
    def needs_input(self) -> bool:
        """Whether all input was used."""
        return not self._inflate.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        """What was given beyond the member's end."""
        return self._inflate.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """Takes all of the input, gives at most so much output."""
        return self._inflate.decompress(self._inflate.unconsumed_tail + data, max_length)


def _xz() -> Decompressor:
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=XZ_MEMORY_BYTES)


def _lzma() -> Decompressor:
    return lzma.LZMADecompressor(lzma.FORMAT_ALONE, memlimit=XZ_MEMORY_BYTES)


def _zstd() -> Decompressor:
    return zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: ZSTD_WINDOW_LOG})


def decompressor_for(start: bytes) -> Callable[[], Decompressor] | None:
    """What decompresses a stream that begins with these bytes; None if it is not compressed."""
    if start.startswith(b"\x1f\x8b\x08"):
        return GzipDecompressor
    if start.startswith(b"\xfd7zXZ\x00"):
        return _xz
    # A file of several frames may begin with one to skip, of sixteen kinds.
    if start.startswith(b"\x28\xb5\x2f\xfd") or (start[1:4] == b"\x2a\x4d\x18" and start[0] >> 4 == 5):
        return _zstd
    if start.startswith(b"BZh") and start[4:10] == b"\x31\x41\x59\x26\x53\x59":
        return bz2.BZ2Decompressor
    if is_lzma(start):
        return _lzma
    return None


def is_lzma(start: bytes) -> bool:
    """Whether a stream begins like the .lzma of before .xz, which has no magic number.

    Properties that every encoder writes, a dictionary of 2^n or 3 * 2^(n-1) bytes, a length that is left out or below
    256 GiB, and the range coder's first byte. LZMA SDK, lzma-specification.txt; XZ Utils, alone_decoder.c.
    """
    dictionary, n_bytes = int.from_bytes(start[1:5], "little"), int.from_bytes(start[5:13], "little")
    is_dictionary = dictionary >= 4096 and (dictionary & (dictionary - 1)) in (0, dictionary // 3 * 2)
    is_length = n_bytes < 256 << 30 or n_bytes == 2**64 - 1
    return start[:1] == b"\x5d" and start[13:14] == b"\0" and is_dictionary and is_length


class Decompressed:
    """What a compressed stream holds, in one part (member, stream, frame) or several, one after the other."""

    def __init__(self, packed: Content) -> None:
        self._packed = packed
        self._n_parts, self._n_packed_bytes = 0, 0
        self._decompressor = self._next_part()

    def read(self, n_bytes: int, /) -> bytes:
        """At most so many bytes, and none only at the end, when nothing but zeros follows.

        Raises:
            DamagedScan: the stream ends early, a checksum is wrong, or something else follows it.
            UnsafeArchive: unpacking takes more memory than honest archives need, or it is in too many parts.
        """
        while self._decompressor is not None:
            needs_input = self._decompressor.needs_input
            data = self._packed.read(PACKED_BLOCK_BYTES) if needs_input else b""
            self._n_packed_bytes += len(data)
            block = self._decompress(self._decompressor, data, n_bytes)
            if self._decompressor.eof:
                self._packed.put_back(self._decompressor.unused_data)
                self._n_packed_bytes -= len(self._decompressor.unused_data)
                self._decompressor = self._next_part()
            elif needs_input and not data and not block:
                raise _damage("it ends early")
            if block:
                return block
        return b""

    @staticmethod
    def _decompress(decompressor: Decompressor, data: bytes, n_bytes: int) -> bytes:
        try:
            return decompressor.decompress(data, n_bytes)
        except (zlib.error, lzma.LZMAError, zstd.ZstdError, OSError) as error:
            # Neither library has a class of its own for this.
            if "memory" in str(error).lower():
                raise UnsafeArchive(
                    f"unpacking the archive takes more than {XZ_MEMORY_BYTES >> 20} MiB of memory; pack it again "
                    "without the options for extreme compression"
                ) from None
            raise _damage("what is packed in it doesn't unpack, or its checksum is wrong") from None

    def _next_part(self) -> Decompressor | None:
        self._packed.skip_zeros()
        start = self._packed.peek(16)
        if not start:
            return None
        if (new := decompressor_for(start)) is None:
            raise _damage("something else follows its end")
        self._n_parts += 1
        if self._n_parts > PARTS_FREE + self._n_packed_bytes // LEAST_PART_BYTES:
            raise UnsafeArchive(
                f"the archive is packed in {self._n_parts} parts of {self._n_packed_bytes // self._n_parts} bytes; "
                f"raki takes {PARTS_FREE} of less than {LEAST_PART_BYTES}: pack the scan again, in one piece"
            )
        return new()


def _damage(what: str) -> DamagedScan:
    return DamagedScan(f"the archive is truncated or damaged ({what}); raki needs all of it: copy it again")
