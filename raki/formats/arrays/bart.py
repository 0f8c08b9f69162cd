"""BART's arrays: a text file `.hdr` with the dimensions, and a file `.cfl` with the samples.

Samples are complex64, little-endian, the first dimension running fastest; DC is at n // 2. What each of the sixteen
dimensions means is BART's own list: https://github.com/mrirecon/bart, src/misc/mri.h; https://mrirecon.github.io/bart.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from raki.archive import START_BYTES
from raki.errors import DamagedScan, UnsupportedScan
from raki.formats.acquisitions import Format
from raki.formats.arrays.description import Description
from raki.formats.arrays.scan import ArrayAcquisitions

FIRST_LINE = b"# Dimensions"
DIMENSIONS = (
    *("READ", "PHS1", "PHS2", "COIL", "MAPS", "TE", "COEFF", "COEFF2"),
    *("ITER", "CSHIFT", "TIME", "TIME2", "LEVEL", "SLICE", "AVG", "BATCH"),
)
AXES = {
    "READ": "ro",
    "PHS1": "pe",
    "PHS2": "pe2",
    "COIL": "coil",
    "TE": "contrast",
    "TIME": "repetition",
    "TIME2": "phase",
    "SLICE": "slice",
    "AVG": "average",
}
"""BART's name and raki's; the others mean nothing to k-space."""
SAMPLES = np.dtype("<c8")


@contextmanager
def open_bart(path: Path) -> Iterator[ArrayAcquisitions]:
    """Opens the `.hdr` of a pair; the `.cfl` stands beside it under the same name.

    Neither geometry nor noise is in such files: the image has pixels of 1 mm.

    Raises:
        DamagedScan: the header makes no sense, or the samples aren't as many as it announces.
        UnsupportedScan: several arrays in one file, a dimension that k-space hasn't, or a trajectory's axes.
    """
    shape = _dimensions(path)
    samples = path.with_suffix(".cfl")
    n_bytes = samples.stat().st_size if samples.is_file() else 0
    n_needed = int(np.prod(shape, dtype=object)) * SAMPLES.itemsize
    if n_bytes != n_needed:
        raise DamagedScan(
            f"the header announces {' x '.join(map(str, shape))} samples, {n_needed} bytes; the .cfl beside it has "
            f"{n_bytes if samples.is_file() else 'none, it is missing'}: copy both files again"
        )
    _require_cartesian(shape)
    array = np.memmap(samples, SAMPLES, "r", shape=shape, order="F")
    is_axis = [name in AXES for name in DIMENSIONS]
    kspace = array[tuple(slice(None) if known else 0 for known in is_axis)]
    yield ArrayAcquisitions(kspace, Description(axes=tuple(AXES.values())))


def _dimensions(path: Path) -> tuple[int, ...]:
    """The length of each of the sixteen dimensions."""
    with path.open("rb") as file:
        # What comes after the last end of a line was cut: fewer digits, or fewer dimensions.
        lines = file.read(START_BYTES).splitlines(keepends=True)
        lines = [line.strip() for line in lines if line.endswith(b"\n")]
    if b"# SizesDimensions" in lines:
        raise UnsupportedScan("the file holds several arrays; raki reads one a file: write them apart with bart")
    numbers = lines[1].split() if len(lines) > 1 else []
    # Of more digits than any file's length they needn't be looked at.
    if not 1 <= len(numbers) <= 64 or not all(re.fullmatch(rb"\d{1,12}", number) for number in numbers):
        raise DamagedScan(
            "the second line of the header isn't a list of dimensions; raki needs up to sixteen whole numbers there: "
            "copy the file again"
        )
    shape = [int(number) for number in numbers] + [1] * len(DIMENSIONS)
    if 0 in shape or any(size > 1 for size in shape[len(DIMENSIONS) :]):
        raise DamagedScan(
            f"the header announces {' x '.join(map(str, shape[: len(numbers)]))}; raki needs at least 1 along each of "
            "sixteen dimensions, and 1 beyond: copy the file again"
        )
    return tuple(shape[: len(DIMENSIONS)])


def _require_cartesian(shape: tuple[int, ...]) -> None:
    for name, size in zip(DIMENSIONS, shape, strict=True):
        if size > 1 and name not in AXES:
            raise UnsupportedScan(
                f"the array has {size} elements along {name}, a dimension that raki's k-space hasn't; raki reads "
                f"{', '.join(AXES)}: take one of them with bart slice"
            )
    if shape[0] == 1 and shape[1] > 1 and shape[2] > 1:
        raise UnsupportedScan(
            f"the array has 1 sample along READ and {shape[1]} x {shape[2]} along PHS1 and PHS2, as radial and spiral "
            "scans and decoupled 3-D ones have; raki needs the readout along READ: reorder it with bart transpose"
        )


BART_CFL = Format(
    name="BART cfl",
    suffixes=(".hdr",),
    recognises=lambda start: start.startswith(FIRST_LINE),
    open=open_bart,
    companions=(".cfl",),
)
