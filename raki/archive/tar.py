"""The members of a tar archive, read on from start to end.

The standard library reads the header blocks. What joins them is done here: its own reader takes any end and any
rubbish for the end of the archive, holds all names in memory, and calls itself once for each block of attributes.

IEEE Std 1003.1-2017, pax, "ustar Interchange Format" and "pax Extended Header"; GNU tar manual, "Basic Tar Format".
"""

import tarfile
from collections.abc import Iterator

from raki.archive.limits import Spending
from raki.archive.streams import BLOCK_BYTES, Content, Part
from raki.errors import DamagedScan, UnsafeArchive

# No honest entry's name and attributes take more; they are held in memory.
LARGEST_HEADER_BYTES = 1 << 20
FILE_TYPES = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)
PAX_TYPES = (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE)
# Attributes of the archive as a whole, and the target of a link, which is refused anyway.
IGNORED_TYPES = (tarfile.XGLTYPE, tarfile.GNUTYPE_LONGLINK)


def is_tar(start: bytes) -> bool:
    """Whether the first block is a member's header, by its checksum, in any dialect of tar."""
    try:
        _header(start[: tarfile.BLOCKSIZE])
    except tarfile.HeaderError:
        return False
    return True


def tar_members(source: Content, spending: Spending) -> Iterator[tuple[str, Content]]:
    """Name and content of each plain file in turn; what is left of a content is skipped at the next step.

    Raises:
        DamagedScan: the archive ends early, or something follows its end.
        UnsafeArchive: links, devices, names that lead outside, or more than the limits allow.
    """
    while member := _next_member(source):
        is_file = member.type in FILE_TYPES
        n_bytes = member.size if is_file else 0
        if not (is_file or member.isdir()):
            raise UnsafeArchive(
                "the archive holds a link, a device or a sparse file; raki takes plain files and folders only: pack "
                "the scan itself"
            )
        spending.pass_member(member.name, n_bytes)
        part = Part(source, n_bytes)
        if is_file:
            yield member.name, Content(part)
        while part.read(BLOCK_BYTES):
            pass
        source.read_all_of(-n_bytes % tarfile.BLOCKSIZE)
    source.skip_zeros()
    if source.peek(1):
        raise _broken_off()


def _next_member(source: Content) -> tarfile.TarInfo | None:
    """The next member's header, with its long name and large size from the blocks before it; None at the end."""
    long_name, size = None, None
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
        if member.type not in (*PAX_TYPES, *IGNORED_TYPES, tarfile.GNUTYPE_LONGNAME):
            member.name = long_name or member.name
            member.size = member.size if size is None else size
            return member
        n_left -= tarfile.BLOCKSIZE + member.size
        if n_left < 0:
            raise UnsafeArchive(
                f"an entry of the archive has more than {LARGEST_HEADER_BYTES} bytes of names and attributes; "
                "pack the scan alone"
            )
        payload = _payload(source, member.size)
        if member.type == tarfile.GNUTYPE_LONGNAME:
            long_name = payload.partition(b"\0")[0].decode(errors="surrogateescape")
        elif member.type in PAX_TYPES:
            attributes = _attributes(payload)
            long_name = attributes.get("path", long_name)
            size = int(attributes["size"]) if "size" in attributes else size


def _header(block: bytes) -> tarfile.TarInfo:
    return tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")


def _payload(source: Content, n_bytes: int) -> bytes:
    payload = source.read_all_of(n_bytes)
    if len(payload) < n_bytes:
        raise _broken_off()
    source.read_all_of(-n_bytes % tarfile.BLOCKSIZE)
    return payload


def _attributes(payload: bytes) -> dict[str, str]:
    """Path and size out of records of the form `length key=value`, the length being the record's own."""
    found = {}
    at = 0
    while at < len(payload):
        digits = payload[at : at + 20].partition(b" ")[0]
        length = int(digits) if digits.isdigit() else 0
        record = payload[at : at + length]
        key, equals, value = record[len(digits) + 1 : -1].partition(b"=")
        if len(record) != length or not record.endswith(b"\n") or not equals:
            raise _bad_attribute()
        if key.startswith(b"GNU.sparse"):
            raise UnsafeArchive("the archive holds a sparse file; raki takes plain files and folders only: pack again")
        if key == b"size" and not (value.isdigit() and len(value) < 20):
            raise _bad_attribute()
        if key in (b"path", b"size"):
            found[key.decode()] = value.decode(errors="surrogateescape")
        at += length
    return found


def _bad_attribute() -> DamagedScan:
    return DamagedScan("attributes of an entry of the archive are damaged; raki needs all of it: copy it again")


def _broken_off() -> DamagedScan:
    return DamagedScan("the archive breaks off before its end; raki needs all of it: copy it again")
