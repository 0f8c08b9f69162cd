"""A small P-file as a GE scanner writes it, byte for byte, independent of the reader's own table of offsets."""

import struct

import numpy as np

# Offsets in the revisions 20.006 and 26.002.
SHORTS = {
    "data_collect_type": (56, 132),
    "n_passes": (64, 140),
    "n_slices": (68, 144),
    "n_echoes": (70, 146),
    "n_excitations": (72, 148),
    "n_frames": (74, 150),
    "n_overscans": (78, 154),
    "frame_size": (80, 156),
    "point_size": (82, 158),
    "da_xres": (102, 178),
    "da_yres": (104, 180),
    "rotation": (176, 240),
    "transpose": (178, 242),
    "last_receiver": (202, 266),
    "second_group": (206, 270),
    "dacq_control": (48, 124),
    "etl": (1446, 1382),
    "flip_angle": (148752, 199592),
    "sex": (143540, 194380),
}
LONGS = {
    "off_data": (1468, 4),
    "data_collect_type1": (860, 796),
    "asset": (1312, 1248),
    "field_strength": (143392, 194232),
    "position": (145420, 196260),
    "entry": (145424, 196264),
    "tr": (148396, 199236),
    "te": (148404, 199244),
}
FLOATS = {
    "frequency_scale": (864, 800),
    "phase_scale": (868, 804),
    "fov": (147644, 198484),
    "fov_phase": (147648, 198488),
    "thickness": (147656, 198496),
    "bandwidth": (147692, 198532),
    "dim_x": (148020, 198860),
    "dim_y": (148024, 198864),
}
CORNERS = (148060, 198900)
TEXTS = {"patient_name": (144336, 195184), "patient_id": (144401, 195249), "birthdate": (144483, 195331)}
LOGO, SCAN_DATE = (34, 110), (16, 92)
HEADER_BYTES, SLICE_BYTES = (149788, 213684), (48, 72)
REVISION = (20.006, 26.002)
FOV_MM, SPACING_MM = 240.0, 7.0


def p_file(
    samples,
    *,
    revision=1,
    stored_order=None,
    n_reference=0,
    point_size=2,
    is_chopped=False,
    rotation=1,
    transpose=3,
    **changed,
) -> bytes:
    """A P-file of integer samples `slice coil line ro` in space; real and imaginary parts must fit the point size.

    Args:
        revision: 0 or 1, an index of `REVISION`.
        stored_order: of each slice in space, where it stands in the file.
        n_reference: of the lines, the last ones were not phase-encoded.
        is_chopped: the odd lines are stored with the opposite sign.
        changed: other values for the header's fields, by the names above.
    """
    n_slices, n_coils, n_lines, n_ro = samples.shape
    order = list(range(n_slices)) if stored_order is None else list(stored_order)
    header = bytearray(HEADER_BYTES[revision])
    struct.pack_into("<f", header, 0, REVISION[revision])
    header[LOGO[revision] : LOGO[revision] + 10] = b"GE_MED_NMR"
    header[SCAN_DATE[revision] : SCAN_DATE[revision] + 9] = b"04/11/118"
    values = {
        "data_collect_type": 8 if is_chopped else 9,
        "n_passes": 1,
        "n_slices": n_slices,
        "n_echoes": 1,
        "n_excitations": 1,
        "n_frames": n_lines,
        "frame_size": n_ro,
        "point_size": point_size,
        "da_xres": n_ro,
        "da_yres": n_lines + 1,
        "rotation": rotation,
        "transpose": transpose,
        "last_receiver": n_coils - 1,
        "etl": n_reference,
        "flip_angle": 15,
        "sex": 2,
        "off_data": HEADER_BYTES[revision],
        "data_collect_type1": 0x20000 if n_reference else 0,
        "field_strength": 30000,
        "position": 1,
        "entry": 1,
        "tr": 300_000,
        "te": 4000,
        "frequency_scale": 1.0,
        "phase_scale": 1.0,
        "fov": FOV_MM,
        "fov_phase": FOV_MM,
        "thickness": 5.0,
        "bandwidth": 25.0,
        "dim_x": n_ro,
        "dim_y": n_lines - n_reference,
        "patient_name": b"Doe^Jane\0left over",
        "patient_id": b"P-1234",
        "birthdate": b"19500229",
        **changed,
    }
    for code, places in (("<h", SHORTS), ("<i", LONGS), ("<f", FLOATS)):
        for name in places.keys() & values.keys():
            struct.pack_into(code, header, places[name][revision], values[name])
    for name, places in TEXTS.items():
        header[places[revision] : places[revision] + len(values[name])] = values[name]
    _place(header, revision, order, rotation, transpose)
    stored = np.empty((n_coils, n_slices, n_lines + 1, n_ro, 2), f"<i{point_size}")
    signs = (-1) ** np.arange(n_lines) if is_chopped else np.ones(n_lines)
    by_coil = (samples * signs[:, None]).swapaxes(0, 1)
    stored[:, order, 1:] = np.stack([by_coil.real, by_coil.imag], axis=-1)
    stored[:, :, 0] = 99
    return bytes(header) + stored.tobytes()


def _place(header, revision, order, rotation, transpose) -> None:
    """An axial stack: readout towards the patient's right, phase-encode to posterior, slices to superior.

    The table has the gradients' coordinates, which here lie 30 mm above the patient's.
    """
    first, read_end, phase_end = (np.array(corner) for corner in ((-120.0, 120, 0), (120, 120, 0), (-120, -120, 0)))
    for index, place in enumerate(order):
        entry = 36864 + index * SLICE_BYTES[revision]
        corners = np.add([first, read_end, phase_end], (0, 0, SPACING_MM * index))
        struct.pack_into("<2h9f", header, entry, 0, place + 1, *corners.ravel())
    # The image as it is shown: readout runs down, phase-encode to the right, then transposed, then turned.
    shown = np.array([[first, phase_end], [read_end, read_end + phase_end - first]]) - (0, 0, 30.0)
    shown = np.rot90(shown.swapaxes(0, 1) if transpose else shown, rotation, axes=(0, 1))
    struct.pack_into("<9f", header, CORNERS[revision], *np.array([shown[0, 0], shown[0, 1], shown[1, 1]]).ravel())
