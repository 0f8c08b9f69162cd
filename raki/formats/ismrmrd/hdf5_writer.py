"""Writing raw data as an ISMRMRD file, see `raki.formats.ismrmrd.hdf5`."""

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import h5py
import numpy as np
from ismrmrd.hdf5 import acquisition_dtype

from raki.whole_file import whole_file

CHUNK = 64
BATCH_BYTES = 16 << 20

Batch = tuple[np.ndarray, Iterable[np.ndarray]]
"""Some heads, and the samples of each as `coil ro`."""


def write_hdf5(header_xml: str, batches: Iterable[Batch], path: Path) -> None:
    """Writes one measurement. The file appears under its name when it is complete, and not at all after an error.

    Args:
        batches: acquisitions in their order; one batch at a time is in memory.

    Raises:
        ValueError: a batch has fewer or more samples than heads.
    """
    with whole_file(path) as part, h5py.File(part, "w") as file:
        group = file.create_group("dataset")
        group.create_dataset("xml", data=[header_xml.encode()], dtype=h5py.special_dtype(vlen=bytes))
        table = group.create_dataset("data", (0,), acquisition_dtype, maxshape=(None,), chunks=(CHUNK,))
        for heads, samples in batches:
            rows = _rows(heads, samples)
            table.resize(len(table) + len(rows), axis=0)
            table[len(table) - len(rows) :] = rows


def in_batches(heads: np.ndarray, samples: Iterable[np.ndarray]) -> Iterator[Batch]:
    """All acquisitions of a measurement, a few at a time."""
    largest = 8 * int((heads["number_of_samples"].astype(int) * heads["active_channels"]).max(initial=1))
    n_rows = max(1, min(CHUNK, BATCH_BYTES // largest))
    remaining = iter(samples)
    for start in range(0, len(heads), n_rows):
        some = heads[start : start + n_rows]
        yield some, islice(remaining, len(some))


def counted(batches: Iterable[Batch]) -> Iterator[Batch]:
    """The same acquisitions, counted as a scanner does."""
    n_before = 0
    for heads, samples in batches:
        numbered = heads.copy()
        numbered["scan_counter"] = np.arange(n_before, n_before + len(heads))
        n_before += len(heads)
        yield numbered, samples


def _rows(heads: np.ndarray, samples: Iterable[np.ndarray]) -> np.ndarray:
    rows = np.zeros(len(heads), acquisition_dtype)
    rows["head"] = heads
    for row, one in zip(rows, samples, strict=True):
        row["data"] = np.ascontiguousarray(one, np.complex64).reshape(-1).view(np.float32)
        row["traj"] = np.zeros(0, np.float32)
    return rows
