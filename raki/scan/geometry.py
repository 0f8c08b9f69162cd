"""Where the images of a scan lie in the patient."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

Three = tuple[float, float, float]

SAME_MM = 0.01
SAME_DIRECTION = 1e-4
"""Of a coordinate of a position, and of one of a unit vector: less is rounding."""
UNKNOWN_SPACING_MM = 1.0
"""What a grid takes for the thickness of a slice by itself that nobody knows: viewers need a length there."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where one image lies."""

    position_mm: Three
    """Its centre."""
    read_direction: Three
    phase_direction: Three
    slice_direction: Three

    def is_parallel_to(self, other: "Place") -> bool:
        """Whether their axes are the same."""
        ours, theirs = ((place.read_direction, place.phase_direction, place.slice_direction) for place in (self, other))
        return bool(np.allclose(ours, theirs, rtol=0, atol=SAME_DIRECTION))

    def moved(self, along_mm: float) -> "Place":
        """A place so far along the slice direction."""
        offset_mm = np.multiply(self.slice_direction, along_mm)
        x, y, z = (float(value) for value in np.add(self.position_mm, offset_mm))
        return replace(self, position_mm=(x, y, z))

    def is_at(self, other: "Place") -> bool:
        """Whether they are one."""
        same = np.allclose(self.position_mm, other.position_mm, rtol=0, atol=SAME_MM)
        return bool(same) and self.is_parallel_to(other)


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """Where the image lies. Lengths in mm; patient coordinates LPS, as in DICOM and ISMRMRD."""

    fov_mm: Three
    """Field of view of the image along readout, phase-encode and slice, all oversampling removed; 0 along slice where
    its thickness isn't known."""
    matrix: tuple[int, int]
    """Pixels of the image along phase-encode and readout; the k-space may have more or fewer lines."""
    phase_oversampling: float = 1.0
    """Field of view that the phase-encode lines encode over that of the image, about the same centre; at least 1.0.
    With the image's pixels the encoded field of view has a whole number of rows."""
    slice_spacing_mm: float
    """Distance between neighbouring slice centres; for a single slice its thickness, or 1 mm where that isn't known."""
    read_direction: Three = (1.0, 0.0, 0.0)
    phase_direction: Three = (0.0, 1.0, 0.0)
    slice_direction: Three = (0.0, 0.0, 1.0)
    position_mm: Three = (0.0, 0.0, 0.0)
    """Centre of the first slice."""
    places: tuple[Place, ...] = ()
    """Of each slice, or of each slice of each frame, where they don't lie on the even grid of the fields above: gaps
    that differ, slices that are tilted against each other, a table that moves. Empty where they do."""
    is_oriented: bool = True
    """Whether the raw data tell how the readout and the phase-encode lie in the patient; else the directions are those
    of an axial scan, and nobody may be told which side is which."""

    def __post_init__(self) -> None:
        n_rows = self.matrix[0] * self.phase_oversampling
        if not 1 <= self.phase_oversampling < math.inf or abs(n_rows - round(n_rows)) > 1e-6:
            raise ValueError(
                f"a phase oversampling of {self.phase_oversampling:g} makes {n_rows:g} rows of the image's "
                f"{self.matrix[0]}; a whole number, not less, was needed"
            )

    def place_of(self, image: int, n_slices: int) -> Place:
        """Where an image lies; images are counted slice by slice, frame by frame."""
        if self.places:
            return self.places[image % len(self.places)]
        return self._first.moved((image % n_slices) * self.slice_spacing_mm)

    def stacks(self, n_slices: int) -> Iterator[tuple[slice, "Geometry"]]:
        """Neighbouring slices that lie on an even grid, as many as do, and that grid. Frames must not have moved."""
        begin = 0
        while begin < n_slices:
            grid = self._grid_at(begin, n_slices)
            end = begin + 1
            while end < n_slices and grid.place_of(end - begin, n_slices).is_at(self.place_of(end, n_slices)):
                end += 1
            yield slice(begin, end), grid
            begin = end

    def with_places(self, places: tuple[Place, ...], n_slices: int) -> "Geometry":
        """The same, with the places of its images where they aren't on its grid."""
        if not np.isfinite([place.position_mm for place in (*places, self._first)]).all():
            return self
        on_grid = all(self.place_of(image, n_slices).is_at(place) for image, place in enumerate(places))
        return self if on_grid else replace(self, places=places)

    @property
    def _first(self) -> Place:
        return Place(
            position_mm=self.position_mm,
            read_direction=self.read_direction,
            phase_direction=self.phase_direction,
            slice_direction=self.slice_direction,
        )

    def _grid_at(self, begin: int, n_slices: int) -> "Geometry":
        """The grid that a slice and its next neighbour make, if it does."""
        first = self.place_of(begin, n_slices)
        spacing_mm = self.slice_spacing_mm
        if self.places:
            second = self.place_of(min(begin + 1, n_slices - 1), n_slices)
            along_mm = float(np.subtract(second.position_mm, first.position_mm) @ np.array(first.slice_direction))
            is_neighbour = along_mm > SAME_MM and first.moved(along_mm).is_at(second)
            spacing_mm = along_mm if is_neighbour else self.fov_mm[2] or UNKNOWN_SPACING_MM
        return replace(self, **vars(first), slice_spacing_mm=spacing_mm, places=())

    @property
    def encoded_rows(self) -> int:
        """Rows of the encoded field of view in pixels of the image; `matrix[0]` of them are the image."""
        return round(self.matrix[0] * self.phase_oversampling)
