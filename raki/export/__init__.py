"""A scan written to a file of another format: the samples at their places, and what the format can say besides.

All read a slice at a time, write beside the wanted file and put it in its place when it is complete.
"""

from collections.abc import Callable
from pathlib import Path

from raki.export.bart import write_bart
from raki.export.ismrmrd_hdf5 import write_ismrmrd
from raki.export.numpy_files import write_npy, write_npz
from raki.scan import Scan

WRITERS: dict[str, Callable[[Scan, Path], None]] = {
    ".h5": write_ismrmrd,
    ".mrd": write_ismrmrd,
    ".hdr": write_bart,
    ".cfl": write_bart,
    ".npz": write_npz,
    ".npy": write_npy,
}
"""What writes a file whose name ends so."""

__all__ = ["WRITERS", "write_bart", "write_ismrmrd", "write_npy", "write_npz"]
