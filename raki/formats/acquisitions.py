"""What every reader of raw data hands on: a header, one head for each acquisition, and samples on request.

The header and the heads are ISMRMRD's, whatever the file's own format: a reader of another format translates. What
they mean is decided in one place, `raki.formats.sorting.lines`, for all formats alike.

Inati et al. 2017, Magn Reson Med 77:411-421, doi:10.1002/mrm.26089; https://ismrmrd.readthedocs.io.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from ismrmrd.hdf5 import acquisition_header_dtype
from jaxtyping import Complex64, Int

from raki.errors import DamagedScan, NotAScan

HEAD = acquisition_header_dtype
"""One acquisition's head as a numpy record, with the field names of ISMRMRD's AcquisitionHeader."""

LARGEST_SAMPLE = 1e15
"""Real samples are far smaller, in whatever unit; their squares are summed in single precision."""


class OtherFormat(NotAScan):
    """The file begins as those of a format do, and is of another one that begins alike."""

    @property
    def failure_class(self) -> str:
        """To all but the search for the format it is a file that holds no scan."""
        return NotAScan.__name__


@runtime_checkable
class Acquisitions(Protocol):
    """An open raw file. Heads are in memory, samples stay in the file until they are asked for."""

    header_xml: str
    """The ISMRMRD header (schema ismrmrd.xsd)."""
    heads: np.ndarray
    """One `HEAD` an acquisition, in the file's order."""

    def samples(self, wanted: Int[np.ndarray, " wanted"]) -> Iterator[Complex64[np.ndarray, "coil kept"]]:
        """The samples of the wanted acquisitions, by their indices and in that order.

        What `discard_pre` and `discard_post` of the head cut off is left out. Needs memory for a few acquisitions.

        Raises:
            DamagedScan: samples are missing, infinite, undefined, or larger than any receiver's.
        """


def flag_bits(*flags: int) -> np.uint64:
    """Flags as they stand in a head. ISMRMRD counts them from one."""
    return np.uint64(sum(1 << (flag - 1) for flag in flags))


@dataclass(frozen=True, kw_only=True)
class Format:
    """One format of raw data. Formats add themselves by an entry point in the group `raki.formats`."""

    name: str
    """As a user knows it: "ISMRMRD HDF5", "Siemens twix"."""
    suffixes: tuple[str, ...]
    """What names of such files end with by custom, for messages; content decides."""
    recognises: Callable[[bytes], bool]
    """Whether a file may be of this format, from its first `raki.archive.START_BYTES` bytes."""
    open: Callable[[Path], AbstractContextManager[Acquisitions]]
    """Opens a file. Raises NotAScan, DamagedScan or UnsupportedScan, with one sentence."""
    companions: tuple[str, ...] = ()
    """What stands beside such a file and is a part of it: suffixes of files under the same name (`.cfl`), or, where the
    scanner gives its files fixed names, these (`method`). Under a name of ours the latter are suffixes as well."""
    file_name: str = ""
    """Where the scanner gives its files fixed names, that of this one; a file of another name is none."""


def require_measured(numbers: np.ndarray, index: int) -> None:
    """Raises DamagedScan unless all numbers of an acquisition may have come from a receiver."""
    # In one pass for nearly all; NaN compares as false.
    if numbers.dtype.kind == "f" and np.vdot(numbers, numbers) <= LARGEST_SAMPLE**2:
        return
    if not (np.abs(numbers) <= LARGEST_SAMPLE).all():
        raise DamagedScan(
            f"acquisition {index} holds infinite or undefined samples, or some beyond {LARGEST_SAMPLE:g}; raki needs "
            "measured ones: export the scan again"
        )
