"""The members of a tar archive, read on from start to end.

The standard library reads the header blocks. What joins them is done here: its own reader takes any end and any
rubbish for the end of the archive, holds all names in memory, and calls itself once for each block of attributes.

IEEE Std 1003.1-2017, pax, "ustar Interchange Format" and "pax Extended Header"; GNU tar manual, "Basic Tar Format".
"""

import posixpath
import tarfile
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath

from raki.archive.limits import Spending
from raki.archive.streams import BLOCK_BYTES, Content, Part
from raki.errors import DamagedScan, UnsafeArchive

# No honest entry's name and attributes take more; they are held in memory.
LARGEST_HEADER_BYTES = 1 << 20
FILE_TYPES = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)
LINK_TYPES = (tarfile.SYMTYPE, tarfile.LNKTYPE)
PAX_TYPES = (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE)
LONG_TYPES = {tarfile.GNUTYPE_LONGNAME: "path", tarfile.GNUTYPE_LONGLINK: "linkpath"}
# The last is of attributes of the archive as a whole.
ATTRIBUTE_TYPES = (*PAX_TYPES, *LONG_TYPES, tarfile.XGLTYPE)
# Of an old GNU header of a sparse file, and of the blocks behind it: whether another block of its map follows.
MAP_GOES_ON_AT, AND_ON_AT = 482, 504

PassOver = Callable[[str, str | None], None]
"""Told the name of a member that isn't taken, and where a link points, within the archive; a file without its holes
points nowhere."""


def is_tar(start: bytes) -> bool:
    """Whether the first block is a member's header, by its checksum, in any dialect of tar."""
    try:
        _header(start[: tarfile.BLOCKSIZE])
    except tarfile.HeaderError:
        return False
    return True


def tar_members(source: Content, spending: Spending, pass_over: PassOver) -> Iterator[tuple[str, Content]]:
    """Name and content of each plain file in turn; what is left of a content is skipped at the next step.

    Links are followed nowhere, and files with holes aren't filled up: of both `pass_over` is told. Archives one after
    the other, as `cat` makes them, are one.

    Raises:
        DamagedScan: the archive ends early, or something else follows its end.
        UnsafeArchive: devices, names that lead outside, or more than the limits allow.
    """
    while is_tar(source.peek(tarfile.BLOCKSIZE)):
        yield from _members(source, spending, pass_over)
        source.skip_zeros()
    if source.peek(1):
        raise _broken_off()


def _members(source: Content, spending: Spending, pass_over: PassOver) -> Iterator[tuple[str, Content]]:
    """Those of one archive, up to its end."""
    while member := _next_member(source):
        is_file, is_sparse = member.type in FILE_TYPES, member.type == tarfile.GNUTYPE_SPARSE
        n_bytes = member.size if is_file or is_sparse else 0
        if is_sparse or member.type in LINK_TYPES:
            pass_over(member.name, None if is_sparse else _target(member))
        elif not (is_file or member.isdir()):
            raise UnsafeArchive(
                "the archive holds a device; raki takes plain files and folders only: pack the scan itself"
            )
        spending.pass_member(member.name, n_bytes)
        part = Part(source, n_bytes)
        if is_file:
            yield member.name, Content(part)
        while part.read(BLOCK_BYTES):
            pass
        source.read_all_of(-n_bytes % tarfile.BLOCKSIZE)


def _target(link: tarfile.TarInfo) -> str:
    return link_target(link.name, link.linkname) if link.issym() else posixpath.normpath(link.linkname)


def link_target(name: str, points_at: str) -> str:
    """Where a symbolic link of this name leads, as a path within the archive."""
    return posixpath.normpath(PurePosixPath(name).parent / points_at)


def _next_member(source: Content) -> tarfile.TarInfo | None:
    """The next member's header, with what the blocks before it say more fully; None at the end."""
    attributes: dict[str, str] = {}
    n_left = LARGEST_HEADER_BYTES
    while True:
        block = source.read_all_of(tarfile.BLOCKSIZE)
        if block == bytes(tarfile.BLOCKSIZE):
            return None
        try:
            member = _header(block)
        except tarfile.HeaderError:
            raise _broken_off() from None
        if member.size < 0:
            raise DamagedScan("an entry of the archive has a negative size; raki needs all of it: copy it again")
        if member.type not in ATTRIBUTE_TYPES:
            if member.type == tarfile.GNUTYPE_SPARSE:
                _skip_map(source, block)
            return _described(member, attributes)
        n_left -= tarfile.BLOCKSIZE + member.size
        if n_left < 0:
            raise UnsafeArchive(
                f"an entry of the archive has more than {LARGEST_HEADER_BYTES} bytes of names and attributes; "
                "pack the scan alone"
            )
        payload = _payload(source, member.size)
        if member.type in LONG_TYPES:
            attributes[LONG_TYPES[member.type]] = payload.partition(b"\0")[0].decode(errors="surrogateescape")
        elif member.type in PAX_TYPES:
            attributes |= _attributes(payload)


def _described(member: tarfile.TarInfo, attributes: dict[str, str]) -> tarfile.TarInfo:
    member.name = attributes.get("path", member.name)
    member.linkname = attributes.get("linkpath", member.linkname)
    member.size = int(attributes.get("size", member.size))
    if "GNU.sparse" in attributes:
        member.type = tarfile.GNUTYPE_SPARSE
    return member


def _skip_map(source: Content, header: bytes) -> None:
    goes_on = header[MAP_GOES_ON_AT]
    while goes_on:
        block = source.read_all_of(tarfile.BLOCKSIZE)
        if len(block) < tarfile.BLOCKSIZE:
            raise _broken_off()
        goes_on = block[AND_ON_AT]


def _header(block: bytes) -> tarfile.TarInfo:
    return tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")


def _payload(source: Content, n_bytes: int) -> bytes:
    payload = source.read_all_of(n_bytes)
    if len(payload) < n_bytes:
        raise _broken_off()
    source.read_all_of(-n_bytes % tarfile.BLOCKSIZE)
    return payload


def _attributes(payload: bytes) -> dict[str, str]:
    """Path, target and size out of records of the form `length key=value`, the length being the record's own."""
    found = {}
    at = 0
    while at < len(payload):
        digits = payload[at : at + 20].partition(b" ")[0]
        length = int(digits) if digits.isdigit() else 0
        record = payload[at : at + length]
        key, equals, value = record[len(digits) + 1 : -1].partition(b"=")
        if len(record) != length or not record.endswith(b"\n") or not equals:
            raise _bad_attribute()
        if key == b"GNU.sparse.name":
            found["path"] = value.decode(errors="surrogateescape")
        if key.startswith(b"GNU.sparse"):
            found["GNU.sparse"] = "yes"
        if key == b"size" and not (value.isdigit() and len(value) < 20):
            raise _bad_attribute()
        if key in (b"size", b"linkpath") or (key == b"path" and "GNU.sparse" not in found):
            found[key.decode()] = value.decode(errors="surrogateescape")
        at += length
    return found


def _bad_attribute() -> DamagedScan:
    return DamagedScan("attributes of an entry of the archive are damaged; raki needs all of it: copy it again")


def _broken_off() -> DamagedScan:
    return DamagedScan("the archive breaks off before its end; raki needs all of it: copy it again")
