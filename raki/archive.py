"""Takes the one scan file out of what was dropped on the share: a plain file, or an archive, compressed or not.

Archives are hostile until proven otherwise. The content decides what a file is, names decide nothing, and nothing
is written but the scan itself, under a name of our own.
"""

import gzip
import io
import lzma
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Protocol, runtime_checkable

from raki.errors import DamagedScan, NotAScan, UnsafeArchive, UnsupportedScan
from raki.formats import is_scan, refusal

BLOCK_BYTES = 1 << 20
GZIP_MAGIC, XZ_MAGIC = b"\x1f\x8b", b"\xfd7zXZ\x00"
# No honest entry's name and attributes take more; the tar reader holds them in memory.
LARGEST_MEMBER_HEADER_BYTES = 1 << 20
LZMA_MEMORY_BYTES = 256 << 20


@runtime_checkable
class Readable(Protocol):
    """A stream that is read from start to end."""

    def read(self, n_bytes: int, /) -> bytes:
        """At most so many bytes; none at the end."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What an archive may ask of the machine that unpacks it."""

    n_bytes: int = 64 << 30
    """Unpacked size in all."""
    n_members: int = 10_000
    """Files and folders in the archive."""
    ratio: float = 100.0
    """Unpacked over packed size. Raw data is noise and hardly packs; zero-filled lines reach about ten."""


def unpack_scan(stream: Readable, into: Path, *, limits: Limits = Limits()) -> Path:
    """Writes the one scan file of a stream into a folder, as `scan.h5`, and returns its path.

    Reads the stream once, to its end, in bounded memory; it needs `read` only, so it may come over the network.
    Knows HDF5 files, tar archives, and either of them in gzip or xz.

    Raises:
        NotAScan: nothing in the stream is raw data that raki reads; an empty stream has nothing.
        UnsupportedScan: an archive of several scans, or raw data or an archive of a kind that raki doesn't read.
        DamagedScan: the archive ends early or its checksum is wrong.
        UnsafeArchive: links, devices, names that lead outside, or more than the limits allow.
    """
    path = into / "scan.h5"
    unfinished = into / "scan.h5.part"
    packed = Meter(stream)
    try:
        with _damage_is_named():
            unpacked = Meter(_decompressed(io.BufferedReader(packed, BLOCK_BYTES)), limits, packed)
            source = io.BufferedReader(unpacked, BLOCK_BYTES)
            start = source.peek(tarfile.BLOCKSIZE)[: tarfile.BLOCKSIZE]
            if is_scan(start):
                _write(source, unfinished)
            elif _is_tar(start):
                _take_from_tar(source, unpacked, unfinished, limits)
            else:
                raise refusal(start)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return path


class Meter(io.RawIOBase):
    """Reads through to a stream, counts what passes, and stops what grows beyond the limits."""

    # Small files may pack well: the ratio is judged once this much has been unpacked.
    RATIO_JUDGED_FROM = 16 << 20

    def __init__(self, stream: Readable, limits: Limits | None = None, packed: "Meter | None" = None) -> None:
        self._stream, self._limits, self._packed = stream, limits, packed
        self.n_bytes = 0
        self.n_zeros_at_end = 0
        self._stop_at: int | None = None

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fills the whole buffer unless the stream ends: a network stream may hand out less at a time."""
        n_filled = 0
        while n_filled < len(buffer):
            block = self._stream.read(len(buffer) - n_filled)
            if not block:
                break
            buffer[n_filled : n_filled + len(block)] = block
            n_filled += len(block)
            self._count(block)
        return n_filled

    def allow_header(self) -> None:
        """From here, no more may pass than the header of an archive's member takes, and what is read ahead."""
        self._stop_at = self.n_bytes + LARGEST_MEMBER_HEADER_BYTES + 2 * BLOCK_BYTES

    def allow_content(self) -> None:
        """From here, the limits alone count."""
        self._stop_at = None

    def _count(self, block: bytes) -> None:
        self.n_bytes += len(block)
        n_zeros = len(block) - len(block.rstrip(b"\0"))
        self.n_zeros_at_end = n_zeros + (self.n_zeros_at_end if n_zeros == len(block) else 0)
        if self._limits is None or self._packed is None:
            return
        if self.n_bytes > self._limits.n_bytes:
            raise UnsafeArchive(f"the archive unpacks to more than {self._limits.n_bytes} bytes; split the scan")
        if self.n_bytes > self.RATIO_JUDGED_FROM and self.n_bytes > self._limits.ratio * self._packed.n_bytes:
            raise UnsafeArchive(
                f"the archive unpacks to more than {self._limits.ratio:g} times its size, as no raw data does; "
                "send the scan unpacked"
            )
        if self._stop_at is not None and self.n_bytes > self._stop_at:
            raise UnsafeArchive(
                f"an entry of the archive has more than {LARGEST_MEMBER_HEADER_BYTES} bytes of names and attributes; "
                "pack the scan alone"
            )


@contextmanager
def _damage_is_named() -> Iterator[None]:
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile, lzma.LZMAError, tarfile.TarError) as error:
        raise DamagedScan(
            f"the archive is truncated or damaged ({type(error).__name__}); raki needs all of it: copy it again"
        ) from None


def _decompressed(packed: io.BufferedReader) -> Readable:
    """The content of a gzip or xz stream; any other stream as it is."""
    start = packed.peek(len(XZ_MAGIC))
    if start.startswith(GZIP_MAGIC):
        return gzip.GzipFile(fileobj=packed)
    if start.startswith(XZ_MAGIC):
        return lzma.LZMAFile(packed)
    return packed


def _is_tar(start: bytes) -> bool:
    """Whether the first block is a member's header, by its checksum, in any dialect of tar."""
    try:
        tarfile.TarInfo.frombuf(start, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True


def _take_from_tar(source: "io.BufferedReader[Meter]", meter: Meter, path: Path, limits: Limits) -> None:
    """Writes the one member that is a scan; looks at all members, so that a second one is found."""
    n_scans = n_members = 0
    meter.allow_header()
    with tarfile.open(fileobj=source, mode="r|") as archive:
        while member := _next_member(archive, meter):
            n_members += 1
            _require_safe(member, n_members, limits)
            content = archive.extractfile(member)
            if not isinstance(content, io.BufferedReader):  # a folder has none
                continue
            with content:
                # macOS packs a "._" file of attributes beside each file.
                is_one = is_scan(content.peek(8)) and not PurePosixPath(member.name).name.startswith("._")
                n_scans += is_one
                if n_scans > 1:
                    raise UnsupportedScan("the archive holds several scans; raki takes one at a time: pack each alone")
                _write(content, path if is_one else None)
        end = archive.offset
    _write(source, None)
    # The end is marked by a block of zeros; tarfile takes any end, and any rubbish, for it.
    if meter.n_bytes < end + tarfile.BLOCKSIZE or meter.n_bytes - meter.n_zeros_at_end > end:
        raise DamagedScan("the archive breaks off before its end; raki needs all of it: copy it again")
    if not n_scans:
        raise NotAScan(
            f"none of the {n_members} entries of the archive is raw data that raki reads (ISMRMRD HDF5); "
            "pack the scan itself"
        )


def _next_member(archive: tarfile.TarFile, meter: Meter) -> tarfile.TarInfo | None:
    meter.allow_header()
    member = archive.next()
    # The list of members that tarfile keeps would grow with the archive.
    archive.members = []  # type: ignore[attr-defined]
    meter.allow_content()
    return member


def _require_safe(member: tarfile.TarInfo, n_members: int, limits: Limits) -> None:
    if n_members > limits.n_members:
        raise UnsafeArchive(f"the archive has more than {limits.n_members} entries; pack the scan alone")
    if member.size > limits.n_bytes:
        raise UnsafeArchive(f"an entry of the archive unpacks to more than {limits.n_bytes} bytes; split the scan")
    if not (member.isreg() or member.isdir()) or member.issparse():
        raise UnsafeArchive(
            "the archive holds a link, a device or a sparse file; raki takes plain files and folders only: pack the "
            "scan itself"
        )
    posix, windows = PurePosixPath(member.name), PureWindowsPath(member.name)
    if posix.is_absolute() or windows.drive or windows.root or ".." in windows.parts:
        raise UnsafeArchive("a name in the archive leads outside of it; raki takes relative names only: pack it again")


def _write(content: Readable, path: Path | None) -> None:
    """Copies the rest of a stream into a file, or reads it to its end for its checksum's sake."""
    if path is None:
        while content.read(BLOCK_BYTES):
            pass
        return
    with path.open("xb") as file:
        while block := content.read(BLOCK_BYTES):
            file.write(block)
