"""Where the slices of a GE P-file lie, in the patient's coordinates."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from raki.errors import DamagedScan, UnsupportedScan

# Of corners in single precision; far less than a pixel.
TOLERANCE_MM = 0.1
# From the centre of the magnet; no scanner is larger.
FARTHEST_MM = 1e5

Vector = Float64[np.ndarray, " xyz"]
Corners = Float64[np.ndarray, "3 xyz"]
"""The first sample of the first line, the end of the readout from there, and the end of phase-encode."""


@dataclass(frozen=True, kw_only=True)
class SliceGeometry:
    """Directions of unit length and centres in mm, in patient coordinates LPS as in DICOM and ISMRMRD."""

    read: Vector
    phase: Vector
    slice: Vector
    """read x phase."""
    positions_mm: Float64[np.ndarray, "slice xyz"]


def slice_geometry(fields: np.void, slices: np.ndarray) -> SliceGeometry:
    """Directions and centres of all slices, in the order of the table of slices.

    GE gives the corners of the finished image in the patient's coordinates RAS, for the first slice of the table; and
    for each slice three corners of the encoded field of view, in the coordinates of the gradients: the first of the
    lines and samples, the first line's last sample, the last line's first sample. The finished image is the encoded
    one transposed or not, then turned counter-clockwise by `rotation` times 90 degrees. Turning it back gives the
    directions in the patient's coordinates, however the patient lies; the slices' distances along their normal are the
    same in both coordinates.

    Measured: coils keep their places around the head between a coronal and an axial scan with these directions, and
    anterior is where the slices' positions say.

    Raises:
        DamagedScan: corners that span no rectangle of the field of view.
        UnsupportedScan: slices that are not parallel and one behind the other.
    """
    corners = slices["corners"].astype(float)
    image = _unturned(fields)
    # NaN compares as false.
    if not all((np.abs(points) < FARTHEST_MM).all() for points in (corners, image)):
        raise DamagedScan("a slice has no corners, or they lie outside any scanner: copy or export the scan again")
    read, phase = _directions(image, fields)
    normal = np.cross(*_directions(corners[0], fields))
    offsets_mm = corners.mean(axis=1) - corners[0].mean(axis=0)
    if not (np.abs(corners - corners[0] - offsets_mm[:, np.newaxis]) < TOLERANCE_MM).all():
        raise UnsupportedScan(
            "the slices are not parallel; raki reads stacks of parallel slices: export them one by one"
        )
    along_mm = offsets_mm @ normal
    if not (np.abs(offsets_mm - along_mm[:, np.newaxis] * normal) < TOLERANCE_MM).all():
        raise UnsupportedScan(
            "the slices are shifted against each other in their plane; raki reads stacks of slices, one behind the "
            "other: export them one by one"
        )
    slice_direction = np.cross(read, phase)
    return SliceGeometry(
        read=read,
        phase=phase,
        slice=slice_direction,
        positions_mm=image[1:].mean(axis=0) + along_mm[:, np.newaxis] * slice_direction,
    )


def _unturned(fields: np.void) -> Corners:
    """The corners of the encoded image, in LPS.

    Before it is transposed and turned, readout runs down the image and phase-encode to the right.
    """
    top_left, top_right, bottom_right = (
        fields[name].astype(float) * (-1, -1, 1) for name in ("top_left", "top_right", "bottom_right")
    )
    bottom_left = top_left + bottom_right - top_right
    # Clockwise, so that turning the image back clockwise is a step in the list.
    around = [top_left, top_right, bottom_right, bottom_left]
    turns = int(fields["rotation"]) % 4
    top_left, top_right, _, bottom_left = np.roll(around, turns, axis=0)
    ends = (top_right, bottom_left) if fields["transpose"] else (bottom_left, top_right)
    return np.array([top_left, *ends])


def _directions(corners: Corners, fields: np.void) -> tuple[Vector, Vector]:
    """Unit vectors along readout and phase-encode."""
    edges_mm = corners[1:] - corners[0]
    lengths_mm = np.linalg.norm(edges_mm, axis=1)
    wanted_mm = (float(fields["fov_mm"]), float(fields["fov_phase_mm"]))
    # NaN compares as false.
    if not (min(wanted_mm) > TOLERANCE_MM and np.allclose(lengths_mm, wanted_mm, rtol=0.01)):
        raise DamagedScan(
            f"the slices' corners are {lengths_mm[0]:g} and {lengths_mm[1]:g} mm apart, the field of view is "
            f"{wanted_mm[0]:g} x {wanted_mm[1]:g} mm; both must agree: copy or export the scan again"
        )
    read, phase = edges_mm / lengths_mm[:, np.newaxis]
    if abs(read @ phase) > 0.01:
        raise DamagedScan("the slices' corners span no rectangle; raki needs one: copy or export the scan again")
    return read, phase
