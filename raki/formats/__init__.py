"""Raw data as scanners write it, read and sorted: files in, a `Scan` out.

The format is found by content, never by name. Each format is one module and one entry point in the group
`raki.formats`: see `Format`. A reader hands on the lines as they were acquired (`Acquisitions`); what they mean is
decided once, for all formats, in `sorting`. `raki.formats.ismrmrd.messages` is ISMRMRD's streaming protocol, which
files and connections have in common.
"""

from raki.formats.acquisitions import Acquisitions, Format
from raki.formats.opening import candidates, formats, open_raw, open_scan, read_scan

__all__ = [
    "Acquisitions",
    "Format",
    "candidates",
    "formats",
    "open_raw",
    "open_scan",
    "read_scan",
]
