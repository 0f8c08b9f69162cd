"""A scan written to a file of another format: the samples at their places, and what the format can say besides.

All read a slice at a time, write beside the wanted file and put it in its place when it is complete.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from raki.errors import UnsupportedScan
from raki.export.bart import write_bart
from raki.export.ismrmrd_hdf5 import write_ismrmrd
from raki.export.numpy_files import write_npy, write_npz
from raki.formats import open_scan
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


def export(files: Sequence[Path], target: Path) -> None:
    """Writes the scan of raw files, sorted, in the format that the target's name asks for, one of `WRITERS`.

    Errors are those of `raki.formats.open_scan`.
    """
    with open_scan(files) as scan:
        write_scan(scan, target)


def write_scan(scan: Scan, target: Path) -> None:
    """Writes a scan in the format that the target's name asks for.

    Raises:
        UnsupportedScan: it is 3-D, sorted into planes that no other program knows; or sums of slices.
    """
    if scan.groups:
        raise UnsupportedScan(
            f"the scan excites {scan.groups.n_bands} slices at once; raki converts slices that were excited alone: "
            "reconstruct it, or go on with the raw file as it is"
        )
    if scan.slab:
        raise UnsupportedScan(
            "the scan is 3-D; raki converts 2-D scans only: reconstruct it, or go on with the raw file as it is"
        )
    WRITERS[target.suffix](scan, target)


__all__ = ["WRITERS", "export", "write_bart", "write_ismrmrd", "write_npy", "write_npz", "write_scan"]
