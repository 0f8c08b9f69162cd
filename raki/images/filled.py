"""`kspace.h5`: the filled k-space that the images were made of, for whoever goes on from there."""

import threading
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType

import h5py
import numpy as np
from jaxtyping import Complex64
from torch import Tensor

from raki.scan import Scan

SCHEMA = "raki.kspace/1"


class FilledKspace(AbstractContextManager["FilledKspace"]):
    """Writes images' filled k-space, one after another as they come, from whichever thread.

    The data set `kspace` has axes `image coil pe ro`, complex64, with the centre at `n // 2`; of a 3-D scan, whose
    readout is transformed before anything is filled, `x coil pe pe2`. `sampled` says which lines, or points, were
    acquired: those are as they came, whitened where the scan has noise, and of virtual coils where they were asked for.
    """

    def __init__(self, path: Path, scan: Scan, *, method: str) -> None:
        self._lock = threading.Lock()
        self._file = h5py.File(path, "w")
        shape = (len(scan.kspace), *scan.kspace.shape[1:])
        one = (1, *shape[1:])
        self._kspace = self._file.create_dataset("kspace", shape, np.complex64, chunks=one)
        self._kspace.attrs["axes"] = "x coil pe pe2" if scan.slab else "image coil pe ro"
        self._kspace.attrs["unit"] = "noise SD of one coil" if scan.prewhitened else "arbitrary unit"
        self._file["sampled"] = scan.sampled if scan.sampled_by_image is None else scan.sampled_by_image
        self._file.attrs.update({"schema": SCHEMA, "method": method})

    def take(self, index: int, filled: Complex64[Tensor, "coil pe ro"]) -> None:
        """Writes one image's."""
        with self._lock:
            self._kspace[index] = filled.numpy()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
