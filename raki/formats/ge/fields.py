"""Where the fields of a GE P-file's header stand.

GE publishes no specification outside its Orchestra library. The offsets were found in the structures that public
readers print (rdbm.h, imagedb.h as used by ge_to_ismrmrd, pfile-tools and sivic) and checked with one scan of each
revision.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

# Of every field: its type, and its offset in the revisions 20.006 and 26.002.
FIELDS: dict[str, tuple[Any, int, int]] = {
    "data_offset": ("<i4", 1468, 4),
    "run_number": ("<i4", 4, 80),
    "scan_date": ("S10", 16, 92),
    "scan_time": ("S8", 26, 102),
    "dacq_control": ("<i2", 48, 124),
    "data_collect_type": ("<u2", 56, 132),
    "n_passes": ("<i2", 64, 140),
    "n_slices": ("<u2", 68, 144),
    "n_echoes": ("<i2", 70, 146),
    "n_excitations": ("<i2", 72, 148),
    "n_frames": ("<i2", 74, 150),
    "n_overscans": ("<i2", 78, 154),
    "frame_size": ("<u2", 80, 156),
    "point_size": ("<i2", 82, 158),
    "n_stored_samples": ("<u2", 102, 178),
    "n_stored_frames": ("<i2", 104, 180),
    "rotation": ("<i2", 176, 240),
    "transpose": ("<i2", 178, 242),
    "receivers": (("<i2", (4, 2)), 200, 264),
    "resonance_frequency_dhz": ("<u4", 440, 504),
    "data_collect_type1": ("<u4", 860, 796),
    "frequency_scale": ("<f4", 864, 800),
    "phase_scale": ("<f4", 868, 804),
    "asset": ("<i4", 1312, 1248),
    "echo_train_length": ("<i2", 1446, 1382),
    "field_strength_gauss": ("<i4", 143392, 194232),
    "exam_number": ("<u2", 143516, 194356),
    "patient_sex": ("<i2", 143540, 194380),
    "referring_physician": ("S65", 143877, 194717),
    "station": ("S9", 144140, 194980),
    "institution": ("S33", 144163, 195011),
    "system_id": ("S16", 144204, 195052),
    "patient_name": ("S65", 144336, 195184),
    "patient_id": ("S65", 144401, 195249),
    "patient_birthdate": ("S9", 144483, 195331),
    "patient_position": ("<i4", 145420, 196260),
    "patient_entry": ("<i4", 145424, 196264),
    "series_description": ("S65", 145762, 196602),
    "fov_mm": ("<f4", 147644, 198484),
    "fov_phase_mm": ("<f4", 147648, 198488),
    "thickness_mm": ("<f4", 147656, 198496),
    "half_bandwidth_khz": ("<f4", 147692, 198532),
    "matrix": (("<f4", 2), 148020, 198860),
    "top_left": (("<f4", 3), 148060, 198900),
    "top_right": (("<f4", 3), 148072, 198912),
    "bottom_right": (("<f4", 3), 148084, 198924),
    "repetition_time_us": ("<i4", 148396, 199236),
    "inversion_time_us": ("<i4", 148400, 199240),
    "echo_time_us": ("<i4", 148404, 199244),
    "flip_angle_deg": ("<i2", 148752, 199592),
    "sequence": ("S33", 148972, 199812),
    "coil": ("S17", 149089, 199929),
}

SLICE_TABLE_OFFSET = 36864
N_TABLE_SLICES = 2048


@dataclass(frozen=True, kw_only=True)
class Revision:
    """What differs between two revisions of the header."""

    number: float
    n_header_bytes: int
    """Where the samples begin."""
    n_slice_bytes: int
    """Of one entry of the table of slices."""
    column: int
    """Of this revision's offsets in `FIELDS`."""

    @property
    def fields(self) -> np.dtype:
        """The header as one record."""
        formats: Any = [field[0] for field in FIELDS.values()]
        offsets = [int(field[self.column]) for field in FIELDS.values()]
        return np.dtype(
            {"names": list(FIELDS), "formats": formats, "offsets": offsets, "itemsize": self.n_header_bytes}
        )

    @property
    def slice_fields(self) -> np.dtype:
        """An entry of the table of slices, which is in the order of space: its place in the file, counted from one,
        and three corners of the field of view as it was encoded, in mm in the coordinates of the gradients.
        """
        return np.dtype(
            {
                "names": ["pass", "stored", "corners"],
                "formats": ["<i2", "<i2", ("<f4", (3, 3))],
                "offsets": [0, 2, 4],
                "itemsize": self.n_slice_bytes,
            }
        )


REVISIONS = (
    Revision(number=20.006, n_header_bytes=149788, n_slice_bytes=48, column=1),
    Revision(number=26.002, n_header_bytes=213684, n_slice_bytes=72, column=2),
)
