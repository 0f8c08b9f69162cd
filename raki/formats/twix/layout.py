"""The records of a Siemens twix file, as VB and as VD to XA write them.

Offsets as in the open readers twixtools (https://github.com/pehses/twixtools) and siemens_to_ismrmrd
(https://github.com/ismrmrd/siemens_to_ismrmrd).
"""

from dataclasses import dataclass

import numpy as np

COUNTERS = ("line", "average", "slice", "partition", "echo", "phase", "repetition", "set", "segment")
Fields = list[tuple[str, str, int]]
START: Fields = [(name, "<u4", 1) for name in ("flags_and_length", "measurement", "counter", "time", "pmu_time")]
TABLE: Fields = [("system", "<u2", 1), ("table_delay", "<u2", 1), ("table", "<i4", 3), ("reserved", "<u4", 1)]
ENCODED: Fields = [
    ("mask", "<u8", 1),
    ("n_samples", "<u2", 1),
    ("n_channels", "<u2", 1),
    *((name, "<u2", 1) for name in COUNTERS),
    ("ice_counters", "<u2", 5),
    ("cut_pre", "<u2", 1),
    ("cut_post", "<u2", 1),
    ("centre_sample", "<u2", 1),
    ("coil_select", "<u2", 1),
    ("offcentre", "<f4", 1),
    ("time_since_pulse", "<u4", 1),
    ("centre_line", "<u2", 1),
    ("centre_partition", "<u2", 1),
]
PLACE: Fields = [("position", "<f4", 3), ("quaternion", "<f4", 4)]
VD_END: Fields = [("ice", "<u2", 24), ("free", "<u2", 4), ("application", "<u2", 2), ("checksum", "<u4", 1)]
VB_ICE: Fields = [("ice", "<u2", 4), ("free", "<u2", 4)]
VB_END: Fields = [("channel", "<u2", 1), ("table_position", "<u2", 1)]


def _record(*parts: Fields) -> np.dtype:
    fields = [field for part in parts for field in part]
    return np.dtype([(name, kind) if n == 1 else (name, kind, (n,)) for name, kind, n in fields])


VD_HEADER = _record(START, TABLE, ENCODED, PLACE, VD_END)
VB_HEADER = _record(START, ENCODED, VB_ICE, PLACE, VB_END)


@dataclass(frozen=True, kw_only=True)
class BlockLayout:
    """How one generation of scanners writes a line."""

    header: np.dtype
    """The scan header, of which the first coil's stands first in VB."""
    n_line_bytes: int
    """Bytes in front of the first coil."""
    n_channel_bytes: int
    """Bytes in front of each coil's samples."""
    channel_at: int
    """Where in these the coil's number stands."""

    def line_bytes(self, n_channels: int, n_samples: int) -> int:
        """Bytes of a line; a sample is two single-precision numbers."""
        return self.n_line_bytes + n_channels * (self.n_channel_bytes + 8 * n_samples)


VD = BlockLayout(header=VD_HEADER, n_line_bytes=192, n_channel_bytes=32, channel_at=24)
VB = BlockLayout(header=VB_HEADER, n_line_bytes=0, n_channel_bytes=128, channel_at=124)
