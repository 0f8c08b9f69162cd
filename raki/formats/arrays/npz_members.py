"""The arrays of a `.npz`: mapped where they stand in the archive, or unpacked into a folder first.

APPNOTE.TXT, .ZIP File Format Specification, sections 4.3.7 (local file header) and 4.4.4 (flags).
"""

import io
import struct
import zipfile
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from raki.errors import DamagedScan, UnsupportedScan
from raki.formats.arrays.npy_mapping import damage_is_named, mapped_array
from raki.scan.budget import require_in_proportion

# Signature, version, flags, method, time, date, checksum, packed and unpacked size, lengths of name and extra field.
LOCAL_HEADER = struct.Struct("<4s5H3I2H")
BLOCK_BYTES = 1 << 20
MOST_MEMBERS = 64


def mapped_members(path: Path, folder: Path) -> dict[str, np.memmap]:
    """All arrays of an archive by their names. Checksums are compared; packed arrays are unpacked into `folder`.

    Raises:
        DamagedScan: the archive or an array in it is broken.
        UnsupportedScan: other things than arrays of numbers and texts, or arrays that unpack to more than raw data.
    """
    with _BoundedReads(path) as file:
        with damage_is_named():
            archive = zipfile.ZipFile(file)
        with archive:
            infos = archive.infolist()
            require_in_proportion(sum(info.file_size for info in infos), path.stat().st_size, "what is packed in it")
            names = [info.filename.removesuffix(".npy") for info in infos]
            if len(infos) > MOST_MEMBERS or len(set(names)) < len(infos):
                raise UnsupportedScan(
                    f"the archive has {len(infos)} members, or some of the same name; raki needs {MOST_MEMBERS} "
                    "different ones at most: save the scan again"
                )
            return {
                name: _mapped(path, archive, info, " ".join(name.split())[:40], folder)
                for name, info in zip(names, infos, strict=True)
            }


@runtime_checkable
class _Member(Protocol):
    """A file in the archive, unpacked while it is read."""

    def read(self, n_bytes: int, /) -> bytes: ...


class _BoundedReads(io.FileIO):
    """A file of which nobody reads much at once: zipfile takes the list of members, however long it says it is."""

    def read(self, n_bytes: int | None = -1, /) -> bytes:
        if n_bytes is not None and n_bytes > BLOCK_BYTES:
            raise ValueError("more was asked for than an honest archive needs")
        # To the end, from where zipfile looks for the archive's own, is less than this as well.
        return super().read(BLOCK_BYTES if n_bytes is None or n_bytes < 0 else n_bytes) or b""


def _mapped(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str, folder: Path) -> np.memmap:
    with damage_is_named():
        source = archive.open(info)
    with source:
        if info.compress_type == zipfile.ZIP_STORED:
            while _block(source):
                pass
            return mapped_array(path, name, _start(path, info), info.file_size)
        unpacked = folder / f"{info.header_offset}.npy"
        with unpacked.open("wb") as file:
            while block := _block(source):
                file.write(block)
    return mapped_array(unpacked, name)


def _block(source: _Member) -> bytes:
    """The next part of a member. At its end zipfile compares the checksum."""
    with damage_is_named():
        return source.read(BLOCK_BYTES)


def _start(path: Path, info: zipfile.ZipInfo) -> int:
    """Where the content of a member begins, behind its own header, which zipfile has looked at."""
    with path.open("rb") as file:
        file.seek(info.header_offset)
        header = file.read(LOCAL_HEADER.size)
    if len(header) < LOCAL_HEADER.size:
        raise DamagedScan("the archive ends within a member's header; raki needs a complete file: copy it again")
    *_, n_name, n_extra = LOCAL_HEADER.unpack(header)
    return info.header_offset + LOCAL_HEADER.size + n_name + n_extra
