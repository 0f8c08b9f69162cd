"""Where the image of an ISMRMRD scan lies, and which part it is of the field of view that was encoded."""

import numpy as np
from ismrmrd import xsd

from raki.errors import DamagedScan, UnsupportedScan
from raki.scan import Geometry, Place
from raki.scan.geometry import UNKNOWN_SPACING_MM
from raki.scan.header import field_of_view_mm, matrix_size

# Far more than any interpolation; what a broken header asks for beyond it would only use up memory.
MOST_ROWS_PER_LINE = 64


def image_geometry(heads: np.ndarray, encoding: xsd.encodingType, images: np.ndarray | None = None) -> Geometry:
    """Geometry from one acquisition of each slice, in spatial order, and where it is known from one of each image.

    The image is cut out of the encoded field of view in whole pixels. Its field of view is what these cover: at most
    half a pixel other than the header's, so that a pixel has its true size.

    Raises:
        UnsupportedScan: the header asks for an image of more than the encoded field of view.
        DamagedScan: its matrices and fields of view contradict each other.
    """
    n_ro, n_pe, _ = matrix_size(encoding.encodedSpace)
    recon_ro, recon_pe, _ = matrix_size(encoding.reconSpace)
    encoded_ro_mm, encoded_pe_mm, slab_mm = field_of_view_mm(encoding.encodedSpace)
    recon_ro_mm, recon_pe_mm, thickness_mm = field_of_view_mm(encoding.reconSpace)
    thickness_mm = thickness_mm or slab_mm
    n_columns = max(1, round(n_ro * recon_ro_mm / encoded_ro_mm))
    _require_within("readout", recon_ro_mm, encoded_ro_mm, is_within=n_columns <= n_ro)
    # Some scanners interpolate the image; raki keeps the resolution that was measured.
    n_rows = max(1, round(recon_pe * n_columns / recon_ro))
    encoded_rows = round(n_rows * encoded_pe_mm / recon_pe_mm)
    _require_within("phase-encode", recon_pe_mm, encoded_pe_mm, is_within=encoded_rows >= n_rows)
    if encoded_rows > MOST_ROWS_PER_LINE * n_pe:
        raise DamagedScan(
            f"the header asks for {encoded_rows} rows of {n_pe} phase-encode lines; no scanner interpolates so much, "
            "matrix and field of view must agree: convert the scan again"
        )
    along_mm = heads["position"].astype(float) @ _direction(heads["slice_dir"][0], (0.0, 0.0, 1.0))
    spacing_mm = float(np.median(np.diff(along_mm))) if len(heads) > 1 else 0.0
    grid = Geometry(
        fov_mm=(n_columns * encoded_ro_mm / n_ro, n_rows * encoded_pe_mm / encoded_rows, thickness_mm),
        matrix=(n_rows, n_columns),
        phase_oversampling=encoded_rows / n_rows,
        slice_spacing_mm=spacing_mm if spacing_mm > 0 else thickness_mm or UNKNOWN_SPACING_MM,
        read_direction=_direction(heads["read_dir"][0], (1.0, 0.0, 0.0)),
        phase_direction=_direction(heads["phase_dir"][0], (0.0, 1.0, 0.0)),
        slice_direction=_direction(heads["slice_dir"][0], (0.0, 0.0, 1.0)),
        position_mm=_three(heads["position"][0]),
        is_oriented=is_oriented(heads),
    )
    places = tuple(_place(head) for head in (heads if images is None else images))
    return grid.with_places(places, len(heads))


def is_oriented(heads: np.ndarray) -> bool:
    """Whether each of the acquisitions tells how its readout and its phase-encode lie in the patient."""
    lengths = [np.linalg.norm(heads[name].astype(float), axis=1) for name in ("read_dir", "phase_dir")]
    return bool(np.isfinite(lengths).all() and np.all(lengths))


def _place(head: np.void) -> Place:
    return Place(
        position_mm=_three(head["position"]),
        read_direction=_direction(head["read_dir"], (1.0, 0.0, 0.0)),
        phase_direction=_direction(head["phase_dir"], (0.0, 1.0, 0.0)),
        slice_direction=_direction(head["slice_dir"], (0.0, 0.0, 1.0)),
    )


def _require_within(axis: str, recon_mm: float, encoded_mm: float, *, is_within: bool) -> None:
    if not is_within:
        raise UnsupportedScan(
            f"the image's field of view along {axis} is {recon_mm:g} mm, the encoded one {encoded_mm:g} mm; raki shows "
            "what was encoded and no more: correct the header's reconSpace"
        )


def _direction(vector: np.ndarray, otherwise: tuple[float, float, float]) -> tuple[float, float, float]:
    """A unit vector; the axis of an unrotated scan where a converter left it unset."""
    length = float(np.linalg.norm(vector.astype(float)))
    return _three(vector.astype(float) / length) if np.isfinite(length) and length > 0 else otherwise


def _three(vector: np.ndarray) -> tuple[float, float, float]:
    x, y, z = (float(value) for value in vector)
    return x, y, z
