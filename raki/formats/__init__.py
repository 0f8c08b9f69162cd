"""Raw data as scanners write it. The format is found by content, never by name."""

import struct
from pathlib import Path

from raki.errors import NotAScan, PermanentError, UnsupportedScan
from raki.formats.ismrmrd_hdf5 import read_ismrmrd
from raki.scan import Scan

HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"

PACKED = {b"\x1f\x8b": "gzip", b"\xfd7zXZ\x00": "xz", b"PK\x03\x04": "zip", b"\x28\xb5\x2f\xfd": "zstd"}


def read_scan(path: Path) -> Scan:
    """Reads a raw scan and sorts it. ISMRMRD (MRD) in HDF5 is read; other formats are refused by their name.

    Raises:
        NotAScan: the file is missing, empty, or nothing that an MRI scanner wrote.
        DamagedScan: the format is right, but the content is truncated or contradicts itself.
        UnsupportedScan: raw data of a format or kind that raki doesn't reconstruct.
    """
    if not path.is_file():
        raise NotAScan("there is no file of this name; raki needs one file of raw data (ISMRMRD HDF5)")
    with path.open("rb") as file:
        start = file.read(512)
    if is_scan(start):
        return read_ismrmrd(path)
    raise refusal(start)


def is_scan(start: bytes) -> bool:
    """Whether a file that begins with these bytes may be raw data that `read_scan` reads; eight bytes tell."""
    return start.startswith(HDF5_MAGIC)


def refusal(start: bytes) -> PermanentError:
    """The error for a file that begins with these bytes and isn't a scan; it names what the file seems to be."""
    wanted = "raki reads ISMRMRD HDF5 (.h5, .mrd)"
    if not start:
        return NotAScan(f"the file is empty; {wanted}: copy the scan again")
    for magic, name in PACKED.items():
        if start.startswith(magic):
            return NotAScan(f"this is a {name} archive; {wanted}: unpack it first (raki.archive.unpack_scan)")
    if start[128:132] == b"DICM":
        return NotAScan(f"this is a DICOM file, which holds images; {wanted}: export the raw data")
    if _is_siemens_twix(start):
        return UnsupportedScan(f"this looks like Siemens raw data (twix); {wanted}: convert it with siemens_to_ismrmrd")
    if b"\0" not in start:
        return NotAScan(f"the file holds text; {wanted}: export the raw data")
    return NotAScan(f"the file begins like no raw data that raki knows; {wanted}: convert it to ISMRMRD")


def _is_siemens_twix(start: bytes) -> bool:
    """Siemens multi-raid files (VD and later) begin with an identifier and the number of measurements in them."""
    if len(start) < 8:
        return False
    identifier, n_measurements = struct.unpack("<II", start[:8])
    return identifier < 10_000 and 1 <= n_measurements <= 64
