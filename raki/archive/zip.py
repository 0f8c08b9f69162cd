"""The members of a zip archive, as the directory at its end lists them.

PKWARE, .ZIP File Format Specification (APPNOTE.TXT) 6.3.10.
"""

import io
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import BinaryIO

from raki.archive.limits import Spending
from raki.archive.streams import Content, Readable
from raki.archive.tar import PassOver, link_target
from raki.errors import DamagedScan, PermanentError, UnsafeArchive, UnsupportedScan

ZIP_MAGIC, EMPTY_ZIP_MAGIC = b"PK\x03\x04", b"PK\x05\x06"
LOCAL_HEADER_BYTES = 30
# The library takes the directory in one read and needs about ten times its size in memory.
LARGEST_DIRECTORY_BYTES = 8 << 20
ENCRYPTED = 0x1 | 0x40 | 0x2000


def is_zip(start: bytes) -> bool:
    """Whether a file that begins with these bytes is a zip archive, an empty one included."""
    return start.startswith((ZIP_MAGIC, EMPTY_ZIP_MAGIC))


class ZipArchive:
    """A zip archive in a file that can be sought in. Nothing is unpacked before the whole directory has been judged."""

    def __init__(self, file: BinaryIO) -> None:
        """Reads the directory.

        Raises:
            DamagedScan: there is no directory at the end, or it contradicts itself.
            UnsafeArchive: the directory is larger than that of any honest archive, or entries overlap.
            UnsupportedScan: the archive is encrypted, or packed by another method than deflate.
        """
        try:
            self._archive = zipfile.ZipFile(_SmallReads(file))
        except (zipfile.BadZipFile, struct.error, ValueError, OverflowError, EOFError) as error:
            raise _damage(error) from None
        except NotImplementedError:
            raise UnsupportedScan(
                "the zip archive needs a newer version of the zip format than raki reads; pack it as tar.gz or tar.zst"
            ) from None
        self._infos = self._archive.infolist()
        self._require_apart()

    @property
    def is_numpy(self) -> bool:
        """Whether this is an `.npz` of NumPy that holds k-space: one raw file, not an archive of files."""
        names = {info.filename for info in self._infos}
        return "kspace.npy" in names and all(name.endswith(".npy") and "/" not in name for name in names)

    def members(
        self, spending: Spending, count: Callable[[int], None], pass_over: PassOver
    ) -> Iterator[tuple[str, Content]]:
        """Name and content of each plain file in turn; what is unpacked is counted.

        A content that is read to its end has the right checksum. Links are followed nowhere; `pass_over` is told.

        Raises:
            DamagedScan: a member is truncated or damaged.
            UnsafeArchive: devices, names that lead outside, or more than the limits allow.
            UnsupportedScan: a member is encrypted, or packed by another method than deflate.
        """
        for info in self._infos:
            _require_plain(info)
            spending.pass_member(info.orig_filename, info.file_size)
        for info in self._infos:
            if _kind(info) == stat.S_IFLNK:
                pass_over(info.filename, self._target(info, count, spending.limits.n_name_bytes))
            elif not info.is_dir():
                with _Member(self._archive, info) as member:
                    yield info.filename, Content(member, count)

    def _target(self, link: zipfile.ZipInfo, count: Callable[[int], None], most_bytes: int) -> str:
        """Where a link leads, which is its content; of a name that is too long a beginning, at which nothing is."""
        with _Member(self._archive, link) as member:
            points_at = Content(member, count).read_all_of(most_bytes)
        return link_target(link.filename, points_at.decode(errors="surrogateescape"))

    def _require_apart(self) -> None:
        """A small archive that unpacks to a large one lists the same bytes many times, under many names."""
        places = sorted((info.header_offset, info.compress_size) for info in self._infos)
        starts = [start for start, _ in places]
        if starts and starts[0] != 0:
            raise DamagedScan("the zip archive lacks its beginning or its end; raki needs all of it: copy it again")
        ends = [start + LOCAL_HEADER_BYTES + n_bytes for start, n_bytes in places]
        if any(end > start for end, start in zip(ends, [*starts, self._archive.start_dir][1:], strict=True)):
            raise UnsafeArchive("entries of the zip archive overlap; pack the scan again")


class _SmallReads(io.RawIOBase):
    """A file that refuses reads which would fill the memory, and places before its beginning."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def read(self, n_bytes: int = -1, /) -> bytes:
        if n_bytes > LARGEST_DIRECTORY_BYTES:
            raise UnsafeArchive(
                f"the directory of the zip archive has more than {LARGEST_DIRECTORY_BYTES} bytes; pack the scan alone"
            )
        return self._file.read(n_bytes)

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        if offset < 0 and whence == io.SEEK_SET:
            raise zipfile.BadZipFile("an offset is negative")
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def seekable(self) -> bool:
        return True


class _Member:
    """The content of one member, its errors in our words."""

    def __init__(self, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> None:
        self._archive, self._info = archive, info
        self._n_left = info.file_size

    def __enter__(self) -> Readable:
        try:
            self._file = self._archive.open(self._info)
        except (zipfile.BadZipFile, struct.error, ValueError, NotImplementedError) as error:
            raise _damage(error) from None
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def read(self, n_bytes: int, /) -> bytes:
        try:
            block = self._file.read(n_bytes)
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise _damage(error) from None
        self._n_left -= len(block)
        if not block and self._n_left:
            raise _damage(EOFError())
        return block


def _require_plain(info: zipfile.ZipInfo) -> None:
    if not info.filename:
        raise DamagedScan("an entry of the zip archive has no name; raki needs all of it: copy it again")
    if info.flag_bits & ENCRYPTED:
        raise UnsupportedScan("the zip archive is encrypted; raki knows no passwords: pack the scan without one")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise UnsupportedScan(
            f"the zip archive is packed by method {info.compress_type}, and raki reads stored (0) and deflated (8), "
            "not for example Deflate64 (9), which Windows takes for large files; pack it as tar.gz or tar.zst"
        )
    if _kind(info) not in (0, stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK):
        raise UnsafeArchive("the archive holds a device; raki takes plain files and folders only: pack the scan itself")


def _kind(info: zipfile.ZipInfo) -> int:
    """That of the file system of Unix, where the archive knows it; otherwise 0."""
    return stat.S_IFMT(info.external_attr >> 16)


def _damage(error: Exception) -> PermanentError:
    return DamagedScan(
        f"the zip archive is truncated or damaged ({type(error).__name__}); raki needs all of it: copy it again"
    )
