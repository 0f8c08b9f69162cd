"""`kspace.h5`: the filled k-space that the images were made of, for whoever goes on from there."""

import threading
from pathlib import Path

import h5py
import numpy as np
from jaxtyping import Complex64
from torch import Tensor

from raki.scan import Scan

KSPACE_FILE = "kspace.h5"
SCHEMA = "raki.kspace/1"


class FilledKspace:
    """Writes images' filled k-space into a file, one after another as they come, from whichever thread.

    The data set `kspace` has axes `image coil pe ro`, complex64, with the centre at `n // 2`; of a 3-D scan, whose
    readout is transformed before anything is filled, `x coil pe pe2`. `sampled` says which lines, or points, were
    acquired: those are as they came, whitened where the scan has noise, and of virtual coils where they were asked for.
    """

    def __init__(self, path: Path, scan: Scan, *, method: str) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._n_images = len(scan.kspace)
        self._axes = "x coil pe pe2" if scan.slab else "image coil pe ro"
        self._unit = "noise SD of one coil" if scan.prewhitened else "arbitrary unit"
        with h5py.File(path, "w") as file:
            file["sampled"] = scan.sampled if scan.sampled_by_image is None else scan.sampled_by_image
            file.attrs.update({"schema": SCHEMA, "method": method})

    def take(self, index: int, filled: Complex64[Tensor, "coil pe ro"]) -> None:
        """Writes one image's; a second time over the first, where all is computed once more."""
        with self._lock, h5py.File(self.path, "r+") as file:
            if "kspace" not in file:
                shape = tuple(filled.shape)
                kspace = file.create_dataset("kspace", (self._n_images, *shape), np.complex64, chunks=(1, *shape))
                kspace.attrs.update({"axes": self._axes, "unit": self._unit})
            file["kspace"][index] = filled.numpy()


def kept_kspace(wanted: bool, folder: Path, scan: Scan, *, method: str) -> FilledKspace | None:
    """Where the filled k-space of a scan goes, if it is asked for."""
    return FilledKspace(folder / KSPACE_FILE, scan, method=method) if wanted else None
