"""A table in an HDF5 file whose rows hold lists, as ISMRMRD's acquisitions are, read without the HDF5 library.

The library tells how the table is laid out and where its rows lie. It is not asked for the rows: to read one field it
reads the lists of all others too, however large (HDF5 2.0.0), and on lists that a broken copy tore apart it crashes,
takes all memory, or walks in a circle. A row holds a list's length and its place in a "global heap".

HDF5 File Format Specification, sections III.E "Global Heap" and VIII.D "Global Heap ID",
https://support.hdfgroup.org/documentation/hdf5/latest/_f_m_t3.html.
"""

import os
from functools import lru_cache
from pathlib import Path

import h5py
import numpy as np

from raki.errors import DamagedScan, UnsupportedScan
from raki.formats.hdf5.array import Chunks, damage_is_named, kept_elsewhere
from raki.scan.budget import require_in_proportion
from raki.scan.hdf5_members import is_elsewhere

LIST = np.dtype([("length", "<u4"), ("heap", "<u8"), ("object", "<u4")])
HEAP_START = b"GCOL\x01\0\0\0"
N_HEADER_BYTES = 16  # of a heap and of an object in it
# A table of acquisitions beyond this is not one: ten million of them.
LARGEST_TABLE_BYTES = 4 << 30
# Headers that hold a scanner's whole protocol reach half a million.
LONGEST_TEXT_BYTES = 4 << 20


class StoredTable:
    """The rows of a table as they are stored, and the lists that they point to; open until it is closed.

    Raises:
        DamagedScan: fewer rows in the file than it announces.
        UnsupportedScan: laid out or packed in an unusual way.
    """

    def __init__(self, table: h5py.Dataset, name: str, path: Path) -> None:
        with damage_is_named():
            if is_elsewhere(table):
                raise kept_elsewhere(name)
            row = table.id.get_type()
            self._offsets = {
                row.get_member_name(n).decode(errors="replace"): (row.get_member_offset(n), row.get_member_type(n))
                for n in range(row.get_nmembers() if row.get_class() == h5py.h5t.COMPOUND else 0)
            }
            # A text's type has the size that it takes in memory; a list's is the same in both.
            is_text = row.get_class() == h5py.h5t.STRING and row.is_variable_str()
            row_bytes = LIST.itemsize if is_text else row.get_size()
            sizes = table.file.id.get_create_plist().get_sizes(), table.file.userblock_size
            n_rows = int(np.prod(table.shape or (), dtype=object))
        if sizes != ((8, 8), 0):
            raise UnsupportedScan(
                f"the HDF5 file has addresses of {sizes[0][0]} bytes and {sizes[1]} bytes in front; raki reads 8 and "
                "none: copy the scan into a new file"
            )
        self._n_file_bytes = path.stat().st_size
        require_in_proportion(n_rows * row_bytes, self._n_file_bytes, f"the table '{name}'")
        if n_rows * row_bytes > LARGEST_TABLE_BYTES:
            raise UnsupportedScan(
                f"the HDF5 file announces {n_rows * row_bytes} bytes of '{name}'; raki takes {LARGEST_TABLE_BYTES}: "
                "split the scan"
            )
        self._rows = _stored_rows(table, n_rows, row_bytes, name, path)
        self._file = path.open("rb")
        self._objects = lru_cache(maxsize=64)(self._walk)

    def __len__(self) -> int:
        return len(self._rows)

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def row(self, index: int) -> bytes:
        """One row as it is stored."""
        return bytes(self._rows[index].tobytes())

    def field(self, name: str) -> np.ndarray:
        """One field of all rows, of numbers only."""
        offset, kind = self._offsets[name]
        dtype = kind.dtype
        return self._part(offset, dtype.itemsize).view(dtype).reshape(-1)

    def lists(self, name: str | None = None, *, item_bytes: int = 1) -> np.ndarray:
        """Length and place of a list in all rows: of one field, or of a table whose rows are nothing else.

        Raises:
            DamagedScan: together they are longer than the file, as only lists are that lie upon each other.
        """
        offset = 0 if name is None else self._offsets[name][0]
        places = self._part(offset, LIST.itemsize).view(LIST).reshape(-1)
        n_bytes = int(places["length"].sum(dtype=np.uint64)) * item_bytes
        if n_bytes > self._n_file_bytes:
            raise DamagedScan(
                f"the lists in the HDF5 file take {n_bytes} bytes, and the file has {self._n_file_bytes} in all; raki "
                "needs a complete file: copy or export the scan again"
            )
        return places

    def read(self, place: np.void, item_bytes: int) -> bytes:
        """The content of one list.

        Raises:
            DamagedScan: it isn't where the row says, or shorter.
        """
        n_bytes = int(place["length"]) * item_bytes
        if n_bytes == 0:
            return b""
        start, size = self._objects(int(place["heap"])).get(int(place["object"]), (0, 0))
        content = os.pread(self._file.fileno(), n_bytes, start) if n_bytes <= size else b""
        if len(content) < n_bytes:
            raise DamagedScan(
                f"a list of {n_bytes} bytes was announced in the HDF5 file, {max(size, len(content))} were found; raki "
                "needs a complete file: copy or export the scan again"
            )
        return content

    def _part(self, offset: int, n_bytes: int) -> np.ndarray:
        return np.ascontiguousarray(self._rows[:, offset : offset + n_bytes])

    def _walk(self, heap: int) -> dict[int, tuple[int, int]]:
        """Where the objects of a heap begin, and their sizes; none where there is no heap."""
        start = self._bytes_at(heap)
        if start[: len(HEAP_START)] != HEAP_START:
            return {}
        end = min(heap + int.from_bytes(start[8:16], "little"), self._n_file_bytes)
        at, objects = heap + N_HEADER_BYTES, {}
        while at + N_HEADER_BYTES <= end:
            header = self._bytes_at(at)
            number, size = int.from_bytes(header[:2], "little"), int.from_bytes(header[8:16], "little")
            if number == 0:  # the free space, which stands last
                break
            objects[number] = (at + N_HEADER_BYTES, min(size, end - at - N_HEADER_BYTES))
            at += N_HEADER_BYTES + (size + 7) // 8 * 8
        return objects

    def _bytes_at(self, at: int) -> bytes:
        if at + N_HEADER_BYTES > self._n_file_bytes:
            return bytes(N_HEADER_BYTES)
        return os.pread(self._file.fileno(), N_HEADER_BYTES, at)


def read_text(dataset: object, name: str, path: Path) -> str | None:
    """The one text of a dataset, whether its length is its own or its type's; None where there is no text.

    Raises:
        DamagedScan: it isn't in the file, or longer than any header.
    """
    if not isinstance(dataset, h5py.Dataset):
        return None
    with damage_is_named():
        if is_elsewhere(dataset):
            raise kept_elsewhere(name)
        kind = h5py.check_string_dtype(dataset.dtype)
        n_bytes = dataset.dtype.itemsize if kind is not None and kind.length is not None else None
        if kind is None or dataset.size != 1:
            return None
    table = StoredTable(dataset, name, path)
    try:
        if n_bytes is not None:
            return table.row(0).rstrip(b"\0").decode(errors="replace")
        (place,) = table.lists()
        if place["length"] > LONGEST_TEXT_BYTES:
            raise DamagedScan(f"the file announces a '{name}' of {place['length']} bytes; export the scan again")
        return table.read(place, 1).rstrip(b"\0").decode(errors="replace")
    finally:
        table.close()


def _stored_rows(table: h5py.Dataset, n_rows: int, row_bytes: int, name: str, path: Path) -> np.ndarray:
    """All rows as bytes."""
    if table.ndim > 1:
        raise DamagedScan(f"'{name}' has {table.ndim} dimensions in the HDF5 file; raki needs a list: export it again")
    if table.chunks is not None:
        chunks = Chunks(table, table.chunks, np.dtype((np.void, row_bytes)), name, path)
        return chunks.read([(0, n_rows)]).view(np.uint8).reshape(-1, row_bytes)
    with damage_is_named():
        start = table.id.get_offset()
        if start is None:  # stored with the description of the table, or never written
            return np.zeros((n_rows, row_bytes), np.uint8)
    with path.open("rb") as file:
        file.seek(start)
        content = file.read(n_rows * row_bytes)
    if len(content) < n_rows * row_bytes:
        raise DamagedScan(
            f"the HDF5 file ends within '{name}'; raki needs a complete file: copy or export the scan again"
        )
    return np.frombuffer(content, np.uint8).reshape(-1, row_bytes)
