"""Where the image lies, in words and millimetres."""

import numpy as np
from ismrmrd import xsd
from jaxtyping import Shaped

from raki.errors import PermanentError
from raki.formats.sorting.placement import image_geometry
from raki.inspection.survey.facts import Placement
from raki.inspection.survey.lines import is_image, slice_examples
from raki.scan.header import matrix_size

PLANES = ("sagittal", "coronal", "axial")
"""By the axis of LPS patient coordinates that the slice direction is nearest to."""


def placement_of(heads: Shaped[np.ndarray, " acquisition"], encoding: xsd.encodingType) -> Placement | None:
    """None where there is no image, or the header's lengths and matrices contradict each other."""
    image = heads[is_image(heads)]
    examples = image[slice_examples(image)]
    if not len(examples):
        return None
    for name in ("position", "read_dir", "phase_dir", "slice_dir"):
        examples[name] = np.nan_to_num(examples[name], posinf=0.0, neginf=0.0)
    try:
        geometry = image_geometry(examples, encoding)
        n_images = matrix_size(encoding.reconSpace)[2]
    except PermanentError:
        return None
    readout_mm, phase_mm, slice_mm = geometry.fov_mm
    n_rows, n_columns = geometry.matrix
    has_spacing = not geometry.places and (len(examples) > 1 or slice_mm > 0)
    plane, tilt_deg = orientation(examples["slice_dir"][0]) if geometry.is_oriented else (None, None)
    return Placement(
        fov_mm=(phase_mm, readout_mm),
        matrix=geometry.matrix,
        pixel_mm=(phase_mm / n_rows, readout_mm / n_columns),
        slice_thickness_mm=slice_mm / n_images or None,
        slice_spacing_mm=geometry.slice_spacing_mm if has_spacing else None,
        phase_oversampling=geometry.phase_oversampling,
        plane=plane,
        tilt_deg=tilt_deg,
    )


def orientation(slice_direction: Shaped[np.ndarray, " 3"]) -> tuple[str | None, float | None]:
    """The nearest plane, and how far the slice is tilted out of it in degrees."""
    direction = np.abs(slice_direction.astype(float))
    length = float(np.linalg.norm(direction))
    if length == 0:
        return None, None
    nearest = int(direction.argmax())
    cosine = min(1.0, float(direction[nearest]) / length)
    return PLANES[nearest], float(np.degrees(np.arccos(cosine)))
