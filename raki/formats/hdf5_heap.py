"""A look at an HDF5 file's global heaps, where ISMRMRD keeps its samples, before the HDF5 library reads them.

The library walks from object to object of a heap by their sizes. Where a copy left a hole of zeros, the size is zero
and the walk never ends, in C, where no signal of Python's stops it. It also takes as much memory as a list of samples
announces before it looks whether the heap has that much. Both were found with HDF5 2.0.0.

HDF5 File Format Specification, section III.E "Disk Format: Level 1E - Global Heap",
https://support.hdfgroup.org/documentation/hdf5/latest/_f_m_t3.html.
"""

import struct
from io import SEEK_END
from pathlib import Path
from typing import BinaryIO

import h5py
import numpy as np

from raki.errors import DamagedScan

HEAP_START = b"GCOL\x01\0\0\0"
N_HEADER_BYTES = 16  # of a heap and of an object in it
BLOCK_BYTES = 1 << 14


def require_walkable_heaps(path: Path) -> None:
    """Follows the objects of every heap as the HDF5 library will. Only a walk that can't end is an error here.

    Raises:
        DamagedScan: an object of a heap leads back to itself or before itself.
    """
    with path.open("rb") as file:
        n_file_bytes = file.seek(0, SEEK_END)
        at = _next_heap(file, 0)
        while at is not None:
            at = _next_heap(file, _end_of_heap(file, at, n_file_bytes))


def require_room_for_lists(table: h5py.Dataset, path: Path) -> None:
    """Adds up what the lists of samples in the table's rows announce. Behind a compression filter nobody can look.

    Raises:
        DamagedScan: more than the file has room for.
    """
    row, n_file_bytes = table.id.get_type(), path.stat().st_size
    places = [row.get_member_offset(row.get_member_index(name)) for name in (b"traj", b"data")]
    n_numbers = 0
    with path.open("rb") as file:
        for at, n_rows in _stored_rows(table):
            file.seek(at)
            stored = file.read(min(n_rows * row.get_size(), n_file_bytes))
            rows = np.frombuffer(stored, np.uint8, len(stored) // row.get_size() * row.get_size())
            for place in places:
                lengths = rows.reshape(-1, row.get_size())[:, place : place + 4]
                n_numbers += int(np.ascontiguousarray(lengths).view("<u4").sum(dtype=np.uint64))
    if 4 * n_numbers > n_file_bytes:
        raise DamagedScan(
            f"the acquisitions announce {n_numbers} numbers in a file of {n_file_bytes} bytes; raki needs a complete "
            "file: copy or export the scan again"
        )


def _stored_rows(table: h5py.Dataset) -> list[tuple[int, int]]:
    """Where in the file rows of the table stand, and how many follow each other there."""
    if table.chunks is None:
        return [(table.id.get_offset(), len(table))] if table.id.get_offset() is not None else []
    if table.id.get_create_plist().get_nfilters():
        return []
    places: list[tuple[int, int]] = []
    table.id.chunk_iter(
        lambda chunk: places.append(
            (chunk.byte_offset, min(table.chunks[0], max(len(table) - chunk.chunk_offset[0], 0)))
        )
    )
    return places


def _next_heap(file: BinaryIO, at: int) -> int | None:
    """Where the next heap begins, from a position on."""
    while True:
        file.seek(at)
        block = file.read(BLOCK_BYTES)
        found = block.find(HEAP_START)
        if found >= 0:
            return at + found
        if len(block) < BLOCK_BYTES:
            return None
        at += len(block) - len(HEAP_START) + 1


def _end_of_heap(file: BinaryIO, start: int, n_file_bytes: int) -> int:
    """Where the heap that begins at `start` ends, or where its objects leave it."""
    at, size = start + N_HEADER_BYTES, _header(file, start)[1]
    end = min(start + size, n_file_bytes)
    while at + N_HEADER_BYTES <= end:
        index, size = _header(file, at)
        # Object 0 is the free space and counts its header; the others are padded to eight bytes.
        n_bytes = size if index == 0 else N_HEADER_BYTES + (size + 7) // 8 * 8
        if n_bytes % 2**64 == 0 or n_bytes >= 2**63:
            raise DamagedScan(
                f"a part of the HDF5 file is overwritten, from byte {at} on; raki needs a complete file: "
                "copy or export the scan again"
            )
        at += n_bytes
    return min(at, end)


def _header(file: BinaryIO, at: int) -> tuple[int, int]:
    """Index and size of an object; of a heap, the second is its size too. A cut header counts as zero-sized."""
    file.seek(at)
    index, size = struct.unpack("<H6xQ", file.read(N_HEADER_BYTES).ljust(N_HEADER_BYTES, b"\0"))
    return index, size
