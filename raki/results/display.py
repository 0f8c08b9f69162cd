"""How a slice is turned for the eye: in the radiological convention of its plane, in pictures and in DICOM alike.

Axial: the patient's right on the left of the screen, anterior on top. Coronal: right on the left, head on top.
Sagittal: anterior on the left, head on top. An oblique slice is shown like the plane that it is nearest to.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import numpy as np

from raki.scan import Geometry, Place

Three = tuple[float, float, float]

# Of LPS: x grows to the patient's left, y to posterior, z to the head.
LEFT, POSTERIOR, HEAD = np.eye(3)
_LETTERS = (("L", "R"), ("P", "A"), ("H", "F"))
_PLANES: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]] = {
    "axial": (HEAD, LEFT, POSTERIOR),
    "coronal": (POSTERIOR, LEFT, -HEAD),
    "sagittal": (LEFT, POSTERIOR, -HEAD),
}
"""By plane: its normal, and what lies to the right and down on the screen. Of planes equally near the first counts."""
# Of a unit vector: less is rounding, and doesn't turn one slice of a stack against the next.
_SAME = 3
# The sine of 15 degrees; by less than that a slice isn't said to be oblique.
OBLIQUE = 0.26


@dataclass(frozen=True, kw_only=True)
class View:
    """How one image lies on the screen."""

    plane: str
    """axial, coronal or sagittal: the nearest; empty where the orientation isn't known."""
    is_transposed: bool
    """Whether rows, which run along the readout, become columns."""
    rows_reversed: bool
    columns_reversed: bool
    """Of the image as it is shown."""
    right: Three
    down: Three
    """Where in the patient the right and the lower edge of the screen lie, as unit vectors in LPS."""

    def turned(self, pixels: np.ndarray) -> np.ndarray:
        """Pixels `row column` as they are shown."""
        shown = pixels.T if self.is_transposed else pixels
        rows, columns = (slice(None, None, -1 if back else 1) for back in (self.rows_reversed, self.columns_reversed))
        return shown[rows, columns]

    def spacing_mm(self, geometry: Geometry) -> tuple[float, float]:
        """From one row that is shown to the next, and from one column to the next."""
        row_mm, column_mm = geometry.fov_mm[1] / geometry.matrix[0], geometry.fov_mm[0] / geometry.matrix[1]
        return (column_mm, row_mm) if self.is_transposed else (row_mm, column_mm)

    def corner_mm(self, geometry: Geometry, place: Place) -> np.ndarray:
        """The centre of the pixel at the upper left, in LPS. See `raki.results.image_files` for where the others lie.

        An image of n pixels is centred on the pixel n // 2, which reversing moves by one where n is even.
        """
        size = geometry.matrix[::-1] if self.is_transposed else geometry.matrix
        before = [
            n - 1 - n // 2 if back else n // 2
            for n, back in zip(size, (self.rows_reversed, self.columns_reversed), strict=True)
        ]
        row_mm, column_mm = self.spacing_mm(geometry)
        up, left = np.multiply(self.down, -row_mm * before[0]), np.multiply(self.right, -column_mm * before[1])
        return np.add(place.position_mm, up + left)

    def aspect(self, geometry: Geometry) -> float:
        """Width over height on the screen."""
        fov_read_mm, fov_phase_mm, _ = geometry.fov_mm
        return fov_phase_mm / fov_read_mm if self.is_transposed else fov_read_mm / fov_phase_mm

    @property
    def edges(self) -> dict[str, str]:
        """The letters at the left, right, top and bottom edge of the screen; none where nobody knows them."""
        if not self.plane:
            return {}
        right, down = np.array(self.right), np.array(self.down)
        return {"left": letters(-right), "right": letters(right), "top": letters(-down), "bottom": letters(down)}


def view_of(geometry: Geometry, image: int, n_slices: int) -> View:
    """How an image is shown; as it was acquired where its orientation isn't known. Counted as by `place_of`."""
    place = geometry.place_of(image, n_slices)
    if not geometry.is_oriented:
        read, phase = np.array(place.read_direction), np.array(place.phase_direction)
        return _view("", read, phase, is_transposed=False, rows_reversed=False, columns_reversed=False)
    return _view_of(place.read_direction, place.phase_direction)


@lru_cache(maxsize=256)
def _view_of(read_direction: Three, phase_direction: Three) -> View:
    """Remembered, for a scan has thousands of images that lie alike."""
    read, phase = np.array(read_direction), np.array(phase_direction)
    normal = np.cross(read, phase)
    plane = max(_PLANES, key=lambda name: round(abs(float(normal @ _PLANES[name][0])), _SAME))
    _, wanted_right, wanted_down = _PLANES[plane]

    views = [_view(plane, read, phase, *turns) for turns in product((False, True), repeat=3)]
    return max(views, key=lambda view: round(float(wanted_right @ view.right + wanted_down @ view.down), _SAME))


def _view(
    plane: str, read: np.ndarray, phase: np.ndarray, is_transposed: bool, rows_reversed: bool, columns_reversed: bool
) -> View:
    right, down = (phase, read) if is_transposed else (read, phase)
    return View(
        plane=plane,
        is_transposed=is_transposed,
        rows_reversed=rows_reversed,
        columns_reversed=columns_reversed,
        right=_three(-right if columns_reversed else right),
        down=_three(-down if rows_reversed else down),
    )


def letters(direction: np.ndarray) -> str:
    """What lies in a direction of the patient, the nearest first: "A", or "AH" where it is oblique.

    DICOM PS3.3, section C.7.6.1.1.1 (Patient Orientation).
    """
    nearest = np.argsort(-np.abs(direction), kind="stable")
    return "".join(_LETTERS[axis][int(direction[axis] < 0)] for axis in nearest if abs(direction[axis]) > OBLIQUE)


def _three(vector: np.ndarray) -> Three:
    x, y, z = (float(value) + 0.0 for value in vector)
    return x, y, z
