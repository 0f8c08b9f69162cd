"""Arrays of numbers in an HDF5 file, read without the HDF5 library, which only tells where they lie.

The library believes the lengths that a file gives for its chunks, and reads beyond its memory where a broken copy
makes them too short (found with HDF5 2.0.0). It also unpacks however much a chunk holds.

HDF5 File Format Specification, sections IV.A.2.i "Data Layout" and IV.A.2.l "Filter Pipeline",
https://support.hdfgroup.org/documentation/hdf5/latest/_f_m_t3.html.
"""

import itertools
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from raki.errors import DamagedScan, UnsupportedScan
from raki.scan.budget import require_in_proportion
from raki.scan.hdf5_members import is_elsewhere

HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
# What is left out was never written: lines of zeros. A file that announces more than this was cut, or lies.
LEAST_FILLED = 1 / 256
LARGEST_CHUNK_BYTES = 1 << 30
MOST_CHUNKS = 1 << 20
# A chunk may hold parts of several slices, and slices are read one by one.
KEPT_BYTES = 128 << 20
DEFLATE, SHUFFLE = h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE


class Hdf5Array:
    """A dataset, read where it is indexed by whole numbers and slices without steps, one for each axis.

    Raises:
        DamagedScan: much less of it is in the file than it announces.
        UnsupportedScan: numbers of an unusual form, in other files, or packed in another way than with deflate.
    """

    def __init__(self, dataset: h5py.Dataset, name: str, path: Path) -> None:
        self._name, self._path = name, path
        with damage_is_named():
            if is_elsewhere(dataset):
                raise kept_elsewhere(name)
            self.shape: tuple[int, ...] = tuple(dataset.shape or ())
            self.dtype: np.dtype = dataset.dtype
            is_plain = dataset.id.get_type().equal(h5py.h5t.py_create(self.dtype, logical=True))
            chunks: tuple[int, ...] | None = dataset.chunks
        if not is_plain or self.dtype.hasobject:
            raise UnsupportedScan(f"the numbers of '{name}' have an unusual form; raki reads IEEE ones: save it again")
        n_bytes = _count(self.shape) * self.dtype.itemsize
        if chunks is None:
            self._whole = _mapped(dataset, self.shape, self.dtype, path)
            n_stored_bytes = 0 if self._whole is None else n_bytes
        else:
            self._whole = None
            self._chunks = Chunks(dataset, chunks, self.dtype, name, path)
            n_stored_bytes = self._chunks.n_stored_bytes
        if n_bytes == 0 or n_stored_bytes < LEAST_FILLED * n_bytes:
            raise DamagedScan(
                f"the dataset '{name}' is announced as {' x '.join(map(str, self.shape))}, and {n_stored_bytes} bytes "
                "of it are in the file; the scan was cut short: copy or export it again"
            )

    def __getitem__(self, place: Any, /) -> np.ndarray:
        if self._whole is not None:
            return self._whole[place]
        bounds = [
            (part, part + 1) if isinstance(part, int) else part.indices(size)[:2]
            for part, size in zip(place, self.shape, strict=True)
        ]
        block = self._chunks.read(bounds)
        return block[tuple(0 if isinstance(part, int) else slice(None) for part in place)]


class Chunks:
    """The chunks of a dataset: where each lies in the file, and how it is packed.

    `dtype` is that of the numbers as they are stored.
    """

    def __init__(self, dataset: h5py.Dataset, chunks: tuple[int, ...], dtype: np.dtype, name: str, path: Path) -> None:
        self._name, self._path, self._chunks, self._dtype = name, path, chunks, dtype
        self._n_chunk_bytes = _count(chunks) * self._dtype.itemsize
        with damage_is_named():
            properties = dataset.id.get_create_plist()
            self._filters = [properties.get_filter(number)[0] for number in range(properties.get_nfilters())]
            self._places: dict[tuple[int, ...], Any] = {}
            self._kept: dict[tuple[int, ...], np.ndarray] = {}
            dataset.id.chunk_iter(self._note)
        self._n_file_bytes = path.stat().st_size
        self.n_stored_bytes = sum(min(chunk.size, self._n_file_bytes) for chunk in self._places.values())
        require_in_proportion(len(self._places) * self._n_chunk_bytes, self._n_file_bytes, f"the dataset '{name}'")
        if not set(self._filters) <= {DEFLATE, SHUFFLE}:
            raise UnsupportedScan(
                f"the dataset '{name}' is packed with HDF5's filters {self._filters}; raki reads {[DEFLATE, SHUFFLE]}, "
                "deflate and shuffle: save it with gzip, or unpacked"
            )
        if self._n_chunk_bytes > LARGEST_CHUNK_BYTES or len(self._places) >= MOST_CHUNKS:
            raise UnsupportedScan(
                f"the dataset '{name}' is stored in {len(self._places)} chunks of {self._n_chunk_bytes} bytes; raki "
                f"takes {MOST_CHUNKS} of at most {LARGEST_CHUNK_BYTES}: save it in one piece"
            )

    def _note(self, chunk: Any) -> bool | None:
        """Takes down a chunk; anything but None ends the list."""
        self._places[tuple(chunk.chunk_offset)] = chunk
        return True if len(self._places) >= MOST_CHUNKS else None

    def read(self, bounds: list[tuple[int, int]]) -> np.ndarray:
        """The part of the dataset between bounds; zero where no chunk was written."""
        part = np.zeros([max(0, end - first) for first, end in bounds], self._dtype)
        starts = [
            range(first // size * size, end, size) for (first, end), size in zip(bounds, self._chunks, strict=True)
        ]
        for start in itertools.product(*starts):
            chunk = self._places.get(start)
            if chunk is None:
                continue
            spans = [
                (max(first, at), min(end, at + size))
                for (first, end), at, size in zip(bounds, start, self._chunks, strict=True)
            ]
            inside = tuple(slice(low - at, high - at) for (low, high), at in zip(spans, start, strict=True))
            outside = tuple(slice(low - at, high - at) for (low, high), (at, _) in zip(spans, bounds, strict=True))
            part[outside] = self._kept_or_unpacked(start, chunk)[inside]
        return part

    def _kept_or_unpacked(self, start: tuple[int, ...], chunk: Any) -> np.ndarray:
        unpacked = self._kept.pop(start, None)
        if unpacked is None:
            unpacked = self._unpacked(chunk)
        # The one asked for last stands last, and the first makes room.
        self._kept[start] = unpacked
        if len(self._kept) > max(1, KEPT_BYTES // self._n_chunk_bytes):
            del self._kept[next(iter(self._kept))]
        return unpacked

    def _unpacked(self, chunk: Any) -> np.ndarray:
        # Deflate makes noise a little longer.
        most = min(2 * self._n_chunk_bytes + 1024, self._n_file_bytes - (chunk.byte_offset or 0))
        if not chunk.byte_offset or chunk.size > most:
            raise self._damage(chunk.size)
        with self._path.open("rb") as file:
            file.seek(chunk.byte_offset)
            content = file.read(chunk.size)
        for number, kind in reversed([*enumerate(self._filters)]):
            # A bit is set where a filter was left out of this chunk.
            if chunk.filter_mask >> number & 1:
                continue
            if kind == DEFLATE:
                with damage_is_named():
                    # One byte more than there should be shows that there are too many, and takes no memory.
                    content = zlib.decompressobj().decompress(content, self._n_chunk_bytes + 1)
            elif len(content) == self._n_chunk_bytes:
                content = np.frombuffer(content, np.uint8).reshape(self._dtype.itemsize, -1).T.tobytes()
        if len(content) != self._n_chunk_bytes:
            raise self._damage(len(content))
        return np.frombuffer(content, self._dtype).reshape(self._chunks)

    def _damage(self, n_bytes: int) -> DamagedScan:
        return DamagedScan(
            f"a chunk of the dataset '{self._name}' has {n_bytes} bytes and should have {self._n_chunk_bytes}; raki "
            "needs a complete file: copy or export the scan again"
        )


@contextmanager
def damage_is_named() -> Iterator[None]:
    """The many exceptions for a broken HDF5 file, and the file's name in them, become one sentence.

    Wraps only what reads from the file: the same exceptions from elsewhere are faults of raki.
    """
    try:
        yield
    except (OSError, KeyError, ValueError, TypeError, RuntimeError, IndexError, OverflowError, zlib.error) as error:
        raise DamagedScan(
            f"the HDF5 file is truncated or damaged ({type(error).__name__}); raki needs a complete file: "
            "copy or export the scan again"
        ) from None


def kept_elsewhere(name: str) -> UnsupportedScan:
    """The error for a dataset whose numbers are in other files."""
    return UnsupportedScan(f"the numbers of '{name}' are kept in other files; raki reads one: copy them into it")


def _mapped(dataset: h5py.Dataset, shape: tuple[int, ...], dtype: np.dtype, path: Path) -> np.ndarray | None:
    """A dataset in one piece, mapped into memory; None where the file has less of it."""
    with damage_is_named():
        start = dataset.id.get_offset()
    n_bytes = _count(shape) * dtype.itemsize
    if start is None or n_bytes == 0 or start + n_bytes > path.stat().st_size:
        return None
    return np.memmap(path, dtype, "r", offset=start, shape=shape)


def _count(shape: tuple[int, ...]) -> int:
    return int(np.prod(shape, dtype=object))
