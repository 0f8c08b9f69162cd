"""`image.bval` and `image.bvec`: how strongly, and along which axis, each frame was weighted by diffusion.

The form is FSL's: one column a frame, b in s/mm², directions along the image's own axes, the first one turned around
where these are right-handed (FSL's user guide to diffusion, "What conventions do the bvecs use?"). The table of
ISMRMRD's header (ismrmrd.xsd, sequenceParameters: diffusion, diffusionDimension) has them along the patient's: to the
left, to the back, to the head.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ismrmrd import xsd
from jaxtyping import Float64

from raki.results.image_files import affine_ras_mm
from raki.scan import Frame, Geometry

COUNTED_AS_SETS = "user_"
"""Free counters become sets, where scans are sorted."""


def write_gradient_table(header_xml: str, image: Path, *, geometry: Geometry, frames: tuple[Frame, ...]) -> list[Path]:
    """Writes the table of a series of frames beside its NIfTI image; nothing where the header has none for each frame.

    Args:
        image: the NIfTI file, of one grid; `geometry` is that of its slices.

    Returns:
        The files.
    """
    weighted = _of_frames(header_xml, frames)
    if not weighted:
        return []
    directions = np.array([_direction(each) for each in weighted]) @ _axes(geometry)
    name = image.name.removesuffix(".nii.gz")
    b_values, b_vectors = image.with_name(f"{name}.bval"), image.with_name(f"{name}.bvec")
    b_values.write_text(" ".join(f"{each.bvalue:g}" for each in weighted) + "\n", encoding="utf-8")
    rows = (" ".join(f"{value:.6f}" for value in row) for row in directions.T + 0.0)
    b_vectors.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return [b_values, b_vectors]


def _of_frames(header_xml: str, frames: Sequence[Frame]) -> list[xsd.diffusionType]:
    """The weighting of each frame; empty where there is none, or not of all."""
    sequence = xsd.CreateFromDocument(header_xml).sequenceParameters if header_xml else None
    if sequence is None or sequence.diffusionDimension is None or len(frames) < 2:
        return []
    dimension, table = sequence.diffusionDimension.value, sequence.diffusion
    counter = "set" if dimension.startswith(COUNTED_AS_SETS) else dimension
    numbers = [getattr(frame, counter, None) for frame in frames]
    if any(number is None or number >= len(table) for number in numbers):
        return []
    return [table[number] for number in numbers]


def _direction(weighted: xsd.diffusionType) -> tuple[float, float, float]:
    """Of unit length, in the patient's axes; zero where nothing is weighted."""
    found = weighted.gradientDirection
    direction = np.array([found.rl, found.ap, found.fh], float) if found and weighted.bvalue else np.zeros(3)
    length = float(np.linalg.norm(direction))
    x, y, z = direction / length if length else direction
    return float(x), float(y), float(z)


def _axes(geometry: Geometry) -> Float64[np.ndarray, "3 3"]:
    """The image's axes, a column each, in the patient's."""
    axes = np.array([geometry.read_direction, geometry.phase_direction, geometry.slice_direction], float).T
    if np.linalg.det(affine_ras_mm(geometry)[:3, :3]) > 0:
        axes[:, 0] *= -1
    return axes
