"""Arrays in numpy's own format, mapped into memory where they stand: nothing is read, and nothing unpickled.

NEP 1, https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html.
"""

import lzma
import struct
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.lib import format as npy

from raki.errors import DamagedScan, UnsupportedScan

MAGIC = b"\x93NUMPY"
# What numpy's and zip's readers were seen to raise, and their relatives.
READING_FAULTS = (
    *(OSError, EOFError, ValueError, TypeError, KeyError, IndexError, RuntimeError, OverflowError, SyntaxError),
    *(MemoryError, struct.error, tokenize.TokenError, zipfile.BadZipFile, zlib.error, lzma.LZMAError),
)
# Real headers have about a hundred characters.
LONGEST_HEADER = 4096


def mapped_array(path: Path, name: str, start: int = 0, n_bytes: int | None = None) -> np.memmap:
    """The array that stands in a file from a byte on, filling all the bytes that it has there.

    Args:
        name: what the array is called in messages.
        n_bytes: how many bytes the array has with its header; the rest of the file, where not given.

    Raises:
        DamagedScan: no such array, or not as long as its header says.
        UnsupportedScan: Python objects or records.
    """
    n_bytes = path.stat().st_size - start if n_bytes is None else n_bytes
    with path.open("rb") as file, damage_is_named():
        file.seek(start)
        version = npy.read_magic(file)
        read_header = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}.get(version)
        if read_header is None:
            raise UnsupportedScan(
                f"the array '{name}' is in version {version[0]}.{version[1]} of numpy's format, which is for records; "
                "raki reads arrays of numbers: save it again"
            )
        shape, is_fortran, dtype = read_header(file, max_header_size=LONGEST_HEADER)
        n_header_bytes = file.tell() - start
    if dtype.hasobject or dtype.kind not in "fiucUS":
        raise UnsupportedScan(
            f"the array '{name}' holds Python objects, records or other things than numbers and texts; raki reads no "
            "such arrays: save it as plain numbers"
        )
    n_needed = int(np.prod(shape, dtype=object)) * dtype.itemsize
    if not all(size >= 1 for size in shape) or n_needed < 1 or n_needed != n_bytes - n_header_bytes:
        raise DamagedScan(
            f"the array '{name}' is announced as {' x '.join(map(str, shape)) or 'one number'} of {dtype.itemsize} "
            f"bytes and has {n_bytes - n_header_bytes} bytes; the lengths must agree: copy or save it again"
        )
    order: Literal["F", "C"] = "F" if is_fortran else "C"
    with damage_is_named():
        return np.memmap(path, dtype, "r", offset=start + n_header_bytes, shape=shape, order=order)


@contextmanager
def damage_is_named() -> Iterator[None]:
    """Whatever numpy's and zip's readers raise on a broken file becomes one sentence; their warnings are dropped.

    Wraps only what reads from the file: the same exceptions from elsewhere are faults of raki.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except READING_FAULTS as error:
        raise DamagedScan(
            f"the numpy file is truncated or damaged ({type(error).__name__}); raki needs a complete file: copy or "
            "save it again"
        ) from None
