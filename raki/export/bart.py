"""A scan as BART's pair of files, see `raki.formats.arrays.bart`."""

from pathlib import Path

import numpy as np

from raki.export.known import frame_grid
from raki.formats.arrays.bart import AXES, DIMENSIONS, FIRST_LINE, SAMPLES
from raki.scan import Scan
from raki.whole_file import whole_file

# From the slowest to the fastest; BART has no dimension for sets.
FRAME_COUNTERS = ("phase", "repetition", "contrast")


def write_bart(scan: Scan, path: Path) -> None:
    """Writes `.hdr` and `.cfl`, whichever of them the path names.

    Geometry, header, noise and separate calibration have no place there and are left out: whiten the noise before.

    Raises:
        UnsupportedScan: the frames have several sets, or aren't all combinations of their counters.
    """
    n_each, frames = frame_grid(scan, FRAME_COUNTERS)
    _, n_coils, n_pe, n_ro = scan.kspace.shape
    sizes = {
        "coil": n_coils,
        "pe": n_pe,
        "ro": n_ro,
        "slice": scan.n_slices,
        **dict(zip(FRAME_COUNTERS, n_each, strict=True)),
    }
    dimensions = [sizes.get(AXES.get(name, ""), 1) for name in DIMENSIONS]
    with whole_file(path.with_suffix(".hdr"), ".cfl") as header:
        header.write_text(f"{FIRST_LINE.decode()}\n{' '.join(map(str, dimensions))}\n")
        with header.with_suffix(".cfl").open("wb") as file:
            # READ, PHS1 and COIL run fastest and SLICE slowest of all, so slices are written one after the other.
            for slice_index in range(scan.n_slices):
                for frame in frames:
                    kspace = scan.kspace[frame * scan.n_slices + slice_index]
                    file.write(np.ascontiguousarray(kspace, SAMPLES).data)
