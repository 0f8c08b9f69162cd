"""Opens HDF5 files that a program has finished.

A program that is ended while it writes leaves a mark in the file, and the library then opens it for nobody.

HDF5 File Format Specification, section II.A "Disk Format: Level 0A", version 3, "File Consistency Flags";
h5clear, https://support.hdfgroup.org/documentation/hdf5/latest/_h5_t_o_o_l__c_l__u_g.html.
"""

from pathlib import Path

import h5py

from raki.errors import DamagedScan
from raki.formats.hdf5.array import damage_is_named

VERSION_AT, MARKED_VERSION, FLAGS_AT = 8, 3, 11
OPEN_TO_WRITE, OPEN_TO_WRITE_AND_BE_READ = 0x1, 0x4


def open_hdf5(path: Path) -> h5py.File:
    """The file, opened to be read.

    Raises:
        DamagedScan: it was never closed by the program that wrote it, or it is truncated or damaged.
    """
    with path.open("rb") as file:
        start = file.read(FLAGS_AT + 1).ljust(FLAGS_AT + 1, b"\0")
    # Older versions of the format have no mark.
    if start[VERSION_AT] == MARKED_VERSION and start[FLAGS_AT] & (OPEN_TO_WRITE | OPEN_TO_WRITE_AND_BE_READ):
        raise DamagedScan(
            "the HDF5 file is marked as open for writing: it was copied while a program wrote it, or that program was "
            "ended before it closed the file; copy it again once it is closed, or take the mark away (h5clear -s) if "
            "no program writes it any more, and look whether the scan is whole"
        )
    with damage_is_named():
        return h5py.File(path, "r")
