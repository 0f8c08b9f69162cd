"""Writes k-space into each format of arrays, and reads such a file by its counters."""

import h5py
import numpy as np

from raki.archive import START_BYTES
from raki.formats.acquisitions import Acquisitions
from raki.formats.arrays.bart import BART_CFL
from raki.formats.arrays.fastmri import FASTMRI
from raki.formats.arrays.numpy_files import NUMPY_NPY, NUMPY_NPZ
from raki.phantom.simulation import complex_noise
from raki.scan.header import parse_header

AXES = ("slice", "coil", "pe", "ro")
COUNTERS = (
    "slice",
    "kspace_encode_step_1",
    "kspace_encode_step_2",
    "contrast",
    "phase",
    "repetition",
    "set",
    "average",
)
# Read by content, and written here as their own programs write them.
FORMATS = {"npy": NUMPY_NPY, "npz": NUMPY_NPZ, "bart": BART_CFL, "fastmri": FASTMRI}


def kspace(*shape, seed=0):
    return complex_noise(np.random.default_rng(seed), shape)


def write(kind, path, full):
    """Writes `slice coil pe ro` in a format of arrays; returns the path that is opened."""
    if kind == "npy":
        np.save(path.with_suffix(".npy"), full)
        path.with_suffix(".json").write_text('{"axes": "slice coil pe ro"}')
        return path.with_suffix(".npy")
    if kind == "npz":
        np.savez(path.with_suffix(".npz"), kspace=full, axes="slice coil pe ro")
        return path.with_suffix(".npz")
    if kind == "bart":
        n_slices, n_coils, n_pe, n_ro = full.shape
        path.with_suffix(".hdr").write_text(
            f"# Dimensions\n{n_ro} {n_pe} 1 {n_coils} 1 1 1 1 1 1 1 1 1 {n_slices} 1 1 \n# Creator\nBART v0.9.00\n"
        )
        path.with_suffix(".cfl").write_bytes(full.tobytes())
        return path.with_suffix(".hdr")
    with h5py.File(path.with_suffix(".h5"), "w") as file:
        file["kspace"] = full.transpose(0, 1, 3, 2)
    return path.with_suffix(".h5")


def lines(acquisitions):
    """The samples of the image's lines by their counters."""
    image = np.flatnonzero(acquisitions.heads["flags"] & np.uint64(0b11 << 18) == 0)
    places = [tuple(int(acquisitions.heads["idx"][name][index]) for name in COUNTERS) for index in image]
    assert len(set(places)) == len(places)
    return {place: one.copy() for place, one in zip(places, acquisitions.samples(image), strict=True)}


def same(first, second):
    return first.keys() == second.keys() and all(np.array_equal(first[place], second[place]) for place in first)


def opened(path, kind):
    with path.open("rb") as file:
        assert FORMATS[kind].recognises(file.read(START_BYTES))
    with FORMATS[kind].open(path) as acquisitions:
        assert isinstance(acquisitions, Acquisitions)
        return lines(acquisitions), acquisitions.heads, parse_header(acquisitions.header_xml)


def replace_kspace(file, **options):
    del file["kspace"]
    file.create_dataset("kspace", **options)
