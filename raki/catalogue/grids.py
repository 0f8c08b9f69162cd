"""Where pixels lie in the patient, and how a mask that was drawn on another grid lies on those of an image.

A program that draws regions may turn, mirror or reorder what it was given, as DICOM and NIfTI do to each other. As long
as its pixels lie where the image's do, each is one of the image's; nothing is ever resampled.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64, Shaped

Mask = Bool[np.ndarray, "row column"]
Drawn = Shaped[np.ndarray, "row column"]
"""A mask, or classes, as they were drawn."""
OnImage = Shaped[np.ndarray, "image_row image_column"]
"""The same on the pixels of the image."""
Vector = Float64[np.ndarray, "3"]

OFF = 0.1
"""Of a pixel: what lies further from the image's pixels lies elsewhere. Decimals of files and rounding are far less."""
COLUMNS_NEEDED = (
    *("scan_id", "image", "frame", "n_slices", "n_frames", "n_rows", "n_columns", "fov_read_mm", "fov_phase_mm"),
    *("position_mm", "read_direction", "phase_direction"),
)
"""Of a row of the catalogue, to say which image it is of and where that lies."""


@dataclass(frozen=True, kw_only=True)
class Plane:
    """Where the pixels of a picture lie: LPS, mm."""

    corner_mm: Vector
    """The center of the first pixel of the first row."""
    down_mm: Vector
    """From a row to the next."""
    right_mm: Vector
    """From a column to the next."""
    shape: tuple[int, int]
    """Rows and columns."""

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> "Plane":
        """Of an image, from its row: pixel (n_rows // 2, n_columns // 2) lies at its position.

        Raises:
            ValueError: the row doesn't tell.
        """
        n_rows, n_columns = row["n_rows"], row["n_columns"]
        if not all(row[name] and len(row[name]) == 3 for name in ("position_mm", "read_direction", "phase_direction")):
            raise ValueError("the catalogue says not where the image lies")
        right = np.array(row["read_direction"]) * row["fov_read_mm"] / n_columns
        down = np.array(row["phase_direction"]) * row["fov_phase_mm"] / n_rows
        corner = np.array(row["position_mm"]) - n_columns // 2 * right - n_rows // 2 * down
        return cls(corner_mm=corner, down_mm=down, right_mm=right, shape=(n_rows, n_columns))

    @cached_property
    def center_mm(self) -> Vector:
        """The middle of the pixels, however they are turned."""
        n_rows, n_columns = self.shape
        return self.corner_mm + (n_rows - 1) / 2 * self.down_mm + (n_columns - 1) / 2 * self.right_mm

    @cached_property
    def pixel_mm(self) -> float:
        """The shorter side of a pixel."""
        return float(min(np.linalg.norm(self.down_mm), np.linalg.norm(self.right_mm)))

    def is_near(self, other: "Plane") -> bool:
        """Whether they may be one: their middles are."""
        return bool(np.linalg.norm(self.center_mm - other.center_mm) <= 2 * OFF * other.pixel_mm)


def laid_onto(drawn: Drawn, plane: Plane, image: Plane) -> OnImage | None:
    """What was drawn on the image's own pixels; None where its pixels aren't those of the image, all of them.

    Args:
        plane: where the pixels lie that it was drawn on.
    """
    turned, at = drawn, plane
    axes = np.column_stack([image.down_mm, image.right_mm, np.cross(image.down_mm, image.right_mm) / image.pixel_mm])
    if not np.isfinite([plane.corner_mm, plane.down_mm, plane.right_mm]).all() or not np.linalg.det(axes):
        return None
    to_pixels = np.linalg.inv(axes)
    steps = to_pixels @ np.column_stack([at.down_mm, at.right_mm])
    if abs(steps[0, 0]) < abs(steps[0, 1]):
        turned, steps = turned.T, steps[:, ::-1]
        at = Plane(corner_mm=at.corner_mm, down_mm=at.right_mm, right_mm=at.down_mm, shape=turned.shape)
    if turned.shape != image.shape:
        return None
    signs = [1 if steps[axis, axis] > 0 else -1 for axis in (0, 1)]
    last = np.subtract(image.shape, 1)
    # Affine maps that agree in three corners agree everywhere between them.
    for corner in ((0, 0), (last[0], 0), (0, last[1])):
        lies = to_pixels @ (at.corner_mm + corner[0] * at.down_mm + corner[1] * at.right_mm - image.corner_mm)
        expected = [index if sign > 0 else end - index for index, end, sign in zip(corner, last, signs, strict=True)]
        if np.abs(lies - [*expected, 0]).max() > OFF:
            return None
    return turned[:: signs[0], :: signs[1]]
